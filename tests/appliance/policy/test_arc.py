"""ARC chains, verified and sealed; dkimpy is the oracle."""

import asyncio
import re
from collections.abc import Callable
from datetime import UTC, datetime

import dkim as oracle
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.dns.resolver import FakeResolver, Resolver
from appliance.policy import arc
from appliance.policy.arc import ArcResult
from tests.support.signing import name_of, published, rsa_key, rsa_old_pem

NOW = datetime.now(UTC)
MESSAGE = b"From: anna@example.com\r\nTo: list@example.org\r\nSubject: hi\r\n\r\nhello\r\n"
OUTCOMES = [("spf", "pass", {"smtp.mailfrom": "example.com"}), ("dkim", "none", {})]


def verified(message: bytes, resolver: Resolver | None = None) -> ArcResult:
    return asyncio.run(arc.verify(resolver or published(rsa_key()), message, now=NOW))


def sealed(message: bytes, chain: str) -> bytes:
    made = arc.seal(
        message,
        rsa_key(),
        authentication_results=OUTCOMES,
        authserv_id="mail.example.com",
        chain_validation=chain,
        now=NOW,
    )
    return made + message if made else b""


def chain(sets: int) -> bytes:
    message = MESSAGE
    for number in range(sets):
        message = sealed(b"Received: by hop\r\n" + message, "pass" if number else "none")
    return message


def oracle_says(message: bytes) -> bytes:
    records = {f"{name_of(rsa_key())}.".encode(): rsa_key().record().encode()}
    return bytes(oracle.arc_verify(message, dnsfunc=lambda name, timeout=5: records.get(name))[0])


def test_no_chain_is_none() -> None:
    assert verified(MESSAGE) == ArcResult("none")


@pytest.mark.parametrize("sets", [1, 2, 4])
def test_our_chains_pass_here_and_at_the_oracle(sets: int) -> None:
    assert verified(chain(sets)) == ArcResult("pass", "", sets, ("example.com",) * sets)
    assert oracle_says(chain(sets)) == b"pass"


def test_a_chain_of_the_oracle_passes_and_grows() -> None:
    message = b"Authentication-Results: mail.example.com; spf=pass\r\n" + MESSAGE
    lines = oracle.arc_sign(message, b"pp1", b"example.com", rsa_old_pem(), b"mail.example.com")
    theirs = b"".join(lines) + message
    assert verified(theirs).result == "pass"
    assert verified(sealed(theirs, "pass")).sets == 2
    assert oracle_says(sealed(theirs, "pass")) == b"pass"


def test_a_changed_message_fails() -> None:
    for old, new in ((b"hello", b"hullo"), (b"Subject: hi", b"Subject: ho"), (b"list@", b"lost@")):
        assert verified(chain(2).replace(old, new)).result == "fail"


def test_an_older_set_cannot_be_changed() -> None:
    message = chain(2)
    results = [m.start() for m in re.finditer(rb"spf=pass", message)]
    assert len(results) == 2
    for at in results:
        changed = message[:at] + b"spf=fail" + message[at + 8 :]
        assert verified(changed).result == "fail"


def without(name: bytes, number: int) -> Callable[[bytes], bytes]:
    pattern = rb"^%s: i=%d;.*?\r\n(?=\S)" % (name, number)
    return lambda message: re.sub(pattern, b"", message, flags=re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize(
    "change",
    [
        without(b"ARC-Seal", 1),
        without(b"ARC-Seal", 2),
        without(b"ARC-Message-Signature", 1),
        without(b"ARC-Message-Signature", 2),
        without(b"ARC-Authentication-Results", 1),
        lambda m: m.replace(b"ARC-Seal: i=2", b"ARC-Seal: i=3"),
        lambda m: m.replace(b"i=1;", b"i=0;"),
        lambda m: m.replace(b"i=2;", b"i=51;"),
        lambda m: m.replace(b"i=2;", b"i=99999;"),
        lambda m: m.replace(b"i=2;", b"i=x;"),
        lambda m: m.replace(b"cv=pass", b"cv=fail"),
        lambda m: m.replace(b"cv=none", b"cv=pass"),
        lambda m: m.replace(b"cv=pass;", b""),
        lambda m: m.replace(b"cv=pass;", b"cv=pass; h=from;"),
        lambda m: m.replace(b"cv=pass;", b"cv=pass; a=rsa-sha256;"),
        lambda m: m.replace(b"ARC-Message-Signature: i=2;", b"ARC-Message-Signature: i=2; v=1;"),
        lambda m: m.replace(b"rsa-sha256", b"rsa-sha1"),
        lambda m: m.replace(b"d=example.com", b"d=example.org"),
        lambda m: m.replace(b"d=example.com", b"d=."),
        lambda m: m.replace(b"s=pp1", b"s=other"),
        lambda m: b"ARC-Seal: nonsense\r\n" + m,
        lambda m: b"ARC-Authentication-Results: i=2; x; none\r\n" + m,
        lambda m: m.replace(b"i=2; mail", b"x; i=2; mail"),
    ],
)
def test_broken_chains_fail(change: Callable[[bytes], bytes]) -> None:
    message = chain(2)
    assert change(message) != message
    assert verified(change(message)).result == "fail"


def test_a_silent_name_server_is_a_temporary_error_and_is_not_sealed() -> None:
    resolver = FakeResolver(fail={f"TXT {name_of(rsa_key())}"})
    assert verified(chain(2), resolver).result == "temperror"
    assert sealed(chain(2), "temperror") == b""


def test_a_missing_key_fails() -> None:
    assert verified(chain(1), FakeResolver()).result == "fail"


def test_a_chain_without_its_word_does_not_grow() -> None:
    assert sealed(chain(1), "none") == b""  # it has one, so `none` cannot be
    assert sealed(MESSAGE, "pass") == b""
    assert sealed(MESSAGE, "fail") == b""


@pytest.mark.parametrize("sets", [1, 3])
def test_who_finds_a_chain_broken_marks_it_with_a_set_that_is_sealed_alone(sets: int) -> None:
    # RFC 8617 §5.1.2
    broken = chain(sets).replace(b"Subject: hi", b"Subject: [list] hi")
    assert verified(broken).result == "fail"
    marked = sealed(broken, "fail")
    assert marked.startswith(b"ARC-Seal: i=%d; a=rsa-sha256; cv=fail;" % (sets + 1))
    assert verified(marked).why == f"set {sets + 1} says that the chain was broken before it"
    other = broken.replace(b"spf=pass", b"spf=fail")
    assert sealed(other, "fail").removesuffix(other) == marked.removesuffix(broken)


def test_a_mark_of_a_broken_chain_is_the_last_set() -> None:
    # RFC 8617 §5.1 step 2
    broken = chain(1).replace(b"hello", b"hullo")
    assert sealed(sealed(broken, "fail"), "fail") == b""
    full = chain(1).replace(b"i=1;", b"i=50;")
    assert sealed(full, "fail") == b""


def test_a_message_signature_over_no_field_fails() -> None:
    # RFC 6376 §3.5 and §5.4 hold for it as well (RFC 8617 §4.1.2): h= has From at least
    message = re.sub(rb"(?s)\r\n\th=.*?;", b"\r\n\th=;", chain(1), count=1)
    assert verified(message).why == "h= is missing"


def test_the_fiftieth_set_is_the_last() -> None:
    last = chain(1).replace(b"i=1;", b"i=50;")
    assert verified(last).result == "fail"
    assert (
        verified(chain(1).replace(b"i=1;", b"i=51;")).why == "the number of a set is out of bounds"
    )


def test_a_set_without_c_is_in_the_simple_form() -> None:
    # dkimpy takes such a set for malformed; RFC 8617 §4.1.2 leaves c= optional.
    message = chain(1).replace(b" c=relaxed/relaxed;", b"")
    assert verified(message).why == "message signature 1: the signature does not fit the header"


@settings(max_examples=30)
@given(at=st.integers(0, 1200), new=st.binary(max_size=3), length=st.integers(0, 3))
def test_nothing_a_stranger_writes_raises(at: int, new: bytes, length: int) -> None:
    message = chain(1)
    changed = message[:at] + new + message[at + length :]
    assert verified(changed).result in {"none", "pass", "fail"}
