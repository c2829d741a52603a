"""The keeper of accounts.db: administrators and API tokens.

    administrator   name (folded, unique), password hash, since when
    token           what opens GET /api/v1/...: only its SHA-256 is kept; a token is 256 random
                    bits, so a slow hash would guard nothing

Every change is one transaction with `synchronous=FULL`: after a power cut an account is there
whole or not at all. Storing the same administrator again changes the password and nothing
else, so that the wizard may repeat it.

Errors: `Refused` (name not allowed, last administrator, unknown); `sqlite3.Error` when the
disk fails.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from appliance.accounts import passwords
from appliance.base.clock import Clock
from appliance.base.database import Database
from appliance.base.finding import Finding, Refused, Result

_SCHEMA = """
CREATE TABLE IF NOT EXISTS administrator (
    name TEXT PRIMARY KEY, password_hash TEXT NOT NULL, created_at REAL NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS token (
    id INTEGER PRIMARY KEY, label TEXT NOT NULL, hash TEXT NOT NULL UNIQUE,
    author TEXT NOT NULL, created_at REAL NOT NULL, used_at REAL) STRICT;
"""
_NAME = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,38}[a-z0-9])?")
TOKEN_PREFIX = "pp_"  # noqa: S105  not a secret: how one recognises a token in a log


@dataclass(frozen=True, slots=True)
class Token:
    """An API token as listed; the token itself is shown once, when it is made."""

    id: int
    label: str
    author: str
    created_at: datetime
    used_at: datetime | None


def _refuse(say: str, fix: str) -> Refused:
    return Refused(Finding(check="account", result=Result.BAD, say=say, fix=fix))


def account_name(text: str) -> str:
    """Fold and check a user name: letters, digits, dot, hyphen, underscore; at most 40."""
    name = text.strip().casefold()
    if not _NAME.fullmatch(name):
        raise _refuse(
            "A user name has 1 to 40 characters: letters a to z, digits, dot, hyphen, underscore.",
            "Choose a name such as anna or a.smith.",
        )
    return name


class Accounts:
    """Administrators and tokens; safe to share between threads (one connection each)."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self._database = Database(path, _SCHEMA)
        self._clock = clock

    # -- administrators ---------------------------------------------------------------

    def administrators(self) -> tuple[str, ...]:
        rows = self._database.read().execute("SELECT name FROM administrator ORDER BY name")
        return tuple(name for (name,) in rows)

    def put_administrator(self, *, name: str, password_hash: str) -> None:
        """Store an administrator, or give an existing one another password."""
        with self._database.transaction() as db:
            db.execute(
                "INSERT INTO administrator VALUES (?, ?, ?)"
                " ON CONFLICT (name) DO UPDATE SET password_hash = excluded.password_hash",
                (account_name(name), password_hash, self._clock.now().timestamp()),
            )

    def remove_administrator(self, name: str) -> None:
        """Remove one; the last one stays, for nobody could sign in any more."""
        with self._database.transaction() as db:
            (others,) = db.execute(
                "SELECT count(*) FROM administrator WHERE name <> ?", (name,)
            ).fetchone()
            if not others:
                raise _refuse(
                    "This is the only administrator.", "Add another one first, then remove it."
                )
            db.execute("DELETE FROM administrator WHERE name = ?", (name,))
            db.execute("DELETE FROM token WHERE author = ?", (name,))

    def check_password(self, name: str, password: str) -> str | None:
        """Return the account's name when the password fits, else None; same time either way."""
        folded = name.strip().casefold()
        row = (
            self._database.read()
            .execute("SELECT password_hash FROM administrator WHERE name = ?", (folded,))
            .fetchone()
        )
        stored = row[0] if row else None
        if not passwords.matches(stored, password):
            return None
        if stored and passwords.needs_new_hash(stored):
            self.put_administrator(name=folded, password_hash=passwords.make_hash(password))
        return folded

    # -- tokens -----------------------------------------------------------------------

    def make_token(self, *, label: str, author: str) -> str:
        """Make an API token and return it; it can't be shown again."""
        text = label.strip()
        if not 1 <= len(text) <= 60:
            raise _refuse("A token needs a name of 1 to 60 characters.", "Say what it is for.")
        token = TOKEN_PREFIX + secrets.token_urlsafe(32)
        with self._database.transaction() as db:
            db.execute(
                "INSERT INTO token (label, hash, author, created_at) VALUES (?, ?, ?, ?)",
                (text, _digest(token), author, self._clock.now().timestamp()),
            )
        return token

    def tokens(self) -> tuple[Token, ...]:
        rows = self._database.read().execute(
            "SELECT id, label, author, created_at, used_at FROM token ORDER BY id"
        )
        return tuple(
            Token(
                id=i, label=label, author=author, created_at=_at(made), used_at=used and _at(used)
            )
            for i, label, author, made, used in rows
        )

    def remove_token(self, token_id: int) -> None:
        with self._database.transaction() as db:
            db.execute("DELETE FROM token WHERE id = ?", (token_id,))

    def check_token(self, token: str) -> str | None:
        """Return the label of the token, or None. Its last use is noted once a minute at most."""
        row = (
            self._database.read()
            .execute("SELECT id, label, used_at FROM token WHERE hash = ?", (_digest(token),))
            .fetchone()
        )
        if row is None:
            return None
        now = self._clock.now().timestamp()
        if row[2] is None or now - row[2] > 60:
            with self._database.transaction() as db:
                db.execute("UPDATE token SET used_at = ? WHERE id = ?", (now, row[0]))
        return str(row[1])


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def _at(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
