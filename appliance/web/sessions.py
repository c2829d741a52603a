"""Sessions, kept on the server.

The cookie holds 256 random bits and nothing else; the database holds their SHA-256, so who
reads the database can't sign in with it. A session ends after a time without use, after a
time in all, at sign-out, and when the password changes. At sign-in there is a new id
(fixation), and each session has its own CSRF token.

Visitors who have not signed in get a session only when a form needs a CSRF token; of those
there are at most `MAX_VISITORS`, the oldest go first.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import sqlite3
from dataclasses import dataclass

from appliance.base.clock import Clock
from appliance.web.db import Database

MAX_VISITORS = 2000
MAX_SESSIONS_OF_A_USER = 50
VISITOR_SECONDS = 24 * 3600.0
_SEEN_STEP_SECONDS = 30.0  # "last seen" is written at most this often: fewer writes to flash


@dataclass(frozen=True, slots=True)
class Limits:
    idle_seconds: float
    total_seconds: float


@dataclass(frozen=True, slots=True)
class Session:
    """`user` is None until somebody signs in."""

    id_hash: str
    csrf: str
    user: str | None


def hash_of(session_id: str) -> str:
    return hashlib.sha256(session_id.encode()).hexdigest()


class Sessions:
    """All sessions; times come from the wall clock, for they outlive a restart."""

    def __init__(self, db: Database, clock: Clock) -> None:
        self._db = db
        self._clock = clock

    def open(self, *, peer: str, user: str | None = None) -> tuple[str, Session]:
        """Start a session; return the id for the cookie and the session."""
        session_id = secrets.token_urlsafe(32)
        session = Session(hash_of(session_id), secrets.token_urlsafe(32), user)
        now = self._clock.now().timestamp()
        with self._db.transaction() as db:
            db.execute(
                "INSERT INTO session VALUES (?, ?, ?, NULL, ?, ?, ?)",
                (session.id_hash, session.csrf, user, now, now, peer),
            )
            self._prune(db, user)
        return session_id, session

    def _prune(self, db: sqlite3.Connection, user: str | None) -> None:
        keep = MAX_SESSIONS_OF_A_USER if user else MAX_VISITORS
        db.execute(
            "DELETE FROM session WHERE user IS ?1 AND id_hash NOT IN"
            " (SELECT session FROM claim WHERE session IS NOT NULL) AND id_hash NOT IN"
            " (SELECT id_hash FROM session WHERE user IS ?1 ORDER BY seen_at DESC LIMIT ?2)",
            (user, keep),
        )

    def find(
        self, session_id: str, limits: Limits, *, endless: str | None = None
    ) -> Session | None:
        """Return the live session of this id. `endless` names one that has no limits (its hash).

        The claiming session is endless: on a board without a battery the clock jumps by
        months when the first time server answers.
        """
        row = (
            self._db.read()
            .execute("SELECT * FROM session WHERE id_hash = ?", (hash_of(session_id),))
            .fetchone()
        )
        if row is None:
            return None
        now = self._clock.now().timestamp()
        idle = limits.idle_seconds if row["user"] else VISITOR_SECONDS
        total = limits.total_seconds if row["user"] else VISITOR_SECONDS
        over = now - row["seen_at"] > idle or now - row["opened_at"] > total
        if over and row["id_hash"] != endless:
            self.close(row["id_hash"])
            return None
        if abs(now - row["seen_at"]) > _SEEN_STEP_SECONDS:
            with self._db.transaction() as db:
                db.execute(
                    "UPDATE session SET seen_at = ? WHERE id_hash = ?", (now, row["id_hash"])
                )
        return Session(row["id_hash"], row["csrf"], row["user"])

    def close(self, id_hash: str) -> None:
        with self._db.transaction() as db:
            db.execute("DELETE FROM session WHERE id_hash = ?", (id_hash,))

    def close_all(self, user: str, *, but: str = "") -> None:
        """End all sessions of `user` save one: after a new password, and when removed."""
        with self._db.transaction() as db:
            db.execute("DELETE FROM session WHERE user = ? AND id_hash <> ?", (user, but))

    def flash(self, id_hash: str, finding: dict[str, str]) -> None:
        """Leave a finding for the next page of this session."""
        with self._db.transaction() as db:
            db.execute(
                "UPDATE session SET flash = ? WHERE id_hash = ?", (json.dumps(finding), id_hash)
            )

    def take_flash(self, id_hash: str) -> dict[str, str] | None:
        row = (
            self._db.read()
            .execute("SELECT flash FROM session WHERE id_hash = ?", (id_hash,))
            .fetchone()
        )
        if row is None or row["flash"] is None:
            return None
        with self._db.transaction() as db:
            db.execute("UPDATE session SET flash = NULL WHERE id_hash = ?", (id_hash,))
        finding: dict[str, str] = json.loads(row["flash"])
        return finding
