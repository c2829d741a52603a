"""The one writer: a thread, a queue of jobs, group commit without a timer.

A batch is whatever arrived while the last one was being flushed; everybody in it waits for one
commit. A job that the tables refuse fails alone; a write or a flush that the disk refuses is
final: the whole batch fails, the connection is closed and never used again, and a new one is
opened by folding the log into the database first. Messages of the failed batch are taken out
then, for their senders were told to try again.
"""

import asyncio
import contextlib
import queue
import sqlite3
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from appliance.spool import database
from appliance.spool.bodies import Disk
from appliance.spool.model import NewMessage, QueuedMessage, SpoolFailed

MAX_BATCH = 512
SECONDS_BETWEEN_REOPENINGS = 1.0

T = TypeVar("T")


@dataclass(slots=True)
class Batch:
    """What a job may do: write to `db`, and say what is to follow the commit."""

    db: sqlite3.Connection
    bodies: Path
    unlink_after: list[str] = field(default_factory=list)
    accepted: list[str] = field(default_factory=list)  # queue ids put in by this batch
    _together: "dict[Together, list[Any]]" = field(default_factory=dict)

    def together(self, work: "Together", item: object) -> None:
        """Have `work` run once for all items of the batch, when its other jobs have run."""
        self._together.setdefault(work, []).append(item)

    def finish(self) -> None:
        """Run what was put off."""
        for work, items in self._together.items():
            work(self, items)


Together = Callable[[Batch, list[Any]], None]
Insert = Callable[[Batch, Sequence[NewMessage]], list[QueuedMessage]]


@dataclass(slots=True)
class _Job:
    apply: Callable[[Batch], Any] | None  # None: `messages` are to be put in
    messages: Sequence[NewMessage]
    future: "asyncio.Future[Any]"
    flush_bodies: bool
    then: Callable[[Any], None] | None


class Writer:
    """Owns the writing connection. Made and used on the loop; works in its own thread."""

    def __init__(self, path: Path, bodies: Path, disk: Disk, insert: Insert) -> None:
        self._path = path
        self._bodies = bodies
        self._disk = disk
        self._insert = insert
        self._jobs: queue.SimpleQueue[list[_Job] | None] = queue.SimpleQueue()
        self._fresh: list[_Job] = []  # of this turn of the loop
        opened = database.open_for_writing(path)
        self._db: sqlite3.Connection | None = opened
        self._withdrawn: list[str] = []
        self._current = Batch(opened, bodies)
        self._loop = asyncio.get_running_loop()
        self.why_failed = ""  # empty: the disk takes what we write
        self.failures = 0
        self.commits = 0
        self._thread = threading.Thread(target=self._work, name="spool-writer", daemon=True)
        self._thread.start()

    def submit(
        self,
        apply: Callable[[Batch], T],
        *,
        flush_bodies: bool = False,
        then: Callable[[T], None] | None = None,
    ) -> "asyncio.Future[T]":
        """Have `apply` run in the next batch; the future is done when the batch is durable.

        `then` is called on the loop with the result, also when nobody waits for the future any
        more: a client that hangs up takes nothing out of a batch.

        The future raises SpoolFailed when the disk refuses. With `flush_bodies` the folder of
        bodies is flushed before the commit.
        """
        return self._put(_Job(apply, (), self._loop.create_future(), flush_bodies, then))

    def put(
        self,
        messages: Sequence[NewMessage],
        *,
        flush_bodies: bool = False,
        then: Callable[[list[QueuedMessage]], None] | None = None,
    ) -> "asyncio.Future[list[QueuedMessage]]":
        """As `submit`, for new messages: those of one batch go in together."""
        return self._put(_Job(None, messages, self._loop.create_future(), flush_bodies, then))

    def _put(self, job: _Job) -> "asyncio.Future[Any]":
        if not self._fresh:
            self._loop.call_soon(self._hand_over)
        self._fresh.append(job)
        return job.future

    def _hand_over(self) -> None:
        """Give the thread what came in one turn of the loop, all at once: it is woken once."""
        if self._fresh:
            self._jobs.put(self._fresh)
            self._fresh = []

    async def close(self) -> None:
        """Finish what is waiting and close."""
        self._hand_over()
        self._jobs.put(None)
        await asyncio.to_thread(self._thread.join)

    def _work(self) -> None:
        stopping = False
        while not stopping:
            batch, stopping = self._collect()
            if self._db is None:
                self._reopen()
            if batch:
                self._run(batch)
        if self._db is not None:
            self._db.close()

    def _collect(self) -> tuple[list[_Job], bool]:
        """Wait for a job, then take whatever else is there."""
        batch: list[_Job] = []
        try:
            jobs = self._jobs.get(timeout=SECONDS_BETWEEN_REOPENINGS if self._db is None else None)
            while jobs is not None:
                batch += jobs
                if len(batch) >= MAX_BATCH:
                    return batch, False
                jobs = self._jobs.get_nowait()
        except queue.Empty:
            return batch, False
        return batch, True

    def _run(self, jobs: list[_Job]) -> None:
        if self._db is None:
            self._answer([(job, SpoolFailed(self.why_failed)) for job in jobs])
            return
        try:
            results = self._commit(jobs, self._db)
        except Exception as error:  # whatever a job raises must not end the thread
            if _is_disk_trouble(error) or not self._rolled_back(self._db):
                self._fail(jobs, error)
            else:
                self._one_by_one(jobs, error)
        else:
            self._answer(results)

    def _commit(self, jobs: list[_Job], db: sqlite3.Connection) -> list[tuple[_Job, Any]]:
        """Apply all and flush once. Nothing is answered before this returns."""
        batch = Batch(db, self._bodies)
        self._current = batch
        db.execute("BEGIN IMMEDIATE")
        queued = iter(self._insert(batch, [new for job in jobs for new in job.messages]))
        results = [
            (job, job.apply(batch) if job.apply else list(islice(queued, len(job.messages))))
            for job in jobs
        ]
        batch.finish()
        if any(job.flush_bodies for job in jobs):
            self._disk.flush_folder(self._bodies)
        self._disk.before_commit()
        db.execute("COMMIT")
        self.commits += 1
        for name in batch.unlink_after:
            with contextlib.suppress(OSError):  # an orphan is found at the next start
                (self._bodies / name).unlink()
        return results

    def _rolled_back(self, db: sqlite3.Connection) -> bool:
        try:
            db.execute("ROLLBACK")
        except sqlite3.Error:
            return False
        return True

    def _one_by_one(self, jobs: list[_Job], error: Exception) -> None:
        """Find the job that the tables refused; the others must not suffer for it."""
        if len(jobs) == 1:
            self._answer([(jobs[0], error)])
            return
        for job in jobs:
            self._run([job])

    def _fail(self, jobs: list[_Job], error: Exception) -> None:
        full = getattr(error, "sqlite_errorname", "") == "SQLITE_FULL"
        self.why_failed = str(error)
        self.failures += 1
        self._withdrawn += self._current.accepted
        if self._db is not None:
            with contextlib.suppress(sqlite3.Error):
                self._db.close()
            self._db = None
        self._answer([(job, SpoolFailed(str(error), full=full)) for job in jobs])

    def _reopen(self) -> None:
        """Begin anew on a fresh connection; what was not acknowledged is taken out."""
        try:
            db = database.open_for_writing(self._path)
            db.execute("BEGIN IMMEDIATE")
            for queue_id in self._withdrawn:
                _withdraw(db, queue_id)
            self._disk.before_commit()
            db.execute("COMMIT")
        except (sqlite3.Error, OSError) as error:
            self.why_failed = str(error)
            return
        self._withdrawn.clear()
        self._db = db
        self.why_failed = ""

    def _answer(self, results: list[tuple[_Job, Any]]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(_settle, results)


def _is_disk_trouble(error: Exception) -> bool:
    """Whether the disk refused, rather than the tables (IntegrityError and the like)."""
    kinds = (sqlite3.OperationalError, sqlite3.DatabaseError, sqlite3.InternalError)
    return isinstance(error, OSError) or type(error) in kinds


def _settle(results: list[tuple[_Job, Any]]) -> None:
    for job, result in results:
        if job.then is not None and not isinstance(result, BaseException):
            job.then(result)
        if job.future.done():  # the session went away meanwhile
            continue
        if isinstance(result, BaseException):
            job.future.set_exception(result)
        else:
            job.future.set_result(result)


def _withdraw(db: sqlite3.Connection, queue_id: str) -> None:
    db.execute(
        "DELETE FROM recipients WHERE message_id IN (SELECT id FROM messages WHERE queue_id = ?)",
        (queue_id,),
    )
    db.execute("DELETE FROM messages WHERE queue_id = ?", (queue_id,))
    gone = db.execute("DELETE FROM ledger WHERE queue_id = ?", (queue_id,)).rowcount
    db.execute("UPDATE tally SET number = number + ? WHERE name = 'withdrawn'", (gone,))
