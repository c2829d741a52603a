"""How long the ledger is kept, how large it grows, and what a flood of refusals does to it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from appliance.base.clock import FakeClock
from appliance.spool import flood, ledger, queries, trace
from appliance.spool.ledger import Keeping
from appliance.spool.model import NewMessage, Outcome, Refusal, State
from appliance.spool.queries import Selection
from appliance.spool.store import Spool
from appliance.spool.trace import Question

Letter = Callable[..., NewMessage]


def refusal(clock: FakeClock, number: int = 0, *, client: str = "192.0.2.1") -> Refusal:
    return Refusal(
        at=clock.now(),
        session=f"S{number}",
        client=client,
        helo="stranger.example",
        mail_from=f"a{number}@example.net",
        recipient="b@example.org",
        check="relay",
        why="a stranger may not relay",
    )


def with_spool(tmp_path: Path, clock: FakeClock, work: Callable[[Spool], Awaitable[None]]) -> None:
    async def run() -> None:
        spool = await Spool.open(tmp_path, clock=clock)
        try:
            await work(spool)
        finally:
            await spool.close()

    asyncio.run(run())


async def rows_of(spool: Spool) -> int:
    return int(await spool.look(lambda db: db.execute("SELECT count(*) FROM ledger").fetchone()[0]))


async def deliver(spool: Spool, message: NewMessage) -> None:
    (queued,) = await spool.put(message)
    await spool.record(
        queued,
        [
            Outcome(recipient_id=entry.id, state=State.DELIVERED, say="The next one took it.")
            for entry in queued.recipients
        ],
    )


def test_what_ended_is_forgotten_after_its_days_and_what_waits_never(
    tmp_path: Path, clock: FakeClock, letter: Letter
) -> None:
    async def work(spool: Spool) -> None:
        spool.keeping = Keeping(days=10)
        await spool.put(letter("WAITS"))
        await deliver(spool, letter("GONE"))
        spool.refused([refusal(clock)])
        clock.advance(9 * 86_400)
        await deliver(spool, letter("YOUNG"))
        await spool.tidy()
        assert await rows_of(spool) == 4
        clock.advance(2 * 86_400)
        while await spool.tidy():
            pass
        found = await spool.look(lambda db: trace.ask(db, Question(sender="a@")))
        assert [row["id"] for row in found] == ["YOUNG", "WAITS"]
        assert (await spool.reconcile())["ok"]

    with_spool(tmp_path, clock, work)


def test_a_ledger_that_is_too_large_forgets_its_oldest_ended_rows(
    tmp_path: Path, clock: FakeClock, letter: Letter
) -> None:
    async def work(spool: Spool) -> None:
        await spool.put(letter("WAITS"))
        await spool.put(*[letter(f"Q{n}") for n in range(3_000)])
        await spool.change(lambda b: queries.delete(b, Selection(search="Q1"), "x", 0.0))
        now = clock.now().timestamp()
        numbers = await spool.look(lambda db: queries.numbers(db, Selection()))
        only = Selection(numbers=tuple(numbers[1:]))
        await spool.change(lambda b: queries.delete(b, only, "x", now))
        spool.keeping = Keeping(bytes=400_000)
        assert await spool.look(ledger.size) > 400_000
        while await spool.tidy():
            pass
        assert await spool.look(ledger.size) <= 400_000
        assert await rows_of(spool) > 500
        assert [row["id"] for row in await _found(spool, "WAITS")] == ["WAITS"]
        assert await _found(spool, "Q2") == []
        assert (await spool.reconcile())["ok"]

    with_spool(tmp_path, clock, work)


async def _found(spool: Spool, word: str) -> list[dict[str, object]]:
    return await spool.look(lambda db: trace.ask(db, Question(words=(word,))))


@pytest.mark.full
def test_a_stranger_pushes_out_refusals_and_not_what_was_accepted(
    tmp_path: Path, clock: FakeClock, letter: Letter
) -> None:
    async def work(spool: Spool) -> None:
        for n in range(50):
            await deliver(spool, letter(f"Q{n}"))
        for n in range(4_000):
            spool.refused([refusal(clock, n, client=f"198.51.{n % 250}.1")])
            clock.advance(1)
        spool.keeping = Keeping(bytes=300_000)
        while await spool.tidy():
            pass
        found = await spool.look(
            lambda db: db.execute("SELECT fate, count(*) FROM ledger GROUP BY fate").fetchall()
        )
        fates = dict(found)
        assert fates["delivered"] == 50
        assert 0 < fates["refused"] < 2_000

    with_spool(tmp_path, clock, work)


@pytest.mark.full
def test_the_estimate_of_its_size_is_near_the_truth(
    tmp_path: Path, clock: FakeClock, letter: Letter
) -> None:
    async def work(spool: Spool) -> None:
        def used(db: object) -> int:
            pages = db.execute("PRAGMA page_count").fetchone()[0]  # type: ignore[attr-defined]
            free = db.execute("PRAGMA freelist_count").fetchone()[0]  # type: ignore[attr-defined]
            return int(pages - free) * 4096

        before = await spool.look(used)
        for start in range(0, 6_000, 500):
            queued = await spool.put(*[letter(f"Q{n:09}ABC") for n in range(start, start + 500)])
            await asyncio.gather(
                *(
                    spool.record(
                        m,
                        [
                            Outcome(
                                recipient_id=m.recipients[0].id,
                                state=State.DELIVERED,
                                say="The next mail server took the message.",
                                reply="250 2.0.0 queued as 12345",
                                host="mx.example.org[192.0.2.1]:25",
                                route="direct example.org",
                            )
                        ],
                    )
                    for m in queued
                )
            )
        told, true = await spool.look(ledger.size), await spool.look(used) - before
        assert 0.7 <= told / true <= 1.3, (told, true)

    with_spool(tmp_path, clock, work)


def test_a_flood_is_counted_and_not_listed(tmp_path: Path, clock: FakeClock) -> None:
    async def work(spool: Spool) -> None:
        began = time.monotonic()
        for n in range(20_000):
            spool.refused([refusal(clock, n)])
        for n in range(30):
            spool.refused([refusal(clock, n, client=f"2001:db8::{n}")])
        took = time.monotonic() - began
        spool.refused([replace(refusal(clock, 1, client="203.0.113.5"), temporary=True)])
        spool._write_flood()
        spool.refused([refusal(clock, 5)] * 7)
        clock.advance(60)
        spool.refused([refusal(clock, 6)])
        spool._write_flood()
        await spool.change(lambda batch: None)  # what was written aside is there now
        found = await spool.look(
            lambda db: db.execute(
                "SELECT client, fate, count(*), sum(times), max(times) FROM ledger"
                " GROUP BY 1, 2 ORDER BY 4 DESC"
            ).fetchall()
        )
        by_client = {(client, fate): rest for client, fate, *rest in found}
        assert by_client[("192.0.2.1", "refused")] == [22, 20_008, 19_987]
        assert by_client[("203.0.113.5", "put off")] == [1, 1, 1]
        assert sum(r[2] for r in found if r[0].startswith("2001:db8:")) == 21
        assert sum(r[3] for r in found if r[0].startswith("2001:db8:")) == 30
        assert took < 5
        assert (await spool.reconcile())["refused"] == 20_039

    with_spool(tmp_path, clock, work)


def test_many_addresses_together_have_a_bound_too(clock: FakeClock) -> None:
    minute = flood.Flood()
    rows = sum(
        minute.has_room_for(refusal(clock, n, client=f"10.{n // 250}.{n % 250}.9"))
        for n in range(5_000)
    )
    assert rows == flood.ROWS_OF_ALL
    ((swell, times),) = minute.take()
    assert (swell.first.client, times) == ("", 4_400)
    assert len(minute._rows) == flood.ROWS_OF_ALL
    clock.advance(timedelta(minutes=1).total_seconds())
    assert minute.has_room_for(refusal(clock, 1))
