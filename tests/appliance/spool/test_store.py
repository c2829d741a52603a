"""The queue keeps what it acknowledged, and acknowledges nothing it does not keep."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from appliance.base.clock import FakeClock
from appliance.mail.address import parse
from appliance.mail.envelope import Envelope, Notify, Recipient
from appliance.spool.model import NewMessage, Outcome, QueuedMessage, SpoolFailed, State
from appliance.spool.store import Spool

Letter = Callable[..., NewMessage]
Work = Callable[[Spool], Awaitable[object]]


def with_spool(folder: Path, clock: FakeClock, disk: object, work: Work) -> object:
    """Open the spool, do the work, close it."""

    async def go() -> object:
        spool = await Spool.open(folder, clock=clock, disk=disk)  # type: ignore[arg-type]
        try:
            return await work(spool)
        finally:
            await spool.close()

    return asyncio.run(go())


async def everything(spool: Spool) -> list[QueuedMessage]:
    """All that is due by far."""
    return await spool.due(spool._clock.now() + timedelta(days=400), limit=10_000)


async def read(spool: Spool, message: QueuedMessage) -> bytes:
    return b"".join([block async for block in spool.whole(message)])


async def mended(spool: Spool) -> None:
    """Wait until the writer has begun anew."""
    for _ in range(200):
        if not spool.trouble:
            return
        await asyncio.sleep(0.05)
    raise AssertionError(spool.trouble)


def delivered(message: QueuedMessage) -> list[Outcome]:
    return [
        Outcome(recipient_id=entry.id, state=State.DELIVERED, say="taken")
        for entry in message.recipients
    ]


def test_what_was_put_is_there_after_opening_again(
    tmp_path: Path, clock: FakeClock, disk: object, letter: Letter
) -> None:
    notify = Recipient(parse("c@example.org"), (Notify.NEVER,), "rfc822;C@x")
    envelope = Envelope(parse("a@example.com"), (notify,), ret="HDRS", envid="e1", smtputf8=True)
    put = replace(letter("Q1"), envelope=envelope)
    with_spool(tmp_path, clock, disk, lambda spool: spool.put(put))

    async def look(spool: Spool) -> None:
        (found,) = await everything(spool)
        assert found.envelope == envelope
        assert found.queue_id == "Q1"
        assert await read(spool, found) == b"Received: us\r\nSubject: x\r\n\r\nhello\r\n"

    with_spool(tmp_path, clock, disk, look)


def test_many_sessions_share_a_commit(
    tmp_path: Path, clock: FakeClock, disk: object, letter: Letter
) -> None:
    async def work(spool: Spool) -> int:
        await asyncio.gather(*(spool.put(letter(f"Q{n}")) for n in range(200)))
        assert len(await everything(spool)) == 200
        return spool.commits

    commits = with_spool(tmp_path, clock, disk, work)
    assert isinstance(commits, int)
    assert commits < 50


def test_a_failed_commit_acknowledges_nobody_and_the_queue_comes_back(
    tmp_path: Path, clock: FakeClock, disk: object, letter: Letter
) -> None:
    async def work(spool: Spool) -> None:
        await spool.put(letter("Q0"))
        disk.commits_fail = True  # type: ignore[attr-defined]
        got = await asyncio.gather(
            *(spool.put(letter(f"Q{n}")) for n in range(1, 4)), return_exceptions=True
        )
        assert all(isinstance(one, SpoolFailed) for one in got)
        assert spool.trouble
        disk.commits_fail = False  # type: ignore[attr-defined]
        await mended(spool)
        await spool.put(letter("Q9"))
        assert [message.queue_id for message in await everything(spool)] == ["Q0", "Q9"]

    with_spool(tmp_path, clock, disk, work)


def test_a_commit_that_failed_late_is_taken_out_when_the_queue_comes_back(
    tmp_path: Path, clock: FakeClock, disk: object, letter: Letter
) -> None:
    """The flush failed, yet the pages were there: their sender was told to come again."""

    async def work(spool: Spool) -> None:
        writer = spool._writer
        commit = writer._commit

        def fail_late(jobs: object, db: sqlite3.Connection) -> object:
            commit(jobs, db)  # type: ignore[arg-type]
            raise sqlite3.OperationalError("disk I/O error")

        writer._commit = fail_late  # type: ignore[method-assign,assignment]
        with pytest.raises(SpoolFailed):
            await spool.put(letter("Q1"))
        writer._commit = commit  # type: ignore[method-assign]
        await mended(spool)
        assert await everything(spool) == []
        await spool.put(letter("Q2"))
        assert (await spool.reconcile())["ok"]

    with_spool(tmp_path, clock, disk, work)


def test_one_bad_row_does_not_spoil_the_batch(
    tmp_path: Path, clock: FakeClock, disk: object, letter: Letter
) -> None:
    async def work(spool: Spool) -> None:
        await spool.put(letter("Q1"))
        got = await asyncio.gather(
            spool.put(letter("Q2")),
            spool.put(letter("Q1")),  # the id is taken
            spool.put(letter("Q3")),
            return_exceptions=True,
        )
        assert [isinstance(one, Exception) for one in got] == [False, True, False]
        assert not spool.trouble
        found = sorted(message.queue_id for message in await everything(spool))
        assert found == ["Q1", "Q2", "Q3"]

    with_spool(tmp_path, clock, disk, work)


def test_a_large_body_is_flushed_named_and_its_folder_flushed_before_the_row(
    tmp_path: Path, clock: FakeClock, disk: object, letter: Letter
) -> None:
    async def work(spool: Spool) -> None:
        body = spool.begin_body("3BCDFG")
        body.write(b"Subject: large\r\n\r\n")
        body.write(b"x\r\n" * 100_000)
        put = replace(letter("3BCDFG"), body=None, body_file=body, size=body.size)
        disk.asked.clear()  # type: ignore[attr-defined]
        (queued,) = await spool.put(put)
        assert disk.asked == ["file", "folder", "commit"]  # type: ignore[attr-defined]
        assert (await read(spool, queued)).endswith(b"x\r\nx\r\n")
        await spool.record(queued, delivered(queued))
        assert list(spool.bodies.iterdir()) == []

    with_spool(tmp_path, clock, disk, work)


@pytest.mark.parametrize("what", ["files_fail", "folders_fail", "commits_fail"])
def test_a_large_body_that_cannot_be_flushed_leaves_nothing(
    tmp_path: Path, clock: FakeClock, disk: object, letter: Letter, what: str
) -> None:
    async def work(spool: Spool) -> None:
        body = spool.begin_body("3BCDFG")
        body.write(b"x\r\n" * 100_000)
        setattr(disk, what, True)
        with pytest.raises(SpoolFailed):
            await spool.put(replace(letter("3BCDFG"), body=None, body_file=body))
        setattr(disk, what, False)
        await mended(spool)
        assert await everything(spool) == []
        assert list(spool.bodies.iterdir()) == []

    with_spool(tmp_path, clock, disk, work)


def test_opening_removes_bodies_of_ours_without_a_row_and_nothing_else(
    tmp_path: Path, clock: FakeClock, disk: object, letter: Letter
) -> None:
    async def fill(spool: Spool) -> None:
        body = spool.begin_body("3KEPT0")
        body.write(b"kept\r\n")
        await spool.put(replace(letter("3KEPT0"), body=None, body_file=body))

    with_spool(tmp_path, clock, disk, fill)
    folder = tmp_path / "bodies"
    for name in ("3BCDFG.part", "3BCDFG.body", "notes.txt", "3BCDFG.body.bak", "3bcdfg.body"):
        (folder / name).write_bytes(b"x")
    for _ in range(2):  # recovery is the start path and does no harm twice

        async def look(spool: Spool) -> None:
            (found,) = await everything(spool)
            assert (await read(spool, found)).endswith(b"kept\r\n")

        with_spool(tmp_path, clock, disk, look)
    assert sorted(path.name for path in folder.iterdir()) == [
        "3BCDFG.body.bak", "3KEPT0.body", "3bcdfg.body", "notes.txt",
    ]  # fmt: skip


def test_a_recipient_that_is_done_is_not_due_again_and_the_last_ends_the_message(
    tmp_path: Path, clock: FakeClock, disk: object, letter: Letter
) -> None:
    async def work(spool: Spool) -> None:
        (queued,) = await spool.put(letter("Q1", to=("b@example.org", "c@example.org")))
        first, second = queued.recipients
        done = Outcome(recipient_id=first.id, state=State.DELIVERED, say="taken")
        await spool.record(queued, [done])
        (left,) = await everything(spool)
        assert [entry.id for entry in left.recipients] == [second.id]
        later = clock.now() + timedelta(minutes=5)
        waits = Outcome(
            recipient_id=second.id, state=State.DEFERRED, say="busy", next_attempt_at=later
        )
        await spool.record(queued, [waits])
        assert await spool.due(clock.now(), limit=9) == []
        assert await spool.next_due(clock.now()) == later.timestamp()
        (again,) = await spool.due(later, limit=9)
        assert again.recipients[0].attempts == 1
        await spool.record(again, delivered(again))
        assert await everything(spool) == []

    with_spool(tmp_path, clock, disk, work)


def test_a_report_is_queued_with_the_failure_it_is_about_or_not_at_all(
    tmp_path: Path, clock: FakeClock, disk: object, letter: Letter
) -> None:
    async def work(spool: Spool) -> None:
        (queued,) = await spool.put(letter("Q1"))
        failed = [Outcome(recipient_id=queued.recipients[0].id, state=State.BOUNCED, say="unknown")]
        report = letter("Q2", sender=None, to=("a@example.com",))
        disk.commits_fail = True  # type: ignore[attr-defined]
        with pytest.raises(SpoolFailed):
            await spool.record(queued, failed, reports=[report])
        disk.commits_fail = False  # type: ignore[attr-defined]
        await mended(spool)
        assert [message.queue_id for message in await everything(spool)] == ["Q1"]
        await spool.record(queued, failed, reports=[report])
        (left,) = await everything(spool)
        assert left.queue_id == "Q2"
        assert left.envelope.mail_from is None

    with_spool(tmp_path, clock, disk, work)


def test_the_reserve_is_kept_and_the_disk_is_asked_once_a_second(
    tmp_path: Path, clock: FakeClock, disk: object
) -> None:
    async def work(spool: Spool) -> None:
        disk.free = 1_000  # type: ignore[attr-defined]
        assert spool.has_room(500, 500)
        assert not spool.has_room(501, 500)
        disk.free = 0  # type: ignore[attr-defined]
        assert spool.has_room(0, 500)
        clock.advance(1.1)
        assert not spool.has_room(0, 500)

    with_spool(tmp_path, clock, disk, work)


def test_room_is_given_back(tmp_path: Path, clock: FakeClock, disk: object, letter: Letter) -> None:
    async def work(spool: Spool) -> None:
        queued = await asyncio.gather(
            *(spool.put(letter(f"Q{n}", body=b"x" * 60_000)) for n in range(200))
        )
        for (message,) in queued:
            await spool.record(message, delivered(message))
        while await spool.tidy():
            pass

    with_spool(tmp_path, clock, disk, work)
    with_spool(tmp_path, clock, disk, everything)
    assert (tmp_path / "spool.db").stat().st_size < 1_000_000


def test_a_session_that_goes_away_while_its_message_is_stored_does_no_harm(
    tmp_path: Path, clock: FakeClock, disk: object, letter: Letter
) -> None:
    async def work(spool: Spool) -> None:
        offered: list[str] = []
        all_offered = asyncio.Event()

        def note(message: QueuedMessage) -> None:
            offered.append(message.queue_id)
            if len(offered) == 3:
                all_offered.set()

        spool.on_put = note
        body = spool.begin_body("3BCDFG")
        body.write(b"large\r\n")
        large = replace(letter("3BCDFG"), body=None, body_file=body)
        putting = [asyncio.ensure_future(spool.put(one)) for one in (letter("Q1"), large)]
        await asyncio.sleep(0)
        for task in putting:
            task.cancel()
        await asyncio.gather(*putting, return_exceptions=True)
        await spool.put(letter("Q2"))
        async with asyncio.timeout(10):
            await all_offered.wait()
        found = {message.queue_id: message for message in await everything(spool)}
        assert (await read(spool, found["3BCDFG"])).endswith(b"large\r\n")

    with_spool(tmp_path, clock, disk, work)
