"""Messages whose header changed, and several messages with one body."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from appliance.base.clock import FakeClock
from appliance.spool import database
from appliance.spool.model import NewMessage, Outcome, QueuedMessage, State
from appliance.spool.store import Spool

Letter = Callable[..., NewMessage]


def with_spool(folder: Path, clock: FakeClock, work: Callable[[Spool], Awaitable[object]]) -> None:
    async def go() -> None:
        spool = await Spool.open(folder, clock=clock)
        try:
            await work(spool)
        finally:
            await spool.close()

    asyncio.run(go())


async def read(spool: Spool, message: QueuedMessage) -> bytes:
    return b"".join([block async for block in spool.whole(message)])


async def waiting(spool: Spool) -> list[QueuedMessage]:
    return await spool.due(spool._clock.now() + timedelta(days=400), limit=100)


@pytest.mark.parametrize("in_file", [False, True])
def test_a_header_that_was_changed_stands_for_the_one_that_came(
    tmp_path: Path, clock: FakeClock, letter: Letter, in_file: bool
) -> None:
    content, head = b"Bcc: x@y.example\r\nSubject: a\r\n\r\nText\r\n", b"Bcc: x@y.example\r\n"

    async def work(spool: Spool) -> None:
        file = spool.begin_body("SKIP01") if in_file else None
        if file is not None:
            file.write(content)
        await spool.put(
            replace(
                letter("SKIP01"),
                trace=b"X-New: 1\r\n",
                skip=len(head),
                body=None if in_file else content,
                body_file=file,
            )
        )
        (message,) = await waiting(spool)
        assert await read(spool, message) == b"X-New: 1\r\nSubject: a\r\n\r\nText\r\n"

    with_spool(tmp_path, clock, work)


def test_a_body_that_two_messages_share_goes_with_the_last_of_them(
    tmp_path: Path, clock: FakeClock, letter: Letter
) -> None:
    async def work(spool: Spool) -> None:
        file = spool.begin_body("SHARE1")
        file.write(b"Subject: both\r\n\r\n")
        await spool.put(
            replace(letter("SHARE1"), body=None, body_file=file),
            replace(letter("SHARE2"), body=None, body_file=file),
        )
        for left, message in zip((True, False), await waiting(spool), strict=True):
            assert await read(spool, message) == message.trace + b"Subject: both\r\n\r\n"
            done = [
                Outcome(recipient_id=entry.id, state=State.DELIVERED, say="taken")
                for entry in message.recipients
            ]
            await spool.record(message, done)
            assert (spool.bodies / "SHARE1.body").exists() is left

    with_spool(tmp_path, clock, work)


def test_a_held_message_waits_until_it_is_released(
    tmp_path: Path, clock: FakeClock, letter: Letter
) -> None:
    async def work(spool: Spool) -> None:
        await spool.put(replace(letter("HELD01"), held=True))
        assert await waiting(spool) == []
        fates = await spool.look(lambda db: db.execute("SELECT fate FROM ledger").fetchall())
        assert fates == [("held",)]

    with_spool(tmp_path, clock, work)


def test_a_queue_of_an_older_program_gets_the_columns_it_lacks(
    tmp_path: Path, clock: FakeClock, letter: Letter
) -> None:
    with_spool(tmp_path, clock, lambda spool: spool.put(letter("OLD001")))
    db = sqlite3.connect(tmp_path / "spool.db")
    for table, column, _ in database._ADDED:
        db.execute(f"ALTER TABLE {table} DROP COLUMN {column}")
    db.commit()
    db.close()

    async def work(spool: Spool) -> None:
        assert [message.queue_id for message in await waiting(spool)] == ["OLD001"]

    with_spool(tmp_path, clock, work)
