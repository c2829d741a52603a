"""The ledger accounts for all that was accepted, and says so when it does not."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from appliance.base.clock import FakeClock
from appliance.spool import queries, reconcile
from appliance.spool.model import NewMessage, Outcome, QueuedMessage, State
from appliance.spool.queries import Selection
from appliance.spool.store import Spool

Letter = Callable[..., NewMessage]


def outcome(message: QueuedMessage, state: State, at: int = 0) -> Outcome:
    return Outcome(recipient_id=message.recipients[at].id, state=state, say="Said.")


async def every_way(spool: Spool, letter: Letter, clock: FakeClock) -> None:
    """Put, deliver, bounce with a report, hold, release, delete, copy, and a hold under way."""
    now = clock.now().timestamp()
    (done,) = await spool.put(letter("DONE"))
    await spool.record(done, [outcome(done, State.DELIVERED)])
    (back,) = await spool.put(letter("BACK", to=("b@example.org", "c@example.org")))
    failed, fine = outcome(back, State.BOUNCED), outcome(back, State.DELIVERED, 1)
    await spool.record(back, [failed, fine], reports=[letter("RPT", sender=None)])
    await spool.put(letter("HELD"), replace(letter("QUAR"), held=True), letter("COPY"))
    await spool.change(lambda b: queries.hold(b, Selection(ids=("HELD", "COPY")), now, "anna"))
    await spool.change(lambda b: queries.release(b, Selection(ids=("COPY",)), now, "bert"))
    (way,) = await spool.put(letter("WAY"))
    await spool.change(lambda b: queries.hold(b, Selection(ids=("WAY",)), now))
    later = replace(outcome(way, State.DEFERRED), next_attempt_at=clock.now())
    await spool.record(way, [later])
    (late,) = await spool.put(letter("LATE"))
    await spool.change(lambda b: queries.delete(b, Selection(ids=("LATE",)), "anna", now))
    await spool.record(late, [outcome(late, State.BOUNCED)])
    body = spool.begin_body("BIG")
    body.write(b"Subject: big\r\n\r\n" + b"x" * 100_000)
    await spool.put(replace(letter("BIG"), body=None, body_file=body))


def run(
    tmp_path: Path, clock: FakeClock, letter: Letter, spoil: Callable[[sqlite3.Connection], object]
) -> dict[str, object]:
    async def work() -> dict[str, object]:
        spool = await Spool.open(tmp_path, clock=clock)
        await every_way(spool, letter, clock)
        await spool.change(lambda batch: spoil(batch.db))
        found: dict[str, object] = await spool.reconcile()
        assert await spool.last_reconciliation() == found
        await spool.close()
        return found

    return asyncio.run(work())


def test_all_ways_that_mail_goes_are_accounted_for(
    tmp_path: Path, clock: FakeClock, letter: Letter
) -> None:
    found = run(tmp_path, clock, letter, lambda db: None)
    assert found["ok"], found
    assert found["messages"] == 9
    assert found["fates"] == {
        "bounced": 1, "deleted": 1, "delivered": 2, "held": 3, "queued": 3,
    }  # fmt: skip
    assert str(found["say"]).startswith("All 9 messages accepted since ")


@pytest.mark.parametrize(
    ("statement", "say", "named"),
    [
        ("DELETE FROM ledger WHERE queue_id = 'DONE'", reconcile.ROW_GONE, "#1"),
        ("DELETE FROM ledger WHERE queue_id = 'BIG'", "no entry in the ledger", "BIG"),
        ("DELETE FROM ledger WHERE id = (SELECT max(id) FROM ledger)", "no entry", "BIG"),
        ("UPDATE ledger SET fate = 'delivered' WHERE queue_id = 'COPY'", "has ended", "COPY"),
        ("UPDATE ledger SET fate = 'queued' WHERE queue_id = 'DONE'", "not in the queue", "DONE"),
        ("UPDATE ledger SET fate = 'eaten' WHERE queue_id = 'DONE'", "not known", "DONE"),
        ("UPDATE messages SET held = 0 WHERE queue_id = 'HELD'", "but not in both", "HELD"),
        ("DELETE FROM recipients WHERE id = 1 + (SELECT 4)", "not in the queue", "HELD"),
        ("DELETE FROM messages WHERE queue_id = 'COPY'", "has no message", "COPY"),
    ],
)
def test_what_was_changed_by_hand_is_found_and_named(
    tmp_path: Path, clock: FakeClock, letter: Letter, statement: str, say: str, named: str
) -> None:
    found = run(tmp_path, clock, letter, lambda db: db.execute(statement))
    mismatches = found["mismatches"]
    assert isinstance(mismatches, list)
    assert not found["ok"]
    assert [m["ids"] for m in mismatches if say in m["say"]] == [[named]], mismatches
    assert "do not agree" in str(found["say"])


def test_a_body_that_is_gone_from_the_disk_is_found(
    tmp_path: Path, clock: FakeClock, letter: Letter
) -> None:
    found = run(tmp_path, clock, letter, lambda db: (tmp_path / "bodies" / "BIG.body").unlink())
    assert found["mismatches"] == [{"say": reconcile.BODY_GONE, "count": 1, "ids": ["BIG"]}]


def test_a_queue_of_an_older_program_is_counted_from_now_on(
    tmp_path: Path, clock: FakeClock, letter: Letter
) -> None:
    run(tmp_path, clock, letter, lambda db: None)
    db = sqlite3.connect(tmp_path / "spool.db")
    with db:
        db.execute("DROP TABLE tally")
        db.execute("DELETE FROM ledger WHERE queue_id = 'DONE'")  # as if pruned then
    db.close()

    async def again() -> None:
        spool = await Spool.open(tmp_path, clock=clock)
        assert (await spool.reconcile())["ok"]
        await spool.close()

    asyncio.run(again())
