"""Bcc, Date and Message-ID of mail that people hand in."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.mail.submit_head import fit

AT = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
ADDED = b"Date: Wed, 25 Nov 2026 12:00:00 +0000\r\nMessage-ID: <1.a@box.example.com>\r\n"
OWN = b"Date: x\r\nMessage-Id: <y@z>\r\n"


def made(head: bytes) -> bytes:
    return fit(head, at=AT, message_id="1.a@box.example.com").head


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"Bcc: a@b\r\n", b""),
        (b"To: c@d\r\nBcc: a@b\r\nSubject: x\r\n", b"To: c@d\r\nSubject: x\r\n"),
        (b"BCC : a@b,\r\n\tc@d,\r\n e@f\r\nTo: x\r\n", b"To: x\r\n"),
        (b"bcc:\r\n a@b\r\nTo: x,\r\n y\r\n", b"To: x,\r\n y\r\n"),
        (b"Resent-Bcc: a@b\r\n", b""),
        (b"Subject: Bcc: a\r\n Bcc: b\r\n", b"Subject: Bcc: a\r\n Bcc: b\r\n"),
        (b"X-Bcc: a\r\nBccc: b\r\n", b"X-Bcc: a\r\nBccc: b\r\n"),
        (b"Bcc: a@b\r\nBcc: c@d\r\n", b""),
        (b" folded\r\nBcc: a\r\nTo: x\r\n", b" folded\r\nTo: x\r\n"),
        (b"no header at all\r\n", b"no header at all\r\n"),
    ],
)
def test_bcc_goes_and_the_rest_stays_by_the_octet(before: bytes, after: bytes) -> None:
    assert made(before) == ADDED + after


def test_a_header_of_bcc_alone_becomes_empty_when_nothing_is_missing() -> None:
    assert made(b"Bcc: a@b\r\n" + OWN) == OWN
    assert fit(OWN, at=AT, message_id="x").done == ()


def test_what_is_there_is_not_added() -> None:
    assert made(b"DATE: x\r\n") == ADDED.splitlines(keepends=True)[1] + b"DATE: x\r\n"
    assert made(b"message-id: <a>\r\n") == ADDED.splitlines(keepends=True)[0] + (
        b"message-id: <a>\r\n"
    )
    assert made(b"") == ADDED


def test_it_says_what_it_did() -> None:
    done = fit(b"Bcc: a@b\r\n", at=AT, message_id="x").done
    assert done == ("Date added", "Message-ID added", "Bcc removed")


LINES = [b"Bcc: q", b" q", b"\tq", b"To: z", b"", b"z", b":"]


@given(st.lists(st.sampled_from(LINES), max_size=8))
def test_no_header_loses_anything_but_bcc(lines: list[bytes]) -> None:
    head = b"".join(line + b"\r\n" for line in lines)
    left = made(head).removeprefix(ADDED)
    kept, in_bcc, begun = b"", False, False
    for line in lines:
        if not line.startswith((b" ", b"\t")) or not begun:
            in_bcc = line.startswith(b"Bcc")
            begun = begun or not line.startswith((b" ", b"\t"))
        if not in_bcc:
            kept += line + b"\r\n"
    assert left == kept
