"""Delivery into mailboxes: real Dovecot, and a server that breaks off half-way."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.mail.address import parse
from appliance.mail.envelope import Envelope, Notify, Recipient
from appliance.relay.lmtp import LmtpConnection
from appliance.relay.reasons import Say
from appliance.relay.router import Kind, Route, Tls
from appliance.relay.smtp_out import Parcel, Patience, Result
from appliance.relay.targets import Target
from appliance.spool.model import NewMessage
from tests.support.dovecot import Dovecot
from tests.support.relay_box import RelayBox
from tests.support.smtp_sink import SmtpSink
from tests.support.wait import wait_until

BODY = b"Subject: hi\r\n\r\n.dot\r\n" + b"x" * 5000 + b"\r\n"


async def deliver_to(replies: list[bytes], recipients: list[str]) -> list[Result]:
    """Deliver to a server that gives `replies` after the content and hangs up."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mx LMTP\r\n")
        assert (await reader.readline()).startswith(b"LHLO ")
        writer.write(b"250-mx\r\n250-DSN\r\n250 8BITMIME\r\n")
        await reader.readline()
        writer.write(b"250 ok\r\n")
        for number in range(len(recipients)):
            assert b"NOTIFY" not in await reader.readline()
            writer.write(b"550 5.1.1 nobody\r\n" if "gone" in recipients[number] else b"250 ok\r\n")
        await reader.readline()
        writer.write(b"354 go\r\n")
        while await reader.readline() != b".\r\n":
            pass
        writer.writelines(replies)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    route = Route(Kind.MAILBOX, "127.0.0.1", port, tls=Tls.NONE)
    connection = await LmtpConnection.open(
        Target("127.0.0.1", "127.0.0.1", port), route, Patience("box.example.com", 5, 5)
    )
    addressed = tuple(Recipient(parse(name), orcpt="rfc822;x@y.example") for name in recipients)

    async def content() -> object:
        yield b"Subject: x\r\n\r\nx\r\n"

    parcel = Parcel(Envelope(parse("a@client.example"), addressed, ret="FULL"), addressed, 20)
    results = await connection.deliver(parcel, content())  # type: ignore[arg-type]
    await connection.close()
    server.close()
    return results


def test_each_recipient_has_its_own_answer_after_the_content() -> None:
    results = asyncio.run(
        deliver_to(
            [b"250 2.1.5 in\r\n", b"452 4.2.2 full\r\n"],
            ["a@example.com", "gone@example.com", "b@example.com"],
        )
    )
    assert [(r.delivered, r.permanent, r.is_final) for r in results] == [
        (True, False, True), (False, True, False), (False, False, False),
    ]  # fmt: skip


def test_who_was_answered_for_has_the_letter_though_the_line_breaks() -> None:
    results = asyncio.run(
        deliver_to([b"250 2.1.5 in\r\n"], ["a@example.com", "b@example.com", "c@example.com"])
    )
    assert [r.delivered for r in results] == [True, False, False]
    assert {r.say for r in results[1:]} == {Say.LOST_AFTER_DATA}
    assert not any(r.permanent for r in results)


def put(box: RelayBox, *recipients: Recipient) -> None:
    """Into the queue without the session: whose mailboxes there are is not its business here."""
    sender = parse("a@client.example")
    message = NewMessage(
        queue_id=box.shop.ids.next(),
        envelope=Envelope(sender, recipients, ret="HDRS", envid="one"),
        received_at=box.shop.clock.now(),
        size=len(BODY),
        body=BODY,
    )
    box.run(box.shop.spool.put(message))


@pytest.fixture(scope="module")
def dovecot() -> Iterator[Dovecot]:
    users = {"ann@example.com": 0, "bob@example.com": 0, "full@example.com": 100}
    with Dovecot(users) as dovecot:
        yield dovecot


@pytest.mark.full
@pytest.mark.parametrize("way", ["socket", "port"])
def test_dovecot_takes_what_it_can_and_the_sender_hears_of_the_rest(
    dovecot: Dovecot, tmp_path: Path, way: str
) -> None:
    with SmtpSink() as home:
        settings = {
            "delivery.lmtp": dovecot.socket if way == "socket" else f"127.0.0.1:{dovecot.port}",
            "outbound.route_overrides": [f"client.example|{home.address}"],
        }
        before = len(dovecot.letters("ann"))
        with RelayBox(tmp_path, settings) as box:
            both = (Notify.SUCCESS, Notify.FAILURE)
            put(
                box,
                Recipient(parse("ann@example.com"), both, "rfc822;Ann@example.com"),
                Recipient(parse("bob@example.com")),
                Recipient(parse("full@example.com"), both),
                Recipient(parse("nobody@example.com")),
            )
            wait_until(
                lambda: len(box.events("delivered")) >= 4, what="all ends", timeout_seconds=60
            )
            bounced = "\n".join(box.events("bounced"))
        assert len(dovecot.letters("ann")) == before + 1
        assert len(dovecot.letters("bob")) == before + 1
        assert BODY.replace(b"\r\n", b"\n") in dovecot.letters("ann")[-1]
        assert dovecot.letters("full") == []
        reports = {
            re.findall(r"Action: (\w+)", one.data.decode())[0]: one.data.decode()
            for one in home.messages
        }
        assert len(home.messages) == 2
        assert re.findall(r"Final-Recipient: rfc822; (\S+)", reports["delivered"]) == [
            "ann@example.com"
        ]
        assert "Original-Recipient: rfc822;Ann@example.com" in reports["delivered"]
        assert "Original-Envelope-Id: one" in reports["delivered"]
        failed = re.findall(r"Final-Recipient: rfc822; (\S+)", reports["failed"])
        assert sorted(failed) == ["full@example.com", "nobody@example.com"]
        assert "mailbox is full" in bounced
        assert "does not know this recipient" in bounced


@pytest.mark.full
def test_mailboxes_that_are_away_make_mail_wait(tmp_path: Path) -> None:
    settings = {"delivery.lmtp": "/nonexistent/lmtp"}
    with RelayBox(tmp_path, settings) as box:
        put(box, Recipient(parse("ann@example.com")))
        wait_until(lambda: box.events("deferred"), what="a deferral", timeout_seconds=30)
        assert not box.events("bounced")
