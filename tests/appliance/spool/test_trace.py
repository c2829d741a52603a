"""Where is my mail? Rows for a question, and their sentences."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

from appliance.base.clock import FakeClock
from appliance.spool import queries, trace
from appliance.spool.model import NewMessage, Outcome, Refusal, State
from appliance.spool.narrative import story
from appliance.spool.queries import Selection
from appliance.spool.store import Spool
from appliance.spool.trace import Question

Letter = Callable[..., NewMessage]


def ask(spool: Spool, **question: Any) -> Any:
    return spool.look(lambda db: trace.ask(db, Question(**question)))


def told(item: Any) -> list[str]:
    return [sentence.text for sentence in story(item)]


def test_each_attempt_is_told_in_a_sentence(
    tmp_path: Path, clock: FakeClock, letter: Letter
) -> None:
    async def work() -> None:
        spool = await Spool.open(tmp_path, clock=clock)
        now = clock.now().timestamp()
        steps = ('[["spf","spf: note","example.com names 192.0.2.9"]]',)
        new = letter("Q1", to=("b@example.org",))
        new = NewMessage(
            queue_id="Q1", envelope=new.envelope, received_at=new.received_at, size=new.size,
            body=new.body, client="192.0.2.9", helo="mx.example.com", steps=steps,
        )  # fmt: skip
        (message,) = await spool.put(new)
        number = message.recipients[0].id
        (item,) = await ask(spool, words=("q1",))
        assert told(item)[-1] == "It waits for its first try."
        await spool.record(
            message,
            [
                Outcome(
                    recipient_id=number, state=State.DEFERRED, say="It is busy.",
                    reply="421 later", host="mx.example.org", next_attempt_at=clock.now(),
                )
            ],
        )  # fmt: skip
        only = Selection(ids=("Q1",))
        await spool.change(lambda b: queries.hold(b, only, now, "anna"))
        (item,) = await ask(spool, words=("Q1",))
        assert told(item)[-1] == "It is held, and waits until somebody releases it."
        await spool.change(lambda b: queries.release(b, only, now, "bert"))
        await spool.change(lambda b: queries.send_now(b, only, now, "bert"))
        await spool.record(
            message,
            [
                Outcome(
                    recipient_id=number, state=State.DELIVERED, say="It was taken.",
                    reply="250 2.0.0 thanks", host="mx2.example.org",
                )
            ],
        )  # fmt: skip
        (item,) = await ask(spool, sender="a@EXAMPLE.com", recipient="b@")
        assert (item["fate"], item["steps"][0][0]) == ("delivered", "spf")
        assert told(item) == [
            "Received from 192.0.2.9 (mx.example.com): a@example.com to b@example.org.",
            "Station “spf” noted: spf: note. example.com names 192.0.2.9",
            "Tried at mx.example.org, without success: It is busy. It said: 421 later",
            "Held by anna.",
            "Released by bert.",
            "Told to be tried at once, by bert.",
            "Handed to mx2.example.org, which said: 250 2.0.0 thanks",
        ]
        await spool.put(letter("Q2"))
        await spool.change(lambda b: queries.delete(b, Selection(ids=("Q2",)), "carl", now))
        (item,) = await ask(spool, words=("Q2",))
        assert told(item) == [
            "Written by the box itself to b@example.org.",
            "Deleted by carl. Its sender was not told.",
        ]
        await spool.close()

    asyncio.run(work())


def test_refused_and_put_off_attempts_are_told_too(tmp_path: Path, clock: FakeClock) -> None:
    async def work() -> None:
        spool = await Spool.open(tmp_path, clock=clock)

        def refusal(check: str, why: str, reply: str, *, temporary: bool) -> Refusal:
            return Refusal(
                at=clock.now(), session="S1", client="192.0.2.9", helo="h.example",
                mail_from="a@example.com", recipient="b@example.org", check=check, why=why,
                reply=reply, temporary=temporary,
            )  # fmt: skip

        spool.refused([refusal("greylist", "not seen before", "451 4.7.1 later", temporary=True)])
        spool.refused(
            [refusal("recipient", "nobody of that name", "550 5.1.1 no", temporary=False)]
        )
        spool.refused([refusal("x", "y", "550 z", temporary=False)] * 30)
        spool._write_flood()
        await spool.change(lambda batch: None)  # what was written aside is there now
        found = await ask(spool, words=("192.0.2.9",), limit=500)
        assert told(found[-1]) == [
            "Put off, asked to come back later: a@example.com to b@example.org, from 192.0.2.9"
            " (h.example).",
            "The check “greylist” decided it: not seen before",
            "The other side was told: 451 4.7.1 later",
        ]
        assert told(found[-2])[0].startswith("Refused: a@example.com to b@example.org")
        assert told(found[0]) == [
            "12 more attempts from 192.0.2.9 were refused at about the same time; such a flood is"
            " counted, not listed. The check “x” decided the first: y"
        ]
        await spool.close()

    asyncio.run(work())


def test_a_span_of_time_narrows_the_search(
    tmp_path: Path, clock: FakeClock, letter: Letter
) -> None:
    async def work() -> None:
        spool = await Spool.open(tmp_path, clock=clock)
        began = clock.now().timestamp()
        for n in range(40):
            await spool.put(letter(f"Q{n}"))
            clock.advance(timedelta(hours=1).total_seconds())
        hours = [began + n * 3600 - 1 for n in (10, 12)]
        found = await ask(spool, since=hours[0], until=hours[1])
        assert [item["id"] for item in found] == ["Q11", "Q10"]
        assert len(await ask(spool, since=began, limit=500)) == 40
        assert await ask(spool, since=began + 10**6) == []
        assert await ask(spool, words=("' OR 1=1 --",)) == []
        await spool.close()

    asyncio.run(work())
