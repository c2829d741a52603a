"""Who or what was seen when: small rows by a hash, bounded, written behind.

The mail path only reads; what changes is kept in memory and written by `flush`, in a thread,
every second or so. A kill forgets that second, no more. Beyond `maximum` rows those go first that
were never confirmed, then the oldest.
"""

from __future__ import annotations

import contextlib
import sqlite3
from hashlib import blake2b
from pathlib import Path

from appliance.base.database import Database
from appliance.policy.greylist import Seen

MAX_UNWRITTEN = 20_000
_SCHEMA = """
CREATE TABLE IF NOT EXISTS seen (
    key BLOB PRIMARY KEY, first INTEGER NOT NULL, last INTEGER NOT NULL, passed INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS seen_order ON seen (passed > 0, last)
"""


def key_of(*words: str) -> bytes:
    """A key of 12 octets; that two things share one is less likely than a broken disk."""
    return blake2b("\0".join(words).encode("utf-8", "replace"), digest_size=12).digest()


class SeenStore:
    """Rows by key. Raises sqlite3.Error when opened on a disk that fails."""

    def __init__(self, path: Path, *, maximum: int) -> None:
        self._database = Database(path, _SCHEMA, durable=False)
        self._maximum = maximum
        self._changed: dict[bytes, Seen | None] = {}
        self._in_writing: dict[bytes, Seen | None] = {}

    def get(self, key: bytes) -> Seen | None:
        """What is remembered."""
        for recent in (self._changed, self._in_writing):
            if key in recent:
                return recent[key]
        try:
            row = (
                self._database.read()
                .execute("SELECT first, last, passed FROM seen WHERE key = ?", (key,))
                .fetchone()
            )
        except sqlite3.Error:  # a disk in trouble must not keep mail out
            return None
        return Seen(*row) if row is not None else None

    def put(self, key: bytes, seen: Seen) -> None:
        """Remember; on disk with the next `flush`."""
        self._changed[key] = seen
        if len(self._changed) >= MAX_UNWRITTEN and not self._in_writing:
            with contextlib.suppress(sqlite3.Error):
                self.flush()

    def forget(self, key: bytes) -> None:
        """Remember no more."""
        self._changed[key] = None

    def count(self) -> int:
        """Rows on disk."""
        number: int = self._database.read().execute("SELECT count(*) FROM seen").fetchone()[0]
        return number

    def flush(self) -> None:
        """Write what changed and keep the bound; for a thread, one at a time.

        Raises sqlite3.Error; what could not be written is forgotten, so that memory stays flat.
        """
        if not self._changed:
            return
        self._in_writing, self._changed = self._changed, {}
        try:
            with self._database.transaction() as db:
                self._write(db)
        finally:
            self._in_writing = {}

    def _write(self, db: sqlite3.Connection) -> None:
        changed = list(self._in_writing.items())
        gone = [(key,) for key, seen in changed if seen is None]
        rows = [
            (key, int(seen.first), int(seen.last), seen.passed)
            for key, seen in changed
            if seen is not None
        ]
        db.executemany("DELETE FROM seen WHERE key = ?", gone)
        db.executemany("REPLACE INTO seen VALUES (?, ?, ?, ?)", rows)
        excess = db.execute("SELECT count(*) FROM seen").fetchone()[0] - self._maximum
        if excess > 0:
            db.execute(
                "DELETE FROM seen WHERE key IN"
                " (SELECT key FROM seen ORDER BY passed > 0, last LIMIT ?)",
                (excess,),
            )
