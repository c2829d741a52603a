"""A message's real journey: a stranger, the box, the office's mail server."""

from __future__ import annotations

import json
import re
import time
from email.utils import formatdate
from pathlib import Path

import pytest

from tests.support.box import Box
from tests.support.browser import browser
from tests.support.smtp_client import Answer
from tests.support.smtp_sink import Delivered, Plan, SmtpSink
from tests.support.wait import wait_until
from tests.support.wizard import Answers, Visitor

pytestmark = [pytest.mark.image, pytest.mark.timeout(3600)]

# Everything a careless relay would "mend": folded and repeated fields, odd case,
# blanks at line ends, bytes beyond ASCII, lines of dots, no line end at the end.
AWKWARD = (
    b"Received: from earlier.example.org (earlier.example.org [192.0.2.7])\r\n"
    b"\tby old.example.org; Mon, 01 Jan 2024 00:00:00 +0000\r\n"
    b"FROM:   =?utf-8?q?J=C3=B6rg?= <joerg@example.org>  \r\n"
    b"to: office@example.com\r\n"
    b"Subject: a  folded\r\n\t subject \xc3\xa4\xff\r\n"
    b"X-Twice: 1\r\nX-Twice: 2\r\n"
    b"Message-ID: <%s@example.org>\r\n"
    b"Date: %s\r\n"
    b"\r\n"
    b".one dot\r\n..two dots\r\n.\x00nul\r\n"
    b"trailing blanks   \r\n\r\n\r\n"
    b"\xe4\xf6\xfc raw latin-1\r\n" + b"x" * 990 + b"\r\n"
    b"last line"
)


OURS = re.compile(rb"(?:Authentication-Results|X-Spam-[A-Za-z]+):")


def awkward(name: str) -> bytes:
    return AWKWARD % (name.encode(), formatdate().encode()) + b"\r\n"


def plain(name: str) -> bytes:
    return (
        f"From: <a@example.org>\r\nTo: <office@example.com>\r\nSubject: {name}\r\n"
        f"Message-ID: <{name}@example.org>\r\nDate: {formatdate()}\r\n\r\nHello.\r\n"
    ).encode()


def send(box: Box, message: bytes, to: str = "office@example.com") -> Answer:
    with box.smtp() as stranger:
        return stranger.send_message("stranger@example.org", [to], message)


def split_trace(data: bytes) -> tuple[bytes, bytes]:
    """The fields that the box put in front (Received, what its checks found), and the rest."""
    end = 0
    while (data[end : end + 9].lower() == b"received:" and end == 0) or OURS.match(data, end):
        end = data.index(b"\r\n", end) + 2
        while data[end : end + 1] in (b" ", b"\t"):
            end = data.index(b"\r\n", end) + 2
    return data[:end], data[end:]


def queued(box: Box) -> int:
    """How many messages wait, as the box's own command says."""
    status = json.loads(box.root("pennypost queue list --json"))
    return int(status["total"] if isinstance(status, dict) else len(status))


def test_mail_for_a_relay_domain_arrives_unchanged_but_for_its_trace_field(
    ready_box: Box, next_hop: SmtpSink
) -> None:
    message = awkward("unchanged").replace(b"\x00", b"")
    assert send(ready_box, message).code == 250
    (got,) = next_hop.wait_for_messages(1)
    trace, rest = split_trace(got.data)
    assert trace.lower().startswith(b"received:")
    assert b"client.example.org" in trace
    assert rest == message
    assert got.mail_from == "stranger@example.org"
    assert got.recipients == ("office@example.com",)


def test_mail_comes_in_encrypted_too(ready_box: Box, next_hop: SmtpSink) -> None:
    message = plain("encrypted")
    with ready_box.smtp() as stranger:
        stranger.hello()
        stranger.starttls()
        assert stranger.envelope("a@example.org", ["office@example.com"]).code == 250
        assert stranger.data(message).code == 250
    (got,) = next_hop.wait_for_messages(1)
    trace, rest = split_trace(got.data)
    assert rest == message
    assert b"ESMTPS" in trace  # RFC 3848


def test_the_submission_ports_greet_as_well(ready_box: Box) -> None:
    with ready_box.smtp(587) as submission:
        assert submission.hello().code == 250
    with ready_box.smtp(465, tls=True) as submissions:
        assert submissions.hello().code == 250


def test_a_domain_that_is_not_ours_is_refused(ready_box: Box) -> None:
    answer = send(ready_box, plain("refused"), to="someone@example.net")
    assert answer.code == 550
    assert answer.text.startswith("5.7.1")
    assert queued(ready_box) == 0


def test_mail_waits_while_the_office_is_down_survives_a_power_cut_and_arrives_once(
    ready_box: Box, next_hop: SmtpSink, answers: Answers
) -> None:
    box = ready_box
    box.root("pennypost settings set queue.retry_seconds 5,5,5,10,10")
    next_hop.go_down()
    names = ["waits-one", "waits-two", "waits-three"]
    for name in names:
        assert send(box, plain(name)).code == 250
    wait_until(lambda: queued(box) == 3, what="three messages in the queue")

    with browser() as running:
        visitor = Visitor(running, box.url)
        visitor.sign_in(answers)
        text = visitor.wait_for_queue_text("refuses connections")
        assert "office@example.com" in text

    box.cut_power()
    start = time.monotonic()
    box.power_on()
    next_hop.come_up()
    box.wait_for_web()
    print(f"later boot: the pages answered after {time.monotonic() - start:.1f} s")
    got = next_hop.wait_for_messages(3, timeout_seconds=300)
    wait_until(lambda: queued(box) == 0, what="an empty queue")
    assert sorted(subject(message) for message in got) == sorted(names)
    box.wait_until_settled()
    assert box.failed_units() == []


def subject(message: Delivered) -> str:
    for line in message.data.splitlines():
        if line.lower().startswith(b"subject:"):
            return line.partition(b":")[2].strip().decode()
    return ""


def test_a_next_hop_that_refuses_for_good_gives_the_sender_a_report_only_for_real_senders(
    ready_box: Box, next_hop: SmtpSink, tmp_path: Path
) -> None:
    next_hop.plan = Plan(recipients={"gone@example.com": "550 5.1.1 nobody here by that name"})
    with ready_box.smtp() as stranger:
        answer = stranger.send_message("office@example.com", ["gone@example.com"], plain("bounced"))
        assert answer.code == 250
    (report,) = next_hop.wait_for_messages(1)
    assert report.mail_from == ""
    assert report.recipients == ("office@example.com",)
    assert b"multipart/report" in report.data
    assert b"nobody here by that name" in report.data
    next_hop.messages.clear()
    with ready_box.smtp() as stranger:
        assert stranger.send_message("", ["gone@example.com"], plain("no-answer")).code == 250
    wait_until(lambda: queued(ready_box) == 0, what="an empty queue")
    assert next_hop.messages == []
