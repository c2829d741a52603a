"""The Received field: one field, whatever was said to us."""

from __future__ import annotations

from datetime import UTC, datetime
from email import policy
from email.parser import BytesHeaderParser

from hypothesis import given
from hypothesis import strategies as st

from appliance.mail.trace import Hop, date, literal, protocol, received

AT = datetime(2026, 11, 4, 9, 5, 7, tzinfo=UTC)


def hop(**changes: object) -> Hop:
    facts: dict[str, object] = {
        "helo": "client.example.net",
        "client": "192.0.2.7",
        "hostname": "box.example.com",
        "queue_id": "3ABC",
        **changes,
    }
    return Hop(**facts)  # type: ignore[arg-type]


def test_the_field_says_who_how_and_when() -> None:
    field = received(
        hop(tls_version="TLSv1.3", tls_cipher="TLS_AES_256", only_recipient="b@example.org"), AT
    )
    assert field == (
        b"Received: from client.example.net ([192.0.2.7])\r\n"
        b"\tby box.example.com with ESMTPS (TLSv1.3 TLS_AES_256)\r\n"
        b"\tid 3ABC for <b@example.org>;\r\n"
        b"\tWed, 4 Nov 2026 09:05:07 +0000\r\n"
    )


def test_the_protocol_word_follows_the_registry() -> None:
    assert protocol(hop(extended=False)) == "SMTP"
    assert protocol(hop(smtputf8=True, tls_version="TLSv1.3")) == "UTF8SMTPS"
    assert protocol(hop(tls_version="TLSv1.3", authenticated=True)) == "ESMTPSA"


def test_an_ipv6_client_is_written_as_a_literal() -> None:
    assert literal("2001:db8::1") == "[IPv6:2001:db8::1]"
    assert literal("fe80::1%eth0") == "[IPv6:fe80::1]"


def test_dates_are_english_and_have_an_offset() -> None:
    assert date(AT) == "Wed, 4 Nov 2026 09:05:07 +0000"


@given(st.text(), st.text(), st.text(), st.text())
def test_any_words_make_exactly_one_field(helo: str, client: str, cipher: str, to: str) -> None:
    field = received(
        hop(helo=helo, client=client, tls_version="T", tls_cipher=cipher, only_recipient=to), AT
    )
    assert field.count(b"\r\n") == 4
    assert field.count(b"\n") == field.count(b"\r") == 4
    parsed = BytesHeaderParser(policy=policy.compat32).parsebytes(field + b"\r\n")
    assert parsed.keys() == ["Received"]
