"""Rates, the stolen-account brake and what becomes of a person's header, over real SMTP."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from appliance.base.control import Peer, Request
from appliance.base.finding import Refused
from appliance.policy.verdict import Port
from appliance.relay.control import Control
from tests.appliance.relay.test_auth import PASSWORD, plain
from tests.support.relay_box import RelayBox
from tests.support.smtp_client import Answer, SmtpClient
from tests.support.tls import self_signed

SETTINGS = {
    "submission.sign_in": True,
    "submission.max_per_hour": 40,
    "submission.max_recipients_per_hour": 60,
    "submission.brake_new_recipients": 10,
    "submission.brake_new_domains": 5,
    "relay.trusted_networks": ["127.0.0.9/32"],
}
MESSAGE = b"From: %s@example.com\r\nBcc: secret@x.example,\r\n more@x.example\r\n\r\n.x\r\n"


@pytest.fixture
def box(tmp_path: Path) -> Iterator[RelayBox]:
    self_signed(tmp_path)
    pem = tmp_path / "sink.example.com.pem"
    with RelayBox(
        tmp_path,
        SETTINGS,
        certificate=(pem, pem),
        deliver=False,
        accounts={"anna": PASSWORD, "bert": PASSWORD},
    ) as box:
        yield box


def signed_in(box: RelayBox, user: str = "anna") -> SmtpClient:
    client = SmtpClient("127.0.0.1", box.port(Port.SUBMISSIONS), tls=True)
    client.hello()
    assert client.command(f"AUTH PLAIN {plain(user)}").code == 235
    return client


def send(client: SmtpClient, recipients: Sequence[str], user: str = "anna") -> Answer:
    answer = client.envelope(f"{user}@example.com", recipients)
    return client.data(MESSAGE % user.encode()) if answer.code == 250 else answer


def ask(box: RelayBox, verb: str, **args: Any) -> Any:
    async def none() -> None: ...

    orders = Control(box.shop, box.listener, box.worker, none, none)
    request = Request(verb=verb, args=args, peer=Peer(0, 0, 0), progress=lambda step: None)
    return box.run(asyncio.wait_for(orders.handlers()[verb](request), 30))  # type: ignore[arg-type]


def held(box: RelayBox) -> int:
    return int(ask(box, "status")["queue"]["held"])


def test_a_sudden_spread_is_held_told_and_released_with_one_order(box: RelayBox) -> None:
    with signed_in(box) as client:
        assert send(client, [f"p{n}@same.example" for n in range(9)]).code == 250
        assert send(client, [f"p{n}@same.example" for n in range(9)]).code == 250, "known now"
        assert (held(box), ask(box, "status")["brakes"]) == (0, [])
        assert send(client, ["q1@same.example", "q2@same.example"]).code == 250
        assert held(box) == 1
        assert send(client, ["p1@same.example"]).code == 250
        assert held(box) == 2, "all that follows is held too"
    with signed_in(box, "bert") as other:
        assert send(other, ["p1@same.example"], "bert").code == 250
    assert held(box) == 2, "and nobody else's"
    status = ask(box, "status")
    (brake,), (finding,) = status["brakes"], status["findings"]
    assert (brake["login"], brake["why"], brake["held"]) == (
        "anna",
        "11 new recipients in an hour",
        2,
    )
    assert "anna" in finding["say"]
    assert 'why="brake: 11 new recipients in an hour"' in box.events("held")[0]
    assert ask(box, "brake.release", login="anna", author="test") == {"login": "anna", "count": 2}
    assert (held(box), ask(box, "status")["brakes"]) == (0, [])
    with signed_in(box) as client:
        assert send(client, [f"r{n}@elsewhere.example" for n in range(15)]).code == 250
    assert held(box) == 0, "who was looked at is believed for a day"
    with pytest.raises(Refused, match="not held up"):
        ask(box, "brake.release", login="anna")


@pytest.mark.full
def test_many_domains_pull_it_and_own_domains_never(box: RelayBox) -> None:
    with signed_in(box) as client:
        assert send(client, [f"p{n}@example.org" for n in range(20)]).code == 250
        assert held(box) == 0, "a relay domain is ours"
        assert send(client, [f"p@d{n}.example" for n in range(6)]).code == 250
        assert held(box) == 1


@pytest.mark.full
def test_over_the_rate_mail_is_put_off_and_said_so(box: RelayBox) -> None:
    with signed_in(box) as client:
        for _ in range(40):
            assert send(client, ["p@example.org"]).code == 250
        answer = send(client, ["p@example.org"])
        assert (answer.code, answer.lines[0][:5]) == (450, "4.7.1")
    with signed_in(box, "bert") as client:
        codes = [client.command("MAIL FROM:<bert@example.com>").code]
        codes += [client.command(f"RCPT TO:<p{n}@example.org>").code for n in range(61)]
        assert codes == [250] * 61 + [450]
    box.users.edit("anna", messages_per_hour=100)
    assert box.shop.sign_in is not None
    box.shop.take_people(box.shop.sign_in.people())
    with signed_in(box) as client:
        assert send(client, ["p@example.org"]).code == 250, "an own figure outweighs"


def stored(box: RelayBox) -> bytes:
    """The newest message as it would go out."""
    listed = ask(box, "queue.list", limit=1, sort="-received_at")["items"][0]
    shown: str = ask(box, "queue.show", id=listed["id"])["headers"]
    return shown.encode()


def test_bcc_goes_date_and_message_id_come_and_the_trace_says_so(box: RelayBox) -> None:
    with signed_in(box) as client:
        assert send(client, ["p@example.org"]).code == 250
    head = stored(box)
    assert b"secret" not in head
    assert b"more@" not in head
    assert b"\nDate: " in head
    assert b"\nMessage-ID: <" in head
    assert head.endswith(b"From: anna@example.com\n")
    (traced,) = box.run(
        box.shop.spool.look(lambda db: db.execute("SELECT steps FROM ledger").fetchone())
    )
    assert "signed in as anna" in traced
    assert "Date added, Message-ID added, Bcc removed" in traced


@pytest.mark.full
def test_on_25_nothing_is_changed_not_even_for_a_trusted_network(box: RelayBox) -> None:
    box.take({"relay.trusted_networks": ["127.0.0.0/8"]})
    with SmtpClient("127.0.0.1", box.port()) as client:
        assert client.send_message("x@y.example", ["p@z.example"], MESSAGE % b"anna").code == 250
    head = stored(box)
    assert b"Bcc: secret@x.example,\n more@x.example\n" in head
    assert b"\nDate: " not in head
    with SmtpClient("127.0.0.1", box.port(Port.SUBMISSION)) as client:
        assert (
            client.send_message("printer@y.example", ["p@z.example"], MESSAGE % b"anna").code == 250
        )
    assert b"\nDate: " in stored(box), "a printer hands in at 587 without signing in"
