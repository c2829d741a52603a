"""When each account signed in last, by which way and from where: one row for each way."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from appliance.base.clock import Clock
from appliance.base.database import Database

SCHEMA = """
CREATE TABLE IF NOT EXISTS log_in (
    login TEXT NOT NULL, way TEXT NOT NULL, at REAL NOT NULL, client TEXT NOT NULL,
    PRIMARY KEY (login, way)) STRICT
"""
WAYS = ("smtp", "imap", "pop3", "sieve")


@dataclass(frozen=True, slots=True, kw_only=True)
class LogIn:
    """The last one by one way."""

    way: str
    at: datetime
    client: str


class LogIns:
    """Kept in a database with the table of SCHEMA; only real accounts get in, so it is bounded."""

    def __init__(self, db: Database, clock: Clock) -> None:
        self._db = db
        self._clock = clock

    def note(self, login: str, way: str, client: str) -> None:
        """Somebody signed in just now."""
        if way not in WAYS:
            return
        now = self._clock.now().timestamp()
        with self._db.transaction() as db:
            db.execute(
                "INSERT OR REPLACE INTO log_in VALUES (?, ?, ?, ?)", (login, way, now, client[:64])
            )

    def of(self, login: str) -> tuple[LogIn, ...]:
        """The ways by which the account has ever signed in, the latest first."""
        sql = "SELECT way, at, client FROM log_in WHERE login = ? ORDER BY at DESC"
        rows = self._db.read().execute(sql, (login,))
        return tuple(
            LogIn(way=way, at=datetime.fromtimestamp(at, UTC), client=client)
            for way, at, client in rows
        )
