"""Relays that break the promise, for the negative controls: a test that cannot fail proves nothing.

BROKEN=early-250     says 250 before the commit, which comes a little later
BROKEN=no-flush      commits without flushing
BROKEN=no-file-flush     does not flush a large message's file
BROKEN=no-folder-flush   does not flush the folder that holds its name
BROKEN=nobody-gives-way  is full when it is full
BROKEN=no-reserve    writes until the disk is really full
BROKEN=looks-in-the-loop  lets all sessions wait while it looks into a message
BROKEN=leaks         keeps an open file and some memory of each message
BROKEN=none          keeps it

With CHECKPOINT_PAGES the log is folded into the database so often; DRAIN_SECONDS is the patience
at the end; the wall clock is ahead by as many seconds as the file CLOCK_AHEAD says.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from appliance.base.clock import SystemClock
from appliance.policy import attachments, mime_shape
from appliance.relay import main, session
from appliance.spool import database
from appliance.spool.bodies import RealDisk
from appliance.spool.model import NewMessage, QueuedMessage
from appliance.spool.store import Spool
from appliance.spool.writer import Writer


def say_250_early() -> None:
    """The promise is kept only if nothing happens for the next moments."""

    def put(self: Writer, messages: Sequence[NewMessage], **_: object) -> asyncio.Future[Any]:
        future: asyncio.Future[Any] = self._loop.create_future()
        future.set_result([])

        def late(batch: Any) -> Any:
            time.sleep(0.05)
            return self._insert(batch, messages)

        self.submit(late)
        return future

    Writer.put = put  # type: ignore[method-assign]


def do_not_flush() -> None:
    """As fast as can be, until the power fails."""

    def open_for_writing(path: Path) -> sqlite3.Connection:
        opened = real(path)
        opened.execute("PRAGMA synchronous=OFF")
        return opened

    real = database.open_for_writing
    database.open_for_writing = open_for_writing


def do_not_flush_files() -> None:
    """The name is there, the content may not be."""
    RealDisk.flush_file = lambda self, descriptor: None  # type: ignore[method-assign]


def do_not_flush_folders() -> None:
    """The content is there, the name may not be."""

    def flush_folder(self: RealDisk, path: Path) -> None:
        if path.name != "bodies":
            real(self, path)

    real = RealDisk.flush_folder
    RealDisk.flush_folder = flush_folder  # type: ignore[method-assign]


def let_nobody_give_way() -> None:
    """Whoever came first stays."""
    setattr(session, "least_progress", lambda guests, now: [])  # noqa: B010


def keep_no_reserve() -> None:
    """The tests of a full disk want to get there."""
    Spool.has_room = lambda self, wanted_bytes, reserve_bytes: True  # type: ignore[method-assign]


def look_in_the_loop() -> None:
    """What is heavy is done beside no one."""

    async def at_once(work: Callable[..., Any], *words: Any) -> Any:
        return work(*words)

    for module in (attachments, mime_shape):
        module.asyncio = SimpleNamespace(to_thread=at_once)  # type: ignore[attr-defined]


def leak() -> None:
    """Goes unnoticed for a day."""

    async def put(self: Spool, *messages: NewMessage) -> list[QueuedMessage]:
        kept.append((os.open("/dev/null", os.O_RDONLY), bytearray(os.urandom(30_000))))
        return await real(self, *messages)

    kept: list[object] = []
    real = Spool.put
    Spool.put = put  # type: ignore[method-assign]


def go_by(file: Path) -> None:
    """A wall clock that somebody else sets."""

    def now(self: SystemClock) -> datetime:
        return datetime.now(UTC) + timedelta(seconds=float(file.read_text()))

    SystemClock.now = now  # type: ignore[method-assign]


WAYS: dict[str, Callable[[], None]] = {
    "early-250": say_250_early,
    "no-flush": do_not_flush,
    "no-file-flush": do_not_flush_files,
    "no-folder-flush": do_not_flush_folders,
    "nobody-gives-way": let_nobody_give_way,
    "no-reserve": keep_no_reserve,
    "looks-in-the-loop": look_in_the_loop,
    "leaks": leak,
    "none": lambda: None,
}

if __name__ == "__main__":
    for way in os.environ["BROKEN"].split(","):
        WAYS[way]()
    if "CHECKPOINT_PAGES" in os.environ:
        database.PAGES_BETWEEN_CHECKPOINTS = int(os.environ["CHECKPOINT_PAGES"])
    if "CLOCK_AHEAD" in os.environ:
        go_by(Path(os.environ["CLOCK_AHEAD"]))
    main.DRAIN_SECONDS = int(os.environ.get("DRAIN_SECONDS", main.DRAIN_SECONDS))
    main.main()
