"""Delivery status notifications, read back by the standard library."""

from __future__ import annotations

import email
from datetime import UTC, datetime, timedelta
from email.message import Message

from hypothesis import given
from hypothesis import strategies as st

from appliance.mail.address import parse
from appliance.mail.dsn import Fate, Kind, Original, build, decode_xtext
from appliance.mail.envelope import Envelope, Recipient

NOW = datetime(2026, 11, 24, 21, 0, tzinfo=UTC)
HEAD = b"Received: x\r\nSubject: hello\r\nFrom: a@b.example\r\n"


def original(*, ret: str = "", sender: str = "a@b.example", envid: str = "") -> Original:
    envelope = Envelope(parse(sender), (Recipient(parse("c@d.example")),), ret=ret, envid=envid)
    return Original(envelope, "3ABC", NOW - timedelta(hours=1), HEAD, HEAD + b"\r\nbody\r\n")


def report(kind: Kind = Kind.FAILED, *, about: Original | None = None, **fate: str) -> Message:
    recipient = Recipient(parse("c@d.example"), (), "rfc822;Bob+2Bx@d.example")
    values = {"status": "5.1.1", "say": "Not known there.", "reply": "550 5.1.1 no", **fate}
    built = build(
        kind,
        about or original(),
        (Fate(recipient, host="mx.d.example", **values),),
        hostname="box.example.com",
        report_id="3DEF",
        now=NOW,
        final_try_at=NOW + timedelta(days=4),
    )
    assert built.count(b"\n") == built.count(b"\r\n") == built.count(b"\r")
    return email.message_from_bytes(built)


def parts(message: Message) -> list[Message]:
    found = message.get_payload()
    assert isinstance(found, list)
    return found  # type: ignore[return-value]


def test_a_report_is_a_multipart_report_of_three_parts() -> None:
    message = report()
    assert message.get_content_type() == "multipart/report"
    assert message.get_param("report-type") == "delivery-status"
    assert message["Auto-Submitted"] == "auto-replied"
    assert [part.get_content_type() for part in parts(message)] == [
        "text/plain",
        "message/delivery-status",
        "text/rfc822-headers",
    ]


def test_the_fields_name_recipient_action_status_and_the_other_server() -> None:
    blocks = parts(report(about=original(envid="a+2Bb")))[1].get_payload()
    assert isinstance(blocks, list)
    whole, one = blocks
    assert whole["Reporting-MTA"] == "dns; box.example.com"
    assert whole["Original-Envelope-Id"] == "a+b"
    assert one["Original-Recipient"] == "rfc822;Bob+x@d.example"
    assert one["Final-Recipient"] == "rfc822; c@d.example"
    assert one["Action"] == "failed"
    assert one["Status"] == "5.1.1"
    assert one["Remote-MTA"] == "dns; mx.d.example"
    assert one["Diagnostic-Code"] == "smtp; 550 5.1.1 no"


def test_the_whole_message_comes_back_only_when_asked_for_and_failed() -> None:
    full = original(ret="FULL")
    assert parts(report(about=full))[2].get_content_type() == "message/rfc822"
    assert parts(report(Kind.DELAYED, about=full))[2].get_content_type() == "text/rfc822-headers"
    assert parts(report(about=original(ret="HDRS")))[2].get_content_type() == "text/rfc822-headers"


def test_a_delay_says_until_when_it_is_tried() -> None:
    text = str(parts(report(Kind.DELAYED))[0].get_payload())
    assert "28 Nov 2026" in text
    assert "need not send it again" in text


@given(st.text(max_size=300), st.text(max_size=300))
def test_no_words_of_another_server_add_a_field_or_a_part(say: str, reply: str) -> None:
    message = report(say=say, reply=reply or "x")
    assert len(parts(message)) == 3
    blocks = parts(message)[1].get_payload()
    assert isinstance(blocks, list)
    assert len(blocks) == 2
    assert set(blocks[1].keys()) <= {
        "Original-Recipient", "Final-Recipient", "Action", "Status", "Remote-MTA",
        "Diagnostic-Code",
    }  # fmt: skip


def test_xtext_is_decoded_and_controls_do_not_pass() -> None:
    assert decode_xtext("a+2Bb+0Dc") == "a+b?c"
