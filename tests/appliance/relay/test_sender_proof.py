"""DKIM, ARC and DMARC on what comes in; signatures on what goes out. Real sessions, our own DNS."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from appliance.dns.resolver import FakeResolver
from appliance.mail.message import field_values, split_head
from appliance.policy import dkim
from appliance.policy.dkim import SigningKey
from appliance.relay import signing
from tests.support.relay_box import RelayBox
from tests.support.smtp_client import SmtpClient
from tests.support.smtp_sink import SmtpSink
from tests.support.wait import wait_until

KEY = ed25519.Ed25519PrivateKey.generate()
PUBLIC = base64.b64encode(KEY.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)).decode()
PEM = KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
LETTER = b"From: Bank <info@bank.example>\r\nTo: x@example.org\r\nSubject: hi\r\n\r\nHello\r\n"


def key_of(domain: str) -> SigningKey:
    return SigningKey.from_pem(domain, "s1", PEM)


def resolver() -> FakeResolver:
    record = f"v=DKIM1; k=ed25519; p={PUBLIC}"
    return FakeResolver(
        TXT={
            "s1._domainkey.bank.example": [record],
            "s1._domainkey.example.com": [record],
            "_dmarc.bank.example": ["v=DMARC1; p=reject"],
            "_dmarc.shop.example": ["v=DMARC1; p=quarantine"],
            "bank.example": ["v=spf1 -all"],
            "shop.example": ["v=spf1 -all"],
        }
    )


@pytest.fixture
def sink() -> Iterator[SmtpSink]:
    with SmtpSink() as running:
        yield running


def box(folder: Path, sink: SmtpSink, **settings: Any) -> RelayBox:
    given = {
        "mail.relay_domains": [f"example.org | {sink.address}"],
        "filter.check_spf": True,
        "filter.dmarc": "follow",
        "outbound.route_overrides": [f"away.example|{sink.address}"],
        **{name.replace("__", "."): value for name, value in settings.items()},
    }
    return RelayBox(folder, given, resolver=resolver())


def send(relay: RelayBox, sink: SmtpSink, letter: bytes, to: str = "x@example.org") -> bytes:
    """What the sink got, or the refusal as bytes."""
    with SmtpClient("127.0.0.1", relay.port()) as client:
        answer = client.send_message("a@bank.example", [to], letter)
    if answer.code != 250:
        return f"{answer.code} {answer.text}".encode()
    wait_until(lambda: bool(sink.messages), what="the message", timeout_seconds=20)
    return bytes(sink.messages[-1].data)


def test_a_forged_sender_is_refused_as_its_domain_asks(tmp_path: Path, sink: SmtpSink) -> None:
    with box(tmp_path, sink) as relay:
        assert send(relay, sink, LETTER).startswith(b"550 5.7.26 ")


def test_a_signed_letter_passes_with_the_results_in_its_header(
    tmp_path: Path, sink: SmtpSink
) -> None:
    forged = b"Authentication-Results: box.example.com; dmarc=pass header.from=evil.example\r\n"
    with box(tmp_path, sink) as relay:
        signature = dkim.sign(LETTER, [key_of("bank.example")], now=relay.shop.clock.now())
        got = send(relay, sink, signature + forged + LETTER)
    head, body = split_head(got)
    (said,) = field_values(head, "Authentication-Results")
    assert said.startswith("box.example.com;")
    assert "spf=fail" in said
    assert "dkim=pass" in said
    assert "dmarc=pass header.from=bank.example" in said
    assert b"evil.example" not in got
    assert body == b"Hello\r\n"
    assert signature in head


def test_a_domain_that_asks_for_quarantine_makes_it_junk(tmp_path: Path, sink: SmtpSink) -> None:
    letter = LETTER.replace(b"bank.example", b"shop.example")
    with box(tmp_path, sink) as relay:
        got = send(relay, sink, letter)
    assert field_values(split_head(got)[0], "X-Spam-Flag") == ["YES"]
    assert field_values(split_head(got)[0], "X-Spam-Action") == ["junk"]


def test_with_note_alone_nothing_is_refused(tmp_path: Path, sink: SmtpSink) -> None:
    with box(tmp_path, sink, filter__dmarc="note") as relay:
        assert b"dmarc=fail" in send(relay, sink, LETTER)


def test_a_permitted_sender_is_not_checked(tmp_path: Path, sink: SmtpSink) -> None:
    with box(tmp_path, sink, senders__permitted=["bank.example"]) as relay:
        assert b"dmarc" not in send(relay, sink, LETTER)


@pytest.mark.parametrize("size", [10, 300_000])
def test_what_our_own_people_send_is_signed_and_verifies(
    tmp_path: Path, sink: SmtpSink, size: int
) -> None:
    body = (b"x" * 70 + b"\r\n") * (1 + size // 72)
    letter = b"From: ann@example.com\r\nSubject: out\r\n\r\n" + body
    with box(tmp_path, sink, relay__trusted_networks=["127.0.0.0/8"]) as relay:
        relay.shop.signing_keys = {"example.com": (key_of("example.com"),)}
        got = send(relay, sink, letter, "y@away.example")
        (result,) = relay.run(dkim.verify(resolver(), got, now=relay.shop.clock.now()))
    assert (result.result, result.domain) == ("pass", "example.com")


def test_a_report_of_ours_is_signed(tmp_path: Path, sink: SmtpSink) -> None:
    settings = {"mail__relay_domains": ["example.org | 127.0.0.1:1"], "queue__give_up_seconds": 1}
    letter = LETTER.replace(b"info@bank.example", b"a@away.example")
    with box(tmp_path, sink, filter__dmarc="off", **settings) as relay:
        relay.shop.signing_keys = {"example.com": (key_of("example.com"),)}
        with SmtpClient("127.0.0.1", relay.port()) as client:
            assert client.send_message("a@away.example", ["x@example.org"], letter).code == 250
        wait_until(lambda: bool(sink.messages), what="the report", timeout_seconds=30)
        got = bytes(sink.messages[-1].data)
        (result,) = relay.run(dkim.verify(resolver(), got, now=relay.shop.clock.now()))
    assert result.result == "pass"


def test_a_forward_that_leaves_is_sealed(tmp_path: Path, sink: SmtpSink) -> None:
    settings = {"rules__aliases": ["info: y@away.example"], "filter__dmarc": "note"}
    with box(tmp_path, sink, **settings) as relay:
        relay.shop.signing_keys = {"example.com": (key_of("example.com"),)}
        relay.shop.seal = signing.sealer(relay.shop)
        got = send(relay, sink, LETTER, "info@example.com")
        from appliance.policy import arc

        found = relay.run(arc.verify(resolver(), got, now=relay.shop.clock.now()))
    assert (found.result, found.sealers) == ("pass", ("example.com",))
    assert (
        b"dmarc=fail" in field_values(split_head(got)[0], "ARC-Authentication-Results")[0].encode()
    )
