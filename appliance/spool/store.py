"""The queue: what may be asked of it, and the promise that it keeps.

`put` returns when message and ledger are on stable storage, not before (RFC 5321 §6.1).
`record` puts down what an attempt did. Opening is recovery: there is no other start path.
"""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from appliance.base.clock import Clock
from appliance.mail.message import split_head
from appliance.spool import bodies, database, departures, flood, ledger, reconcile, rows
from appliance.spool.bodies import BodyFile, Disk, RealDisk
from appliance.spool.departures import Departure
from appliance.spool.flood import Flood
from appliance.spool.ledger import Keeping
from appliance.spool.model import (
    NewMessage,
    Outcome,
    QueuedMessage,
    Refusal,
    SpoolFailed,
    from_seconds,
    to_seconds,
)
from appliance.spool.writer import Batch, Writer

VACUUM_STEP_PAGES = 1_000
DUE_BODY_BYTES = 2 * 1024 * 1024  # read along with what is due
FLOOD_SECONDS = 10.0  # between two countings of refusals that have no row of their own

JSON = Any
T = TypeVar("T")


class Spool:
    """One open queue. Made on the running loop by `Spool.open`."""

    def __init__(self, folder: Path, *, clock: Clock, disk: Disk) -> None:
        self.folder = folder
        self.bodies = folder / "bodies"
        self._clock = clock
        self._disk = disk
        self._path = folder / "spool.db"
        self._writer = Writer(self._path, self.bodies, disk, rows.insert)
        self._for_delivery = Reader(self._path)
        self._for_pages = Reader(self._path)
        self._for_upkeep = Reader(self._path)
        self._flood = Flood()
        self._flood_timer: asyncio.TimerHandle | None = None
        self.keeping = Keeping()
        self._sealers = ThreadPoolExecutor(max_workers=4, thread_name_prefix="spool-seal")
        self._free = (-1e9, 0)
        self.on_put: Callable[[QueuedMessage], None] = lambda message: None

    @classmethod
    async def open(cls, folder: Path, *, clock: Clock, disk: Disk | None = None) -> "Spool":
        """Open or make the queue in `folder` and sweep bodies that no row refers to.

        Raises sqlite3.Error or OSError when the disk does not let us.
        """
        disk = disk or RealDisk()
        (folder / "bodies").mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.chmod(0o700)  # letters are nobody else's business
        for holder in (folder, folder.parent):  # the first letter is no safer than the folder
            disk.flush_folder(holder)
        spool = cls(folder, clock=clock, disk=disk)
        await spool._sweep()
        return spool

    async def close(self) -> None:
        """Finish what is being written and close."""
        self._write_flood()
        await self._writer.close()
        self._for_delivery.close()
        self._for_pages.close()
        self._for_upkeep.close()
        self._sealers.shutdown()

    # Taking in

    def begin_body(self, queue_id: str) -> BodyFile:
        """A file for a body that is too large for the database. Raises OSError."""
        return BodyFile.begin(self.bodies, queue_id, self._disk)

    async def put(self, *messages: NewMessage) -> list[QueuedMessage]:
        """Make messages durable, all or none. Raises SpoolFailed; then nothing was accepted."""
        if all(message.body_file is None for message in messages):
            try:
                return await self._submit(messages, flush_bodies=False)
            except (sqlite3.Error, OSError) as error:
                raise SpoolFailed(str(error)) from error
        # A task of its own: when the client hangs up while a file is being flushed, the
        # work is finished all the same, and no file is left without an owner.
        return await asyncio.shield(asyncio.create_task(self._put_files(messages)))

    async def _put_files(self, messages: Sequence[NewMessage]) -> list[QueuedMessage]:
        files = {
            message.body_file.name: message.body_file
            for message in messages
            if message.body_file is not None
        }
        try:
            for body in files.values():
                await self._seal(body)
            return await self._submit(messages, flush_bodies=True)
        except (SpoolFailed, sqlite3.Error, OSError) as error:
            for body in files.values():
                body.discard()
            if isinstance(error, SpoolFailed):
                raise
            raise SpoolFailed(str(error)) from error

    def _submit(
        self, messages: Sequence[NewMessage], *, flush_bodies: bool
    ) -> "asyncio.Future[list[QueuedMessage]]":
        return self._writer.put(messages, flush_bodies=flush_bodies, then=self._announce)

    def _announce(self, queued: list[QueuedMessage]) -> None:
        for message in queued:
            self.on_put(message)

    def refused(self, refusals: Sequence[Refusal]) -> None:
        """Write refusals into the ledger; nobody waits for it.

        In a flood of them most are counted only, and written every few seconds.
        """
        own = [refusal for refusal in refusals if self._flood.has_room_for(refusal)]
        if own:
            self._write_aside(lambda batch: rows.insert_refusals(batch, own))
        if self._flood.waiting and self._flood_timer is None:
            loop = asyncio.get_running_loop()
            self._flood_timer = loop.call_later(FLOOD_SECONDS, self._write_flood)

    def _write_flood(self) -> None:
        if self._flood_timer is not None:
            self._flood_timer.cancel()
            self._flood_timer = None
        swells = self._flood.take()
        if swells:
            self._write_aside(lambda batch: flood.write(batch, swells))

    def _write_aside(self, apply: Callable[[Batch], object]) -> None:
        """Write what nobody waits for."""
        future = self._writer.submit(apply)
        future.add_done_callback(lambda done: done.cancelled() or done.exception())

    def has_room(self, wanted_bytes: int, reserve_bytes: int) -> bool:
        """Whether `wanted_bytes` fit above the reserve. The disk is asked once a second."""
        now = self._clock.monotonic()
        asked_at, free = self._free
        if not 0 <= now - asked_at < 1:
            free = self._disk.free_bytes(self.folder)
            self._free = (now, free)
        return free - wanted_bytes >= reserve_bytes

    @property
    def trouble(self) -> str:
        """Why nothing can be written at the moment; empty when all is well."""
        return self._writer.why_failed

    @property
    def commits(self) -> int:
        """Batches flushed since the start."""
        return self._writer.commits

    # Sending out

    async def due(
        self,
        now: datetime,
        *,
        limit: int,
        skip_domains: Iterable[str] = (),
        skip: Collection[int] = (),
    ) -> list[QueuedMessage]:
        """Messages with recipients to be tried now, oldest first; at most `limit` recipients.

        `skip` are recipients already in hand.
        """
        domains, at = tuple(skip_domains), to_seconds(now)
        return await self._for_delivery.ask(
            lambda db: rows.due(db, at, limit, domains, skip, DUE_BODY_BYTES)
        )

    async def next_due(self, now: datetime) -> float | None:
        """The earliest time after `now` of any next attempt, in seconds since 1970."""
        return await self._for_delivery.ask(lambda db: rows.next_due(db, to_seconds(now)))

    async def pull_in(self, now: datetime, longest_pause_seconds: float) -> int:
        """Make due what is put off for longer than any pause: the clock was ahead when that was
        written down, and has been set back since. Raises SpoolFailed.
        """
        at = to_seconds(now)
        return await self._writer.submit(
            lambda batch: rows.pull_in(batch, at, at + longest_pause_seconds)
        )

    async def content(self, message: QueuedMessage) -> AsyncIterator[bytes]:
        """The content in blocks, but for what our trace fields put in front or stand for.

        Raises OSError when the file is gone.
        """
        if message.body is not None:
            yield message.body[message.skip :]
        elif message.body_file:
            source = bodies.blocks(self.bodies / message.body_file, message.skip)
            while block := await asyncio.to_thread(next, source, b""):
                yield block
        else:
            body = await self._for_delivery.ask(lambda db: rows.body(db, message.id))
            yield body[message.skip :]

    async def whole(self, message: QueuedMessage) -> AsyncIterator[bytes]:
        """What goes on the wire: our trace fields, then the content as it came."""
        if message.body is not None:
            yield message.trace + message.body[message.skip :]
            return
        if message.trace:
            yield message.trace
        async for block in self.content(message):
            yield block

    async def head(self, message: QueuedMessage, limit: int = 262_144) -> bytes:
        """The beginning of the content, `limit` octets at most, trace fields included."""
        found = b""
        async for block in self.whole(message):
            found += block
            if len(found) >= limit:
                break
        return found[:limit]

    async def record(
        self,
        message: QueuedMessage,
        outcomes: Sequence[Outcome],
        *,
        reports: Sequence[NewMessage] = (),
        delay_notified: bool = False,
    ) -> list[QueuedMessage]:
        """Put down outcomes, and queue the reports about them, in one transaction.

        A message none of whose recipients is open any more leaves the queue with it. One that was
        deleted meanwhile brings no reports. Returns the reports that were queued.
        Raises SpoolFailed; then nothing was recorded, and the caller must try again.
        """
        now = to_seconds(self._clock.now())
        if departures.is_plain(outcomes) and not reports and not delay_notified:
            left = Departure(message.id, outcomes, now)
            await self._writer.submit(lambda batch: batch.together(departures.put_down, left))
            return []

        def apply(batch: Batch) -> list[QueuedMessage]:
            there = rows.record(batch, message.id, outcomes, now, delay_notified=delay_notified)
            return rows.insert(batch, reports) if there else []

        queued = await self._writer.submit(apply)
        for report in queued:
            self.on_put(report)
        return queued

    # For people

    async def header(self, number: int) -> bytes:
        """The header of message `number`, trace fields included; empty when it is gone."""
        found = await self._for_pages.ask(lambda db: rows.load(db, number, ()))
        if found is None:
            return b""
        try:
            return split_head(await self.head(found))[0]
        except (LookupError, OSError):
            return b""

    async def change(self, apply: Callable[[Batch], T]) -> T:
        """Run one of `queries`' changes. Raises SpoolFailed."""
        return await self._writer.submit(apply)

    async def look(self, ask: Callable[[sqlite3.Connection], T]) -> T:
        """Run one of `queries`' questions, apart from delivery's."""
        return await self._for_pages.ask(ask)

    # Upkeep

    async def tidy(self) -> bool:
        """One short step of giving room back; True when there is more to do."""
        now, kept = to_seconds(self._clock.now()), self.keeping
        return await self._writer.submit(
            lambda batch: ledger.prune(batch, now, kept)
        ) or await self._writer.submit(lambda batch: rows.vacuum(batch, VACUUM_STEP_PAGES))

    async def reconcile(self) -> JSON:
        """Compare queue, ledger and body files; keep the result and return it (FEATURES B2).

        Raises sqlite3.Error, SpoolFailed.
        """
        at = to_seconds(self._clock.now())
        report = await self._for_upkeep.ask(reconcile.compare)
        missing = await asyncio.to_thread(self._missing, report.body_files)
        gone = await self._for_upkeep.ask(lambda db: reconcile.still_named(db, missing))
        found = reconcile.to_json(report, gone, from_seconds(at))
        await self._writer.submit(lambda batch: reconcile.keep(batch, at, found))
        return found

    async def last_reconciliation(self) -> JSON | None:
        """What the last comparison found; None when there was none yet."""
        return await self._for_pages.ask(reconcile.last)

    def _missing(self, names: Iterable[str]) -> list[str]:
        return [name for name in names if not (self.bodies / name).is_file()]

    async def _seal(self, body: BodyFile) -> None:
        loop = asyncio.get_running_loop()
        await asyncio.shield(loop.run_in_executor(self._sealers, body.seal))

    async def _sweep(self) -> None:
        referenced = await self._for_delivery.ask(rows.body_files)
        for path in list(bodies.orphans(self.bodies, referenced)):
            path.unlink()


class Reader:
    """A reading connection with a thread of its own, so that the loop never waits for the disk."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="spool-reader")
        self._db: sqlite3.Connection | None = None

    async def ask(self, question: Callable[[sqlite3.Connection], T]) -> T:
        """The answer to `question`. Raises sqlite3.Error."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._ask, question)

    def close(self) -> None:
        self._thread.shutdown()
        if self._db is not None:
            self._db.close()

    def _ask(self, question: Callable[[sqlite3.Connection], T]) -> T:
        if self._db is None:
            self._db = database.open_for_reading(self._path)
        return question(self._db)
