"""Sending as a whole: no destination holds up another, outages, reports, what a hop bears."""

from __future__ import annotations

import re
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from appliance.base.clock import FakeClock
from appliance.dns.resolver import FakeResolver
from appliance.mail.address import parse
from appliance.mail.envelope import Envelope, Recipient
from appliance.relay.destinations import Pauses
from appliance.relay.reasons import DeliveryTrouble, Say
from appliance.relay.router import Kind, Route, Tls
from appliance.relay.smtp_out import Connection
from appliance.relay.worker import Outside
from appliance.spool.model import NewMessage
from tests.support.relay_box import RelayBox
from tests.support.smtp_client import SmtpClient
from tests.support.smtp_sink import Plan, SmtpSink
from tests.support.wait import wait_until

BODY = b"Subject: x\r\n\r\n" + b"y" * 2000 + b"\r\n"
SHORT = b"Subject: x\r\n\r\nx\r\n"
HOUR, DAY = 3600, 86_400


@pytest.fixture
def sink() -> Iterator[SmtpSink]:
    with SmtpSink() as sink:
        yield sink


@pytest.fixture
def home() -> Iterator[SmtpSink]:
    with SmtpSink() as home:
        yield home


class Tarpit:
    """Takes connections and says nothing, for ever."""

    def __init__(self) -> None:
        self.server = socket.create_server(("127.0.0.1", 0), backlog=200)
        self.address = f"127.0.0.1:{self.server.getsockname()[1]}"
        self.held: list[socket.socket] = []
        threading.Thread(target=self._hold, daemon=True).start()

    def _hold(self) -> None:
        while True:
            try:
                self.held.append(self.server.accept()[0])
            except OSError:
                return

    def close(self) -> None:
        self.server.close()
        for sock in self.held:
            sock.close()


def send(box: RelayBox, *to: str, sender: str = "a@client.example", times: int = 1) -> None:
    with SmtpClient("127.0.0.1", box.port()) as client:
        for _ in range(times):
            assert client.send_message(sender, list(to), BODY).code == 250


@pytest.mark.full
def test_a_tarpit_does_not_hold_up_the_mail_for_others(tmp_path: Path, sink: SmtpSink) -> None:
    tarpit = Tarpit()
    settings = {
        "mail.relay_domains": [
            f"slow.example | {tarpit.address}", f"fast.example | {sink.address}",
        ],
    }  # fmt: skip
    try:
        with RelayBox(tmp_path, settings) as box:
            started = time.monotonic()
            send(box, "b@fast.example", times=200)
            sink.wait_for_messages(200)
            alone = time.monotonic() - started
            send(box, "b@slow.example", times=700)  # more than one destination's share of memory
            wait_until(lambda: len(tarpit.held) == 2, what="its lanes", timeout_seconds=30)
            started = time.monotonic()
            send(box, "b@fast.example", times=200)
            sink.wait_for_messages(400)
            beside = time.monotonic() - started
            assert beside < 2 * alone + 2, (alone, beside)
            assert len(box.events("delivered")) >= 399
    finally:
        tarpit.close()


@pytest.mark.full
def test_a_dead_destination_is_knocked_at_seldom_and_found_again(
    tmp_path: Path, sink: SmtpSink
) -> None:
    settings = {
        "mail.relay_domains": [f"example.org | {sink.address}"],
        "queue.retry_seconds": [2],
    }
    with RelayBox(tmp_path, settings) as box:
        sink.plan = Plan(banner="421 4.3.2 not now")
        send(box, "b@example.org", times=150)
        wait_until(lambda: len(box.events("deferred")) >= 300, what="two rounds")
        assert sink.sessions < 20  # for 300 attempts
        sink.plan = Plan()
        sink.wait_for_messages(150, timeout_seconds=30)


def test_a_pause_grows_and_one_success_ends_it() -> None:
    pauses, route = Pauses(), Route(Kind.HOST, "192.0.2.1")
    trouble, retry = DeliveryTrouble(Say.TIMED_OUT), (60, 300, 3600)
    now, lengths = 0.0, []
    for _ in range(4):
        pauses.failed(route, trouble, now, retry)
        pauses.failed(route, trouble, now, retry)  # another lane, at the same time
        ends = now
        while pauses.current(route, ends):
            ends += 1
        lengths.append(ends - now)
        now = ends
    assert lengths == [30, 150, 300, 300]
    assert pauses.is_doubtful(route)
    pauses.succeeded(route)
    assert not pauses.is_doubtful(route)
    assert pauses.current(route, now) is None


@pytest.mark.full
def test_a_server_that_bears_few_connections_gets_few_and_all_the_mail(
    tmp_path: Path, sink: SmtpSink
) -> None:
    sink.plan = Plan(most_sessions=2)
    settings = {"mail.relay_domains": [f"example.org | {sink.address}"]}
    with RelayBox(tmp_path, settings) as box:
        send(box, "b@example.org", times=60)
        sink.wait_for_messages(60, timeout_seconds=60)
        assert len(box.events("deferred")) <= 10


def test_refusals_at_several_destinations_come_back_in_one_report(
    tmp_path: Path, sink: SmtpSink, home: SmtpSink
) -> None:
    with SmtpSink() as other:
        sink.plan = Plan(recipients={"gone@one.example": "550 5.1.1 no such user"})
        other.plan = Plan(recipient="550 5.2.1 closed")
        settings = {
            "mail.relay_domains": [
                f"one.example | {sink.address}", f"two.example | {other.address}",
            ],
            "outbound.route_overrides": [f"client.example|{home.address}"],
        }  # fmt: skip
        with RelayBox(tmp_path, settings) as box:
            send(box, "gone@one.example", "here@one.example", "x@two.example")
            (report,) = home.wait_for_messages(1, timeout_seconds=30)
            wait_until(lambda: not box.worker._roster.in_hand, what="rest", timeout_seconds=30)
        assert len(home.messages) == 1
        found = re.findall(r"Final-Recipient: rfc822; (\S+)", report.data.decode())
        assert sorted(found) == ["gone@one.example", "x@two.example"]
        assert len(sink.messages) == 1


@pytest.mark.full
def test_a_refusal_does_not_wait_for_ever_for_a_slow_destination(
    tmp_path: Path, sink: SmtpSink, home: SmtpSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("appliance.relay.clerk.WAIT_FOR_OTHERS_SECONDS", 0.3)
    tarpit = Tarpit()
    sink.plan = Plan(recipient="550 5.1.1 no such user")
    settings = {
        "mail.relay_domains": [f"one.example | {sink.address}", f"two.example | {tarpit.address}"],
        "outbound.route_overrides": [f"client.example|{home.address}"],
    }
    try:
        with RelayBox(tmp_path, settings) as box:
            send(box, "gone@one.example", "x@two.example")
            (report,) = home.wait_for_messages(1, timeout_seconds=30)
            assert b"x@two.example" not in report.data.split(b"rfc822-headers")[0]
    finally:
        tarpit.close()


def test_who_may_be_forged_is_told_nothing(tmp_path: Path, sink: SmtpSink, home: SmtpSink) -> None:
    sink.plan = Plan(recipient="550 5.1.1 no such user")
    settings = {
        "mail.relay_domains": [f"example.org | {sink.address}"],
        "outbound.route_overrides": [f"client.example|{home.address}"],
    }
    with RelayBox(tmp_path, settings, deliver=False) as box:
        for number, no_reports in enumerate((True, False)):
            message = NewMessage(
                queue_id=box.shop.ids.next(),
                envelope=Envelope(
                    parse(f"a{number}@client.example"), (Recipient(parse("b@example.org")),)
                ),
                received_at=box.shop.clock.now(),
                size=len(BODY),
                body=BODY,
                no_reports=no_reports,
            )
            box.run(box.shop.spool.put(message))  # read back from the disk, as after a start
        box.run(_start(box))
        home.wait_for_messages(1, timeout_seconds=30)
        wait_until(lambda: len(box.events("bounced")) == 2, what="both", timeout_seconds=30)
        assert [one.recipients for one in home.messages] == [("a1@client.example",)]


async def _start(box: RelayBox) -> None:
    box.shop.spool.on_put = box.worker.offer
    box.worker.start()


@pytest.mark.full
def test_wishes_for_reports_go_on_to_a_hop_that_knows_them(tmp_path: Path, sink: SmtpSink) -> None:
    sink.plan = Plan(extensions=("DSN",))
    with (
        RelayBox(tmp_path, {"mail.relay_domains": [f"example.org | {sink.address}"]}) as box,
        SmtpClient("127.0.0.1", box.port()) as client,
    ):
        client.hello()
        for line in (
            "MAIL FROM:<a@client.example> RET=HDRS ENVID=QQ+2B1",
            "RCPT TO:<b@example.org> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;Bob+40x@example.org",
            "RCPT TO:<c@example.org> NOTIFY=NEVER",
        ):
            assert client.command(line).code == 250
        client.data(BODY)
        (got,) = sink.wait_for_messages(1, timeout_seconds=30)
        wait_until(lambda: len(box.events("delivered")) == 2, what="the log", timeout_seconds=30)
        assert not [line for line in box.events("queued") if "report" in line]
    assert {"RET=HDRS", "ENVID=QQ+2B1"} <= set(got.mail_parameters)
    assert got.recipient_parameters == (
        ("NOTIFY=SUCCESS,DELAY", "ORCPT=rfc822;Bob+40x@example.org"),
        ("NOTIFY=NEVER",),
    )


@pytest.mark.full
def test_no_transaction_has_more_recipients_than_every_server_takes(
    tmp_path: Path, sink: SmtpSink
) -> None:
    settings = {"mail.relay_domains": [f"example.org | {sink.address}"]}
    with RelayBox(tmp_path, settings) as box:
        to = [f"r{number}@example.org" for number in range(250)]
        send(box, *to)
        got = sink.wait_for_messages(3, timeout_seconds=30)
        assert sorted(len(one.recipients) for one in got) == [50, 100, 100]
        assert sorted(name for one in got for name in one.recipients) == sorted(to)


@pytest.mark.full
def test_an_address_that_does_not_answer_gives_way_to_the_next(
    tmp_path: Path, sink: SmtpSink
) -> None:
    resolver = FakeResolver(
        MX={"far.example": [(10, "mx.far.example"), (20, "backup.far.example")]},
        AAAA={"mx.far.example": ["::1"]},  # nobody listens there
        A={"mx.far.example": ["127.0.0.9"], "backup.far.example": ["127.0.0.1"]},
    )
    settings = {"mail.relay_domains": [], "relay.trusted_networks": ["127.0.0.1/32"]}
    outside = Outside(mx_port=sink.port, is_own=lambda address: False)
    with RelayBox(tmp_path, settings, resolver=resolver, outside=outside) as box:
        send(box, "b@far.example", times=3)
        sink.wait_for_messages(3, timeout_seconds=30)
        wait_until(lambda: len(box.events("delivered")) == 3, what="the log", timeout_seconds=30)
        assert "backup.far.example[127.0.0.1]" in box.events("delivered")[0]
        assert not box.events("deferred")
        assert box.run(_failures(box)) == 0


async def _failures(box: RelayBox) -> int:
    return len(box.worker._pauses._paused)


@pytest.mark.full
def test_a_domain_that_leads_back_here_is_given_up_with_the_reason(
    tmp_path: Path, sink: SmtpSink, home: SmtpSink
) -> None:
    """Behind an address translation the box does not know its public address: its own name in
    the answer to EHLO tells."""
    resolver = FakeResolver(MX={"loop.example": [(10, "mx.x")]}, A={"mx.x": ["127.0.0.1"]})
    settings = {
        "mail.hostname": "sink.example.com",
        "mail.relay_domains": [],
        "relay.trusted_networks": ["127.0.0.1/32"],
        "outbound.route_overrides": [f"client.example|{home.address}"],
    }
    outside = Outside(mx_port=sink.port, is_own=lambda address: False)
    with RelayBox(tmp_path, settings, resolver=resolver, outside=outside) as box:
        send(box, "b@loop.example")
        (report,) = home.wait_for_messages(1, timeout_seconds=30)
    assert b"Status: 5.4.6" in report.data
    assert b"names this box as its mail server" in report.data
    assert sink.messages == []


# -- five days ------------------------------------------------------------------------


class Outage:
    """A relay on a clock of ours, before a next hop that is down."""

    def __init__(self, folder: Path, sink: SmtpSink, home: SmtpSink, **more: Any) -> None:
        self.clock = FakeClock()
        self.box = RelayBox(
            folder,
            {
                "mail.relay_domains": [f"example.org | {sink.address}"],
                "outbound.route_overrides": [f"client.example|{home.address}"],
                "queue.retry_seconds": [60, 300, 900, 1800, 3600],
                "relay.connections_per_address": 200,
                **more,
            },
            clock=self.clock,
        )

    def pass_time(self, seconds: float, *, step: float = 1800.0) -> None:
        """Let time pass; after each step what is due is tried."""
        end = self.clock.monotonic() + seconds
        while self.clock.monotonic() < end:
            self.clock.advance(min(step, end - self.clock.monotonic()))
            self.settle()

    def settle(self) -> None:
        """Wait until nothing is due any more."""

        async def scan() -> None:
            self.box.worker._wake.set()

        def quiet() -> bool:
            now = self.clock.now()
            due = self.box.run(self.box.shop.spool.due(now, limit=1))
            if due and not self.box.worker._roster.in_hand:
                self.box.run(scan())
            return not due and not self.box.worker._roster.in_hand

        wait_until(quiet, what="nothing due", timeout_seconds=60, every_seconds=0.005)


def actions(home: SmtpSink) -> list[str]:
    return [re.findall(r"Action: (\w+)", one.data.decode())[0] for one in home.messages]


@pytest.mark.full
@pytest.mark.parametrize("comes_back", [True, False])
def test_five_days_of_outage(
    tmp_path: Path, sink: SmtpSink, home: SmtpSink, comes_back: bool
) -> None:
    outage = Outage(tmp_path, sink, home)
    sink.go_down()
    with outage.box as box:
        send(box, "b@example.org")
        outage.settle()
        outage.pass_time(3 * HOUR + 1800)
        assert home.messages == []
        outage.pass_time(HOUR + 600)
        home.wait_for_messages(1, timeout_seconds=20)
        assert actions(home) == ["delayed"]
        outage.pass_time(5 * DAY - HOUR - outage.clock.monotonic())
        assert actions(home) == ["delayed"]
        if comes_back:  # after 4 d 23 h
            sink.come_up()
            outage.pass_time(HOUR - 1)
            sink.wait_for_messages(1, timeout_seconds=20)
        outage.pass_time(2 * HOUR)
        wait_until(lambda: not _queued(box), what="an empty queue", timeout_seconds=20)
        assert actions(home) == (["delayed"] if comes_back else ["delayed", "failed"])
        assert len(sink.messages) == comes_back
        attempts = len(box.events("deferred"))
        assert 80 < attempts < 150  # about one an hour


def _queued(box: RelayBox) -> int:
    found: int = box.run(
        box.shop.spool.look(lambda db: db.execute("SELECT count(*) FROM messages").fetchone()[0])
    )
    return found


@pytest.mark.full
def test_ten_thousand_that_wait_come_back_spread_and_without_a_rush(
    tmp_path: Path, sink: SmtpSink, home: SmtpSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    outage = Outage(tmp_path, sink, home)
    sink.go_down()
    knocks: list[object] = []
    real = Connection.dial

    async def counted(self: Connection, tls: Tls) -> None:
        knocks.append(self)
        await real(self, tls)

    monkeypatch.setattr(Connection, "dial", counted)
    with outage.box as box:
        box.run(_fill(box, 10_000), timeout_seconds=120)
        outage.settle()
        at = box.run(box.shop.spool.look(_next_attempts))
        now = outage.clock.now().timestamp()
        assert len(at) == 10_000
        pauses = sorted(each - now for each in at)
        assert 53.9 <= pauses[0] < 54.5
        assert 65.5 < pauses[-1] <= 66.1
        assert 59 < pauses[5_000] < 61
        assert len(knocks) < 20
        outage.clock.advance(67)
        outage.settle()
        assert len(knocks) < 40


def _next_attempts(db: Any) -> list[float]:
    return [at for (at,) in db.execute("SELECT next_attempt_at FROM recipients")]


async def _fill(box: RelayBox, count: int) -> None:
    envelope = Envelope(parse("a@client.example"), (Recipient(parse("b@example.org")),))
    for _ in range(count // 500):
        messages = [
            NewMessage(
                queue_id=box.shop.ids.next(),
                envelope=envelope,
                received_at=box.shop.clock.now(),
                size=len(SHORT),
                body=SHORT,
            )
            for _ in range(500)
        ]
        await box.shop.spool.put(*messages)


def test_a_scan_that_sees_a_letter_before_its_put_is_heard_of_sends_it_once(
    tmp_path: Path, sink: SmtpSink
) -> None:
    late: list[Any] = []
    with RelayBox(tmp_path, {"mail.relay_domains": [f"example.org | {sink.address}"]}) as box:
        box.shop.spool.on_put = late.append
        with SmtpClient("127.0.0.1", box.port()) as client:
            client.send_message("a@client.example", ["b@example.org"], SHORT)
            wait_until(lambda: len(late) == 1, what="the put")
            box.shop.spool.on_put = box.worker.offer_new
            box._loop.call_soon_threadsafe(box.worker.wake)
            sink.wait_for_messages(1)
            wait_until(lambda: len(box.events("delivered")) == 1, what="the record")
            box._loop.call_soon_threadsafe(box.worker.offer_new, late[0])
            client.send_message("a@client.example", ["c@example.org"], SHORT)
            wait_until(lambda: len(box.events("delivered")) == 2, what="the next one")
    assert [got.recipients for got in sink.messages] == [("b@example.org",), ("c@example.org",)]
