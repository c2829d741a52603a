"""The people's accounts: DATA/accounts/accounts.db, written by the steward alone.

    account   login (folded local part, unique), full name, argon2id hash, enabled, since when,
              and a rate of its own (0: what the settings give to all)

The relay reads it, so the file is 0640 and its group may read: that is why there is no write-ahead
log here, whose readers need to write. A power cut may leave a journal that only a writer can roll
back; `Users` does so when it is made, which the steward does at each boot.

Errors: `Refused` (name not allowed, taken, unknown); `sqlite3.Error` when the disk fails.
"""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from appliance.base.clock import Clock
from appliance.base.finding import Finding, Refused, Result

_SCHEMA = """
CREATE TABLE IF NOT EXISTS account (
    login TEXT PRIMARY KEY, name TEXT NOT NULL, password_hash TEXT NOT NULL,
    enabled INTEGER NOT NULL, made_at REAL NOT NULL,
    messages_per_hour INTEGER NOT NULL, recipients_per_hour INTEGER NOT NULL) STRICT
"""
_COLUMNS = "login, name, password_hash, enabled, made_at, messages_per_hour, recipients_per_hour"
_LOGIN = re.compile(r"[a-z0-9_](?:[a-z0-9_-]|\.(?=[a-z0-9_-])){0,63}")
BUSY_SECONDS = 15
MAX_NAME_CHARACTERS = 100
MAX_ACCOUNTS = 10_000
MAX_RATE = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """One account."""

    login: str
    name: str
    password_hash: str = field(repr=False)
    enabled: bool
    made_at: datetime
    messages_per_hour: int
    recipients_per_hour: int


def login_name(text: str) -> str:
    """Fold and check a login: what may stand before the @ of a plain address."""
    login = text.strip().casefold()
    if not _LOGIN.fullmatch(login):
        raise _refuse(
            "login",
            "An account's name has 1 to 64 characters: letters a to z, digits, dot, hyphen, "
            "underscore.",
            "Choose a name such as anna or r.johnson; it becomes the mail address.",
        )
    return login


def full_name(text: str) -> str:
    """Check the name of the person, which may be empty."""
    name = " ".join(text.split())
    if len(name) > MAX_NAME_CHARACTERS or not name.isprintable():
        raise _refuse(
            "name", "A full name has at most 100 characters, on one line.", "Write it shorter."
        )
    return name


class Users:
    """The keeper. Every change is one transaction on stable storage."""

    def __init__(self, path: Path, clock: Clock) -> None:
        """Whose group the folder has may read the file."""
        self._path = path
        self._clock = clock
        with self._writing() as db:
            db.execute(_SCHEMA)
        path.chmod(0o640)
        readers = path.parent.stat().st_gid
        if path.stat().st_gid != readers:
            shutil.chown(path, group=readers)

    def all(self) -> tuple[User, ...]:
        """All accounts by login."""
        return read_users(self._path)

    def get(self, login: str) -> User:
        """Raises Refused when there is none."""
        found = read_user(self._path, login.strip().casefold())
        if found is None:
            raise _refuse("login", "There is no account of this name.", "Look at the list.")
        return found

    def add(
        self,
        login: str,
        *,
        name: str,
        password_hash: str,
        messages_per_hour: int = 0,
        recipients_per_hour: int = 0,
    ) -> User:
        """A new account, which may sign in at once."""
        user = User(
            login=login_name(login),
            name=full_name(name),
            password_hash=password_hash,
            enabled=True,
            made_at=self._clock.now(),
            messages_per_hour=messages_per_hour,
            recipients_per_hour=recipients_per_hour,
        )
        with self._writing() as db:
            (count,) = db.execute("SELECT count(*) FROM account").fetchone()
            if count >= MAX_ACCOUNTS:
                raise _refuse("login", "There are too many accounts.", "Delete one first.")
            try:
                db.execute("INSERT INTO account VALUES (?, ?, ?, ?, ?, ?, ?)", _row(user))
            except sqlite3.IntegrityError as error:
                raise _refuse(
                    "login", "There is an account of this name.", "Choose another name."
                ) from error
        return user

    def edit(
        self,
        login: str,
        *,
        name: str | None = None,
        enabled: bool | None = None,
        password_hash: str | None = None,
        messages_per_hour: int | None = None,
        recipients_per_hour: int | None = None,
    ) -> User:
        """Change what is given. The login stays: it is an address that others know."""
        wanted = {
            "name": None if name is None else full_name(name),
            "enabled": enabled,
            "password_hash": password_hash,
            "messages_per_hour": messages_per_hour,
            "recipients_per_hour": recipients_per_hour,
        }
        user = self.get(login)
        with self._writing() as db:
            for column, value in wanted.items():
                if value is not None:
                    db.execute(
                        f"UPDATE account SET {column} = ? WHERE login = ?",  # noqa: S608  ours
                        (value, user.login),
                    )
        return self.get(login)

    def delete(self, login: str) -> None:
        """Take the account away; mail to it is refused from then on."""
        user = self.get(login)
        with self._writing() as db:
            db.execute("DELETE FROM account WHERE login = ?", (user.login,))

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with closing(sqlite3.connect(self._path, timeout=BUSY_SECONDS, isolation_level=None)) as db:
            db.execute("PRAGMA journal_mode=DELETE")
            db.execute("PRAGMA synchronous=EXTRA")  # FULL, and the journal's removal is flushed
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
            except BaseException:
                db.execute("ROLLBACK")
                raise
            db.execute("COMMIT")


def read_users(path: Path) -> tuple[User, ...]:
    """All accounts, for who may only read; none when there is no file yet.

    Raises sqlite3.Error when it cannot be read.
    """
    return _select(path, f"SELECT {_COLUMNS} FROM account ORDER BY login", ())  # noqa: S608  ours


def read_user(path: Path, login: str) -> User | None:
    """One account, as it is now. Raises sqlite3.Error when the file cannot be read."""
    sql = f"SELECT {_COLUMNS} FROM account WHERE login = ?"  # noqa: S608  our own columns
    return next(iter(_select(path, sql, (login,))), None)


def _select(path: Path, sql: str, values: tuple[str, ...]) -> tuple[User, ...]:
    if not os.path.lexists(path):
        return ()
    with closing(
        sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=BUSY_SECONDS)
    ) as db:
        return tuple(_user(row) for row in db.execute(sql, values))


def _row(user: User) -> tuple[object, ...]:
    return (
        user.login,
        user.name,
        user.password_hash,
        user.enabled,
        user.made_at.timestamp(),
        user.messages_per_hour,
        user.recipients_per_hour,
    )


def _user(row: tuple[str, str, str, int, float, int, int]) -> User:
    return User(
        login=row[0],
        name=row[1],
        password_hash=row[2],
        enabled=bool(row[3]),
        made_at=datetime.fromtimestamp(row[4], UTC),
        messages_per_hour=row[5],
        recipients_per_hour=row[6],
    )


def _refuse(name: str, say: str, fix: str) -> Refused:
    return Refused(Finding(check=f"account.{name}", result=Result.BAD, say=say, fix=fix))
