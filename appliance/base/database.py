"""The one door to small SQLite files: durable transactions, a connection for each thread."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

BUSY_SECONDS = 15


@contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """All of the block or nothing of it, and nobody else writes meanwhile."""
    db.execute("BEGIN IMMEDIATE")
    try:
        yield db
    except BaseException:
        db.execute("ROLLBACK")
        raise
    db.execute("COMMIT")


class Database:
    """One SQLite file in a folder that only its owner can enter, safe to share between threads.

    `schema` is SQL that may run at every start. A transaction is on stable storage when
    its block has ended; with `durable=False` a power cut may take the last ones back.
    Raises sqlite3.Error when the disk fails: what was stored before is then untouched.
    """

    def __init__(self, path: Path, schema: str, *, durable: bool = True) -> None:
        self._path = path
        self._synchronous = "FULL" if durable else "NORMAL"
        self._local = threading.local()
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with self.transaction() as db:
            for statement in schema.split(";"):
                db.execute(statement)
        path.chmod(0o600)

    def read(self) -> sqlite3.Connection:
        """The connection of this thread, for SELECT. Rows are read by position or by name."""
        db: sqlite3.Connection | None = getattr(self._local, "db", None)
        if db is None:
            db = sqlite3.connect(self._path, timeout=BUSY_SECONDS, isolation_level=None)
            db.row_factory = sqlite3.Row
            db.execute("PRAGMA journal_mode=WAL")
            db.execute(f"PRAGMA synchronous={self._synchronous}")
            self._local.db = db
        return db

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Write alone: of many at once exactly one is inside at a time."""
        with transaction(self.read()) as db:
            yield db
