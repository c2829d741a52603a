"""A message's way through the relay, with a real server at the other end."""

from __future__ import annotations

import email
import re
import socket
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from appliance.policy.verdict import Port
from appliance.spool import queries
from appliance.spool.queries import Selection
from tests.support.relay_box import RelayBox
from tests.support.smtp_client import Answer, SmtpClient
from tests.support.smtp_sink import Delivered, Plan, SmtpSink
from tests.support.tls import self_signed
from tests.support.wait import wait_until

LETTER = (
    b"From: a@client.example\r\nTo: b@example.org\r\nSubject: hi\r\n\r\n"
    b".dot first\r\n..\r\n\xe4\xf6\xfc \t trailing  \r\n" + b"x" * 2000 + b"\r\n\r\n\r\n"
)


@pytest.fixture
def sink() -> Iterator[SmtpSink]:
    with SmtpSink() as sink:
        yield sink


@pytest.fixture
def box(sink: SmtpSink, tmp_path: Path) -> Iterator[RelayBox]:
    settings = {
        "mail.relay_domains": [f"example.org | {sink.address}"],
        "outbound.route_overrides": [f"client.example|{sink.address}"],
    }
    with RelayBox(tmp_path, settings) as box:
        yield box


def send(
    box: RelayBox, message: bytes = LETTER, *, to: tuple[str, ...] = ("b@example.org",),
    sender: str = "a@client.example",
) -> Answer:  # fmt: skip
    with SmtpClient("127.0.0.1", box.port(Port.SMTP)) as client:
        return client.send_message(sender, list(to), message)


def envelope_lines(box: RelayBox, *lines: str) -> None:
    """Say these commands, then a short message."""
    with SmtpClient("127.0.0.1", box.port(Port.SMTP)) as client:
        client.hello()
        for line in lines:
            assert client.command(line).code == 250, line
        assert client.data(b"Subject: s\r\n\r\nx\r\n").code == 250


def split_trace(data: bytes) -> tuple[bytes, bytes]:
    """Our Received and result fields, and the message as it came."""
    field = rb".*\r\n(?:[ \t].*\r\n)*"
    matched = re.match(
        rb"Received: " + field + rb"(?:Authentication-Results: " + field + rb")?", data
    )
    assert matched
    return matched[0], data[matched.end() :]


def queue(box: RelayBox) -> list[dict]:  # type: ignore[type-arg]
    page = box.run(box.shop.spool.look(lambda db: queries.listing(db, Selection())))
    items: list[dict] = page["items"]  # type: ignore[type-arg]
    return items


def empties(box: RelayBox) -> None:
    wait_until(lambda: not queue(box), what="an empty queue", timeout_seconds=30)


def test_the_message_arrives_byte_for_byte_with_our_trace_fields_in_front(
    box: RelayBox, sink: SmtpSink
) -> None:
    answer = send(box)
    (got,) = sink.wait_for_messages(1)
    trace, message = split_trace(got.data)
    assert message == LETTER
    assert (got.mail_from, got.recipients) == ("a@client.example", ("b@example.org",))
    queue_id = answer.text.split()[-1]
    assert f"id {queue_id} for <b@example.org>".encode() in trace
    assert b"by box.example.com with ESMTP\r\n" in trace
    empties(box)
    assert len(box.events("queued")) == len(box.events("delivered")) == 1


def test_a_large_message_arrives_whole_and_its_file_goes(box: RelayBox, sink: SmtpSink) -> None:
    large = b"Subject: large\r\n\r\n" + b"".join(b".%06d\r\n" % n for n in range(200_000))
    send(box, large)
    (got,) = sink.wait_for_messages(1)
    assert split_trace(got.data)[1] == large
    empties(box)
    assert list((box.folder / "spool" / "bodies").iterdir()) == []


def test_recipients_of_one_message_share_a_transaction(box: RelayBox, sink: SmtpSink) -> None:
    to = tuple(f"r{n}@example.org" for n in range(30))
    send(box, to=to)
    (got,) = sink.wait_for_messages(1)
    assert sorted(got.recipients) == sorted(to)
    assert b" for <" not in split_trace(got.data)[0]  # RFC 5321 §7.6


def test_many_messages_share_few_connections(box: RelayBox, sink: SmtpSink) -> None:
    with SmtpClient("127.0.0.1", box.port()) as client:
        for _ in range(60):
            assert client.send_message("a@client.example", ["b@example.org"], LETTER).code == 250
    assert len(sink.wait_for_messages(60)) == 60
    assert sink.sessions <= box.settings.outbound.connections_per_destination


def test_what_is_put_off_waits_with_its_reason_and_is_delivered_once(
    box: RelayBox, sink: SmtpSink
) -> None:
    sink.go_down()
    send(box)
    wait_until(lambda: box.events("deferred"), what="a deferral", timeout_seconds=30)
    (item,) = queue(box)
    recipient = item["recipients"][0]
    assert recipient["state"] == "deferred"
    assert recipient["reason"]["say"].startswith("The next mail server refuses connections")
    assert recipient["route"].startswith("relay domain 127.0.0.1")
    assert recipient["next_attempt_at"] > item["received_at"]
    sink.come_up()
    sink.wait_for_messages(1, timeout_seconds=30)
    empties(box)
    assert len(sink.messages) == 1


def test_greylisting_is_named_and_tried_again(box: RelayBox, sink: SmtpSink) -> None:
    sink.plan = Plan(recipient="450 4.7.1 greylisted, come back")
    send(box)
    wait_until(lambda: box.events("deferred"), what="a deferral", timeout_seconds=30)
    assert "greylisting" in queue(box)[0]["recipients"][0]["reason"]["say"]
    sink.plan = Plan()
    sink.wait_for_messages(1, timeout_seconds=30)


def test_a_refused_recipient_brings_one_report_and_the_others_are_served(
    box: RelayBox, sink: SmtpSink
) -> None:
    sink.plan = Plan(recipients={"gone@example.org": "550 5.1.1 no such user"})
    send(box, to=("gone@example.org", "b@example.org"))
    got = sink.wait_for_messages(2, timeout_seconds=30)
    report = next(one for one in got if one.mail_from == "")
    served = next(one for one in got if one.mail_from)
    assert served.recipients == ("b@example.org",)
    assert report.recipients == ("a@client.example",)
    text = report.data.decode()
    assert "Final-Recipient: rfc822; gone@example.org" in text
    assert "Status: 5.1.1" in text
    assert "550 5.1.1 no such user" in text
    assert "b@example.org" not in text.split("text/rfc822-headers")[0]
    empties(box)
    assert len(sink.messages) == 2


def test_a_report_that_cannot_be_delivered_is_not_reported_on(
    box: RelayBox, sink: SmtpSink
) -> None:
    sink.plan = Plan(recipient="550 5.1.1 nobody here")
    send(box)
    wait_until(lambda: len(box.events("bounced")) == 2, what="both bounces", timeout_seconds=30)
    empties(box)
    assert sink.messages == []
    assert len(box.events("queued")) == 2  # the message and its one report


def test_the_null_sender_gets_no_report(box: RelayBox, sink: SmtpSink) -> None:
    sink.plan = Plan(recipient="550 5.1.1 nobody here")
    send(box, sender="")
    wait_until(lambda: box.events("bounced"), what="the bounce", timeout_seconds=30)
    empties(box)
    assert len(box.events("queued")) == 1


def test_notify_never_is_honoured(box: RelayBox, sink: SmtpSink) -> None:
    sink.plan = Plan(recipient="550 5.1.1 nobody here")
    envelope_lines(box, "MAIL FROM:<a@client.example>", "RCPT TO:<b@example.org> NOTIFY=NEVER")
    wait_until(lambda: box.events("bounced"), what="the bounce", timeout_seconds=30)
    empties(box)
    assert len(box.events("queued")) == 1


def test_success_is_reported_where_the_next_hop_will_not(box: RelayBox, sink: SmtpSink) -> None:
    envelope_lines(
        box,
        "MAIL FROM:<a@client.example> RET=HDRS ENVID=x+2By",
        "RCPT TO:<b@example.org> NOTIFY=SUCCESS ORCPT=rfc822;Bob@example.org",
    )
    got = sink.wait_for_messages(2, timeout_seconds=30)
    text = next(one for one in got if one.mail_from == "").data.decode()
    assert "Action: relayed" in text
    assert "Original-Envelope-Id: x+y" in text
    assert "Original-Recipient: rfc822;Bob@example.org" in text


def test_after_the_last_try_the_sender_is_told_and_before_it_that_it_waits(
    sink: SmtpSink, tmp_path: Path
) -> None:
    with SmtpSink() as home:
        settings = {
            "mail.relay_domains": [f"example.org | {sink.address}"],
            "outbound.route_overrides": [f"client.example|{home.address}"],
            "queue.retry_seconds": [1],
            "queue.delay_notice_seconds": 1,
            "queue.give_up_seconds": 3,
        }
        sink.plan = Plan(recipient="450 4.2.0 not now")
        with RelayBox(tmp_path, settings) as box:
            send(box)
            reports = home.wait_for_messages(2, timeout_seconds=30)
            empties(box)
    actions = [re.findall(r"Action: (\w+)", one.data.decode())[0] for one in reports]
    assert actions == ["delayed", "failed"]
    assert "Status: 5.4.7" in reports[1].data.decode()
    assert "Given up after" in reports[1].data.decode()
    assert "450 4.2.0 not now" in reports[1].data.decode()


def test_tls_is_used_when_it_is_offered_and_both_ways(tmp_path: Path) -> None:
    context = self_signed(tmp_path)
    pem = tmp_path / "sink.example.com.pem"
    with SmtpSink(tls=context) as sink:
        settings = {"mail.relay_domains": [f"example.org | {sink.address}"]}
        with RelayBox(tmp_path, settings, certificate=(pem, pem)) as box:
            with SmtpClient("127.0.0.1", box.port()) as client:
                client.hello()
                client.starttls()
                client.hello()
                client.send_message("a@client.example", ["b@example.org"], LETTER)
            (got,) = sink.wait_for_messages(1, timeout_seconds=30)
    assert got.tls
    assert b"with ESMTPS (TLSv1.3 TLS_AES_" in split_trace(got.data)[0]
    assert split_trace(got.data)[1] == LETTER


def test_a_smarthost_with_tls_required_is_not_used_without(tmp_path: Path) -> None:
    with SmtpSink() as sink:
        settings = {
            "mail.relay_domains": [],
            "relay.trusted_networks": ["127.0.0.1/32"],
            "outbound.mode": "smarthost",
            "outbound.smarthost_host": sink.host,
            "outbound.smarthost_port": sink.port,
            "outbound.smarthost_tls": "required",
        }
        with RelayBox(tmp_path, settings) as box:
            send(box, to=("x@anywhere.example",))
            wait_until(lambda: box.events("deferred"), what="a deferral", timeout_seconds=30)
            assert "no encryption" in queue(box)[0]["recipients"][0]["reason"]["say"]
            box.take({"outbound.smarthost_tls": "opportunistic"})
            (got,) = sink.wait_for_messages(1, timeout_seconds=30)
    assert got.recipients == ("x@anywhere.example",)


def test_a_slow_server_holds_up_nobody_else(sink: SmtpSink, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # accepts, and says nothing
        settings = {
            "mail.relay_domains": [
                f"slow.example | 127.0.0.1:{silent.getsockname()[1]}",
                f"example.org | {sink.address}",
            ],
            "outbound.connections_per_destination": 2,
            "outbound.reply_timeout_seconds": 20,
        }
        with RelayBox(tmp_path, settings) as box:
            for n in range(10):
                send(box, to=(f"r{n}@slow.example",))
            send(box)
            sink.wait_for_messages(1, timeout_seconds=10)
            assert len(queue(box)) >= 10


def test_held_messages_stay_and_released_ones_go(box: RelayBox, sink: SmtpSink) -> None:
    sink.go_down()
    send(box)
    wait_until(lambda: box.events("deferred"), what="a deferral", timeout_seconds=30)
    numbers = box.run(box.shop.spool.change(lambda b: queries.hold(b, Selection(), 0.0)))
    box.worker.forget(set(numbers))
    sink.come_up()
    send(box)
    sink.wait_for_messages(1, timeout_seconds=30)
    wait_until(lambda: len(queue(box)) == 1, what="the other's end", timeout_seconds=30)
    assert queue(box)[0]["held"]
    now = box.shop.clock.now().timestamp()
    box.run(box.shop.spool.change(lambda b: queries.release(b, Selection(), now)))
    box.worker.wake()
    sink.wait_for_messages(2, timeout_seconds=30)


def test_what_was_queued_before_a_stop_is_delivered_after_the_next_start(
    sink: SmtpSink, tmp_path: Path
) -> None:
    settings = {"mail.relay_domains": [f"example.org | {sink.address}"]}
    with RelayBox(tmp_path, settings, deliver=False) as box:
        for n in range(5):
            send(box, to=(f"r{n}@example.org",))
    with RelayBox(tmp_path, settings) as box:
        got: list[Delivered] = sink.wait_for_messages(5, timeout_seconds=30)
        empties(box)
    assert sorted(one.recipients[0] for one in got) == [f"r{n}@example.org" for n in range(5)]


def test_the_room_kept_free_is_not_given_away(tmp_path: Path) -> None:
    with (
        RelayBox(tmp_path, {"queue.reserve_bytes": 1024**4}) as box,
        SmtpClient("127.0.0.1", box.port()) as client,
    ):
        client.hello()
        answer = client.command("MAIL FROM:<a@client.example>")
    assert (answer.code, answer.text[:5]) == (452, "4.3.1")


def test_switched_off_it_says_so(box: RelayBox) -> None:
    box.take({}, accepting=False)
    with socket.create_connection(("127.0.0.1", box.port()), 10) as sock:
        assert sock.recv(999).startswith(b"421 4.3.2 ")


def test_a_report_reads_well_to_a_person(box: RelayBox, sink: SmtpSink) -> None:
    sink.plan = Plan(recipients={"b@example.org": "550 5.1.1 no such user"})
    send(box)
    (got,) = sink.wait_for_messages(1, timeout_seconds=30)
    report = email.message_from_bytes(split_trace(b"Received: x\r\n" + got.data)[1])
    assert report["Subject"].startswith("Undelivered")
    text = report.get_payload(0).get_payload()  # type: ignore[union-attr]
    assert "b@example.org" in str(text)
    assert "does not know this recipient" in str(text)


def test_with_the_service_switched_off_what_is_queued_waits(box: RelayBox, sink: SmtpSink) -> None:
    sink.plan = Plan(recipient="450 4.7.1 come back")
    assert send(box).code == 250
    wait_until(lambda: box.events("deferred"), what="a first try")
    box.take({}, accepting=False)
    tries = len(box.events("deferred"))
    sink.plan = Plan()
    due = datetime.fromisoformat(queue(box)[0]["recipients"][0]["next_attempt_at"])
    a_while_after = due + timedelta(seconds=1.5)
    wait_until(lambda: datetime.now(UTC) > a_while_after, what="the next try's time to pass")
    assert (len(sink.messages), len(box.events("deferred"))) == (0, tries)
    assert len(queue(box)) == 1
    box.take({}, accepting=True)
    empties(box)
    assert len(sink.messages) == 1
