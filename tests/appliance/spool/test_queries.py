"""What people see of the queue and do to it (FEATURES Q1 to Q6)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path

from appliance.base.clock import FakeClock
from appliance.spool import queries, trace
from appliance.spool.model import NewMessage, Outcome, State, to_seconds
from appliance.spool.queries import Selection
from appliance.spool.store import Spool
from appliance.spool.trace import Question

Letter = Callable[..., NewMessage]


def test_a_message_can_be_found_held_released_and_deleted(
    tmp_path: Path, clock: FakeClock, letter: Letter
) -> None:
    async def work() -> None:
        spool = await Spool.open(tmp_path, clock=clock)
        now = to_seconds(clock.now())
        (first,) = await spool.put(letter("Q1", sender="anna@example.com"))
        await spool.put(letter("Q2", sender=None, to=("x@example.net", "y@example.net")))
        deferred = Outcome(
            recipient_id=first.recipients[0].id,
            state=State.DEFERRED,
            say="The next mail server is busy or going down.",
            reply="421 4.3.2 later",
            host="mx.example.org",
            route="direct example.org",
            next_attempt_at=clock.now() + timedelta(minutes=1),
        )
        await spool.record(first, [deferred])

        page = await spool.look(lambda db: queries.listing(db, Selection(search="anna")))
        assert page["total"] == 1
        item = page["items"][0]
        assert (item["id"], item["state"], item["mail_from"]) == (
            "Q1",
            "deferred",
            "anna@example.com",
        )
        recipient = item["recipients"][0]
        assert recipient["reason"] == {
            "say": "The next mail server is busy or going down.",
            "reply": "421 4.3.2 later",
            "host": "mx.example.org",
        }
        assert recipient["attempts"] == 1
        found = await spool.look(lambda db: queries.listing(db, Selection(state="deferred")))
        assert [entry["id"] for entry in found["items"]] == ["Q1"]

        only = Selection(ids=("Q1",))
        assert len(await spool.change(lambda b: queries.hold(b, only, now, "anna"))) == 1
        await spool.change(lambda b: queries.send_now(b, Selection(), now))
        due = await spool.due(clock.now() + timedelta(days=1), limit=9)
        assert [message.queue_id for message in due] == ["Q2"]
        assert (await spool.look(queries.totals)).held == 1
        await spool.change(lambda b: queries.release(b, only, now, "bert"))
        assert len(await spool.due(clock.now(), limit=9)) == 2

        gone = await spool.change(lambda b: queries.delete(b, Selection(search="x@"), "admin", now))
        assert [queue_id for _, queue_id in gone] == ["Q2"]
        fates = await spool.look(lambda db: trace.ask(db, Question(words=("Q2",))))
        assert {(row["fate"], row["station"]) for row in fates} == {("deleted", "admin")}
        totals = await spool.look(queries.totals)
        assert (totals.messages, totals.deferred, totals.held) == (1, 1, 0)
        history = await spool.look(lambda db: queries.events(db, "Q1"))
        assert [event["event"] for event in history] == ["queued", "deferred", "held", "released"]
        await spool.close()

    asyncio.run(work())


def test_a_held_message_stays_held_when_an_attempt_under_way_ends(
    tmp_path: Path, clock: FakeClock, letter: Letter
) -> None:
    async def work() -> None:
        spool = await Spool.open(tmp_path, clock=clock)
        (message,) = await spool.put(letter("Q1"))
        await spool.change(lambda b: queries.hold(b, Selection(), to_seconds(clock.now())))
        outcome = Outcome(
            recipient_id=message.recipients[0].id,
            state=State.DEFERRED,
            say="busy",
            next_attempt_at=clock.now(),
        )
        await spool.record(message, [outcome])
        assert await spool.due(clock.now() + timedelta(days=9), limit=9) == []
        await spool.close()

    asyncio.run(work())


def test_words_of_sql_in_a_search_find_nothing_and_do_nothing(
    tmp_path: Path, clock: FakeClock, letter: Letter
) -> None:
    async def work() -> None:
        spool = await Spool.open(tmp_path, clock=clock)
        await spool.put(letter("Q1"))
        for words in ("' OR 1=1 --", "%", "_", '"; DROP TABLE messages; --'):
            chosen = Selection(search=words)
            page = await spool.look(partial(queries.listing, selection=chosen, sort=words))
            assert page["total"] == 0
            assert (
                await spool.change(partial(queries.delete, selection=chosen, author="x", now=0.0))
                == []
            )
        assert (await spool.look(queries.totals)).messages == 1
        await spool.close()

    asyncio.run(work())
