"""DKIM, verified and made; dkimpy is the oracle."""

import asyncio
import base64
import re
import threading
from datetime import UTC, datetime, timedelta

import dkim as oracle
import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicNumbers
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.dns.resolver import FakeResolver, Resolver
from appliance.policy import dkim
from appliance.policy.dkim import DkimResult, SigningKey
from tests.support.signing import ed25519_key, name_of, published, rsa_key, rsa_old_pem

NOW = datetime.now(UTC).replace(microsecond=0)  # the oracle looks at the clock
MESSAGE = (
    b"Received: from x by y; Wed, 25 Nov 2026 12:00:00 +0000\r\n"
    b"From: Anna <anna@example.com>\r\n"
    b"To: bert@example.org\r\n"
    b"Subject:  a  letter \t with\r\n folds\r\n"
    b"Date: Wed, 25 Nov 2026 12:00:00 +0000\r\n"
    b"\r\n"
    b"Dear  Bert, \r\n\r\nhello\t \r\n\r\n\r\n"
)


def verified(message: bytes, resolver: Resolver, now: datetime = NOW) -> tuple[DkimResult, ...]:
    return asyncio.run(dkim.verify(resolver, message, now=now))


def words(message: bytes, resolver: Resolver, now: datetime = NOW) -> list[str]:
    return [result.result for result in verified(message, resolver, now)]


def both() -> list[SigningKey]:
    return [rsa_key(), ed25519_key()]


def signed(message: bytes = MESSAGE) -> bytes:
    return dkim.sign(message, both(), now=NOW) + message


def oracle_says(message: bytes, *keys: SigningKey) -> list[bool]:
    """What dkimpy makes of each signature."""
    records = {f"{name_of(key)}.".encode(): key.record().encode() for key in keys}

    def look_up(name: bytes, timeout: int = 5) -> bytes | None:
        return records.get(name)

    return [bool(oracle.DKIM(message).verify(index, dnsfunc=look_up)) for index in range(len(keys))]


def made_by_oracle(message: bytes = MESSAGE, **options: object) -> bytes:
    options.setdefault("include_headers", [b"from", b"to", b"subject"])
    options.setdefault("canonicalize", (b"relaxed", b"relaxed"))
    return bytes(oracle.sign(message, b"pp1", b"example.com", rsa_old_pem(), **options)) + message


# -- what we sign ---------------------------------------------------------------------


def test_both_signatures_pass_here_and_at_the_oracle() -> None:
    results = verified(signed(), published(*both()))
    assert [(r.result, r.algorithm, r.key_bits) for r in results] == [
        ("pass", "rsa-sha256", 2048),
        ("pass", "ed25519-sha256", 256),
    ]
    assert oracle_says(signed(), *both()) == [True, True]


# To dkimpy a form feed at a line's end is white space; to RFC 6376 §3.4.2 only space and tab are.
@settings(max_examples=12, deadline=None)
@given(
    subject=st.text(st.characters(codec="utf-8", exclude_characters="\r\n\0\v\f"), max_size=90),
    body=st.lists(st.sampled_from([b"\r\n", b" ", b"\t", b"a", b"..", b"\xff", b"= "])).map(
        b"".join
    ),
)
def test_whatever_is_signed_passes(subject: str, body: bytes) -> None:
    message = b"From: a@example.com\r\nSubject: " + subject.encode() + b"\r\n\r\n" + body
    message += b"\r\n"  # as SMTP brings it
    assert words(signed(message), published(*both())) == ["pass", "pass"]
    assert oracle_says(signed(message), *both()) == [True, True]


def test_a_message_without_body_or_fields_can_be_signed() -> None:
    for message in (b"", b"\r\n", b"From: a@example.com\r\n", b"From: a@example.com\r\n\r\n"):
        assert words(signed(message), published(*both())) == ["pass", "pass"]


def test_no_field_can_be_added_to_the_oversigned_ones() -> None:
    for name in ("From", "To", "Cc", "Reply-To", "Subject", "Date", "Content-Type", "MIME-Version"):
        added = name.encode() + b": another\r\n" + signed()
        assert words(added, published(*both())) == ["fail", "fail"], name


def test_never_l_and_always_t() -> None:
    fields = re.findall(rb"^DKIM-Signature:.*?\r\n(?=\S)", signed(), re.DOTALL | re.MULTILINE)
    assert len(fields) == 2
    for field in fields:
        assert not re.search(rb"[;\s]l=", field)
        assert b"; t=%d;" % NOW.timestamp() in field
        assert max(map(len, field.split(b"\r\n"))) <= 80


def test_every_change_of_body_or_signed_head_is_seen() -> None:
    for old, new in (
        (b"hello", b"hullo"),
        (b"a  letter", b"a better"),
        (b"\r\n\r\nDear", b"\r\n\r\nx"),
    ):
        assert words(signed().replace(old, new), published(*both())) == ["fail", "fail"]


def test_relaxed_white_space_and_trace_fields_may_change() -> None:
    changed = b"Received: later\r\n" + signed().replace(b"Dear  Bert, \r\n", b"Dear Bert,\r\n")
    assert words(changed, published(*both())) == ["pass", "pass"]


def test_a_subdomain_is_signed_by_the_domain_above_it() -> None:
    keys = {"example.com": (rsa_key(),), "sub.example.com": (ed25519_key(),)}
    assert dkim.keys_for("mail.EXAMPLE.com", keys)[0].algorithm == "rsa-sha256"
    assert dkim.keys_for("a.sub.example.com", keys)[0].algorithm == "ed25519-sha256"
    assert dkim.keys_for("anotherexample.com", keys) == ()
    assert dkim.sign(MESSAGE, (), now=NOW) == b""


def test_a_key_says_nothing_of_itself_when_printed() -> None:
    assert "PRIVATE" not in repr(rsa_key())
    assert "object at" not in repr(rsa_key())


def test_a_large_message_is_judged_in_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    judge = dkim.judge
    monkeypatch.setattr(
        dkim, "judge", lambda *a: (seen.append(threading.current_thread()), judge(*a))[1]
    )
    large = signed(MESSAGE + b"line\r\n" * 40_000)
    assert words(large, published(*both())) == ["pass", "pass"]
    assert threading.main_thread() not in seen


# -- what others sign -----------------------------------------------------------------


@pytest.mark.parametrize("header_form", [b"simple", b"relaxed"])
@pytest.mark.parametrize("body_form", [b"simple", b"relaxed"])
def test_signatures_of_the_oracle_pass(header_form: bytes, body_form: bytes) -> None:
    message = made_by_oracle(canonicalize=(header_form, body_form))
    assert words(message, published(rsa_key())) == ["pass"]
    assert words(message.replace(b"hello", b"Hello"), published(rsa_key())) == ["fail"]


RFC_8463 = b"""\
DKIM-Signature: v=1; a=ed25519-sha256; c=relaxed/relaxed;
 d=football.example.com; i=@football.example.com;
 q=dns/txt; s=brisbane; t=1528637909; h=from : to :
 subject : date : message-id : from : subject : date;
 bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;
 b=/gCrinpcQOoIfuHNQIbq4pgh9kyIK3AQUdt9OdqQehSwhEIug4D11Bus
 Fa3bT3FY5OsU7ZbnKELq+eXdp1Q1Dw==
From: Joe SixPack <joe@football.example.com>
To: Suzie Q <suzie@shopping.example.net>
Subject: Is dinner ready?
Date: Fri, 11 Jul 2003 21:00:37 -0700 (PDT)
Message-ID: <20030712040037.46341.5F8J@football.example.com>

Hi.

We lost the game.  Are you hungry yet?

Joe.
""".replace(b"\n", b"\r\n")


def test_the_example_of_rfc_8463_passes() -> None:
    record = "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="
    resolver = FakeResolver(TXT={"brisbane._domainkey.football.example.com": [record]})
    assert words(RFC_8463, resolver) == ["pass"]
    assert words(RFC_8463.replace(b"dinner", b"supper"), resolver) == ["fail"]


def test_an_unsigned_message_is_none() -> None:
    assert words(MESSAGE, FakeResolver()) == ["none"]


def test_at_most_ten_signatures_are_looked_at() -> None:
    resolver = published(rsa_key())
    assert len(verified(dkim.sign(MESSAGE, [rsa_key()] * 15, now=NOW) + MESSAGE, resolver)) == 10
    assert len(resolver.asked) == 1


def test_a_silent_name_server_is_a_temporary_error() -> None:
    resolver = FakeResolver(fail={f"TXT {name_of(rsa_key())}"})
    assert words(signed(), resolver) == ["temperror", "permerror"]


def test_a_missing_or_empty_key_is_a_permanent_error() -> None:
    name = name_of(rsa_key())
    for resolver in (FakeResolver(), FakeResolver(A={name: ["192.0.2.1"]})):
        assert words(made_by_oracle(), resolver) == ["permerror"]
    revoked = verified(made_by_oracle(), FakeResolver(TXT={name: ["v=DKIM1; p="]}))
    assert (revoked[0].result, revoked[0].why) == ("permerror", "the key was withdrawn")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("v=DKIM1; ", ""),
        ("k=rsa; ", ""),
        ("k=rsa; ", "k=rsa; t=y; "),
        ("k=rsa; ", "h=sha1:sha256; s=email; n=note; "),
        ("p=", "x=unknown; p="),
    ],
)
def test_key_records_that_do(old: str, new: str) -> None:
    record = rsa_key().record().replace(old, new)
    resolver = FakeResolver(TXT={name_of(rsa_key()): [record]})
    assert words(made_by_oracle(), resolver) == ["pass"]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("v=DKIM1", "v=DKIM2"),
        ("v=DKIM1; k=rsa", "k=rsa; v=DKIM1"),
        ("k=rsa", "k=elliptic"),
        ("k=rsa; ", "h=sha1; "),
        ("k=rsa; ", "s=tlsrpt; "),
        ("p=MII", "p=M!I"),
        ("p=MII", "p=AAA"),
        ("p=", "q="),
        ("k=rsa", "k=ed25519"),
    ],
)
def test_key_records_that_do_not(old: str, new: str) -> None:
    record = rsa_key().record().replace(old, new)
    resolver = FakeResolver(TXT={name_of(rsa_key()): [record]})
    assert words(made_by_oracle(), resolver) == ["permerror"]


def test_a_second_record_beside_the_key_does_no_harm() -> None:
    records = ["v=spf1 -all", ed25519_key().record(), rsa_key().record()]
    resolver = FakeResolver(TXT={name_of(rsa_key()): records})
    assert words(made_by_oracle(), resolver) == ["pass"]


def test_a_key_for_its_own_domain_alone_binds_the_identity() -> None:
    record = rsa_key().record().replace("k=rsa", "k=rsa; t=s")
    resolver = FakeResolver(TXT={name_of(rsa_key()): [record]})
    message = made_by_oracle(identity=b"anna@sub.example.com")
    assert words(message, published(rsa_key())) == ["pass"]
    assert words(message, resolver) == ["permerror"]


def test_sha1_never_passes() -> None:
    message = made_by_oracle()
    message = message.replace(b"rsa-sha256", b"rsa-sha1")
    assert words(message, published(rsa_key())) == ["policy"]


def test_short_rsa_keys_never_pass() -> None:
    raw = (
        RSAPublicNumbers(65537, 2**767 + 1)
        .public_key()
        .public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    )
    record = f"v=DKIM1; p={base64.b64encode(raw).decode()}"
    [result] = verified(made_by_oracle(), FakeResolver(TXT={name_of(rsa_key()): [record]}))
    assert (result.result, result.key_bits) == ("policy", 768)
    enough = rsa_key(bits=1024)
    assert words(dkim.sign(MESSAGE, [enough], now=NOW) + MESSAGE, published(enough)) == ["pass"]


def test_length_tag_is_neutral_unless_it_covers_all() -> None:
    message = made_by_oracle(length=True)
    assert words(message, published(rsa_key())) == ["pass"]
    [longer] = verified(message + b"forged\r\n", published(rsa_key()))
    assert longer.result == "neutral"
    assert "policy" in longer.why
    assert words(message[:-30], published(rsa_key())) == ["fail"]


def resigned(tag: str, value: str) -> bytes:
    """A signature over the message with a tag put in, right in all else."""
    names = ["from", "to", "subject"]
    fields = dkim.form.fields_of(MESSAGE.partition(b"\r\n\r\n")[0] + b"\r\n")
    digest, _ = dkim.form.hash_body(
        dkim.blocks_of(MESSAGE.partition(b"\r\n\r\n")[2]), [("relaxed", None)]
    )["relaxed", None]
    tags = {"v": "1", "a": "rsa-sha256", "c": "relaxed/relaxed", "d": "example.com", "s": "pp1"}
    tags |= {"h": ":".join(names), "bh": base64.b64encode(digest).decode(), tag: value}
    text = "; ".join(f"{name}={text}" for name, text in tags.items() if text != "(none)")
    raw = f"DKIM-Signature: {text}; b=\r\n".encode()
    field = dkim.HeaderField("dkim-signature", raw)
    return dkim.completed(field, dkim.form.choose(fields, names), rsa_key()) + MESSAGE


@pytest.mark.parametrize(
    ("tag", "value", "wanted"),
    [
        ("n", "note", "pass"),
        ("c", "relaxed", "fail"),  # then the body is simple
        ("q", "dns/txt", "pass"),
        ("i", "anna@EXAMPLE.com", "pass"),
        ("i", "anna@sub.example.com", "pass"),
        ("d", "EXAMPLE.COM", "pass"),
        ("x", str(int(NOW.timestamp()) + 10), "pass"),
        ("x", str(int(NOW.timestamp()) - 10), "fail"),
        ("v", "2", "permerror"),
        ("v", "(none)", "permerror"),
        ("a", "rsa-sha512", "permerror"),
        ("a", "rsa-sha1", "policy"),
        ("c", "relaxed/strange", "permerror"),
        ("q", "carrier/pigeon", "permerror"),
        ("i", "anna@notexample.com", "permerror"),
        ("i", "anna@example.org", "permerror"),
        ("i", "nobody", "permerror"),
        ("d", "(none)", "permerror"),
        ("d", "", "permerror"),
        ("d", ".", "permerror"),
        ("d", "exa..mple.com", "permerror"),
        ("d", "x" * 70 + ".com", "permerror"),
        ("d", "exa mple..com", "permerror"),
        ("s", "a..b", "permerror"),
        ("s", "ä" * 300, "permerror"),
        ("h", "to:subject", "permerror"),
        ("h", "(none)", "permerror"),
        ("bh", "!!!", "permerror"),
        ("bh", "AAAA", "fail"),
        ("t", "yesterday", "permerror"),
        ("x", "-1", "permerror"),
        ("x", "9" * 30, "permerror"),
        ("l", "9" * 30, "fail"),
        ("l", "x", "permerror"),
        ("b", "AAAA", "permerror"),  # b= stands twice
    ],
    ids=map(str, range(35)),  # some values hold the time of day
)
def test_tags(tag: str, value: str, wanted: str) -> None:
    assert words(resigned(tag, value), published(rsa_key())) == [wanted]


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_nothing_a_stranger_writes_raises_or_passes(data: st.DataObject) -> None:
    field = bytearray(dkim.sign(MESSAGE, [rsa_key()], now=NOW))
    at = data.draw(st.integers(16, len(field) - 3))
    new = data.draw(st.binary(min_size=0, max_size=4))
    field[at : at + data.draw(st.integers(0, 4))] = new
    results = verified(bytes(field) + MESSAGE, published(rsa_key()))
    for result in results:
        assert result.result in {"none", "pass", "fail", "neutral", "policy", "permerror"}
        if result.result == "pass":  # then nothing was changed that means anything
            assert oracle_says(bytes(field) + MESSAGE, rsa_key()) == [True]


def test_ours_expires_after_the_longest_stay_in_the_queue() -> None:
    resolver = published(*both())
    assert words(signed(), resolver, NOW + timedelta(days=31)) == ["pass", "pass"]
    assert words(signed(), resolver, NOW + timedelta(days=36)) == ["fail", "fail"]


def test_results_have_properties_for_the_result_field() -> None:
    result = verified(signed(), published(*both()))[0]
    assert result.properties() == {
        "reason": "",
        "header.d": "example.com",
        "header.i": "@example.com",
        "header.a": "rsa-sha256",
        "header.s": "pp1",
    }
    assert DkimResult("none").properties() == {}
