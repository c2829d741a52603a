"""Deliveries put down together say the same as one by one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from appliance.base.clock import SystemClock
from appliance.mail.address import parse
from appliance.mail.envelope import Envelope, Recipient
from appliance.spool import departures, queries, rows
from appliance.spool.model import NewMessage, Outcome, QueuedMessage, State
from appliance.spool.queries import Selection
from appliance.spool.store import Spool

WORDS = 'Ok: "quoted", \\ backslash, ümlaut, 💌'


def letter(number: int, *to: str) -> NewMessage:
    recipients = tuple(Recipient(parse(address)) for address in to)
    return NewMessage(
        queue_id=f"LEFT{number:03d}",
        envelope=Envelope(parse("a@example.com"), recipients),
        received_at=SystemClock().now(),
        size=7,
        body=b"hello\r\n",
    )


def done(message: QueuedMessage, *which: int) -> list[Outcome]:
    return [
        Outcome(
            recipient_id=message.recipients[n].id, state=State.DELIVERED, say="Taken.",
            reply=f"250 {n} {WORDS}", host="mx.example.org", route="direct example.org",
        )
        for n in which
    ]  # fmt: skip


def play(folder: Path, work: Callable[[Spool], Any]) -> Any:
    async def run() -> Any:
        spool = await Spool.open(folder, clock=SystemClock())
        try:
            return await work(spool)
        finally:
            await spool.close()

    return asyncio.run(run())


async def told(spool: Spool) -> list[Any]:
    """All that the tables say, but for times."""
    tables = (
        "SELECT id, queue_id FROM messages",
        "SELECT id, message_id, state, attempts, next_attempt_at IS NULL, say, reply, host, route"
        " FROM recipients",
        "SELECT id, queue_id, recipient, fate, say, reply, host, station FROM ledger",
        "SELECT ledger_id, state, say, reply, host, route FROM attempts ORDER BY ledger_id",
    )
    return [await spool.look(lambda db, q=each: db.execute(q).fetchall()) for each in tables]


async def parcels(spool: Spool) -> list[tuple[QueuedMessage, list[Outcome]]]:
    one, two, three = await spool.put(
        letter(1, "b@example.org"),
        letter(2, "c@example.org", "d@example.net"),
        letter(3, "e@example.org", "f@example.net"),
    )
    return [(one, done(one, 0)), (two, done(two, 1)), (three, done(three, 0, 1))]


def test_they_say_the_same_as_one_by_one(tmp_path: Path) -> None:
    async def together(spool: Spool) -> list[Any]:
        await asyncio.gather(*(spool.record(*each) for each in await parcels(spool)))
        return await told(spool)

    async def one_by_one(spool: Spool) -> list[Any]:
        for message, outcomes in await parcels(spool):
            await spool.change(
                lambda batch, m=message, o=outcomes: rows.record(
                    batch, m.id, o, 1.0, delay_notified=False
                )
            )
        return await told(spool)

    found = play(tmp_path / "together", together)
    assert found == play(tmp_path / "one", one_by_one)
    assert found[0] == [(2, "LEFT002")], "only what has somebody left to reach stays"


def test_two_parcels_of_one_message_in_one_batch_end_it(tmp_path: Path) -> None:
    async def work(spool: Spool) -> list[Any]:
        (message,) = await spool.put(letter(1, "b@example.org", "c@example.net"))
        await asyncio.gather(*(spool.record(message, done(message, n)) for n in (0, 1)))
        return await told(spool)

    messages, recipients, _, attempts = play(tmp_path, work)
    assert (messages, recipients, len(attempts)) == ([], [], 2)


def test_what_arrived_is_delivered_though_it_was_deleted_meanwhile(tmp_path: Path) -> None:
    async def work(spool: Spool) -> list[Any]:
        (message,) = await spool.put(letter(1, "b@example.org"))
        await spool.change(lambda batch: queries.delete(batch, Selection(), "anna", 1.0))
        await spool.record(message, done(message, 0))
        return await told(spool)

    assert play(tmp_path, work)[2][0][3] == "delivered"


def test_one_that_the_tables_refuse_fails_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = departures.put_down

    def refuse_the_first(batch: Any, left: Any) -> None:
        if any(parcel.message_id == 1 for parcel in left):
            raise ValueError("refused")
        real(batch, left)

    async def work(spool: Spool) -> list[Any]:
        monkeypatch.setattr(departures, "put_down", refuse_the_first)
        asked = (spool.record(*each) for each in await parcels(spool))
        said = await asyncio.gather(*asked, return_exceptions=True)
        assert [isinstance(each, ValueError) for each in said] == [True, False, False]
        return await told(spool)

    assert play(tmp_path, work)[0] == [(1, "LEFT001"), (2, "LEFT002")]
