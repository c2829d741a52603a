"""The people's accounts: see `accounts/database.py` for the file.

Errors: `Refused` (name not allowed, taken, unknown); `sqlite3.Error` when the disk fails.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from appliance.accounts import database
from appliance.accounts.removals import Fate, Removal, plan_removal
from appliance.base.clock import Clock
from appliance.base.finding import Finding, Refused, Result

_COLUMNS = (
    "login, name, password_hash, enabled, made_at, messages_per_hour, recipients_per_hour,"
    " quota_bytes, language,"
    " (SELECT group_concat(hash, char(10)) FROM app_password WHERE login = account.login)"
)
_LOGIN = re.compile(r"[a-z0-9_](?:[a-z0-9_-]|\.(?=[a-z0-9_-])){0,63}")
MAX_NAME_CHARACTERS = 100
MAX_ACCOUNTS = 10_000
MAX_RATE = 100_000
MAX_QUOTA_BYTES = 1 << 50
LANGUAGES = ("", "en", "de")  # empty: the box's


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
    quota_bytes: int = 0
    language: str = ""
    app_hashes: tuple[str, ...] = field(default=(), repr=False)


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
        database.prepare(path)

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
        quota_bytes: int = 0,
        language: str = "",
        enabled: bool = True,
    ) -> User:
        """A new account, which may sign in at once."""
        user = User(
            login=login_name(login),
            name=full_name(name),
            password_hash=password_hash,
            enabled=enabled,
            made_at=self._clock.now(),
            messages_per_hour=messages_per_hour,
            recipients_per_hour=recipients_per_hour,
            quota_bytes=quota_bytes,
            language=language,
        )
        with database.writing(self._path) as db:
            _insert(db, user)
        return user

    def add_all(self, rows: Iterable[tuple[str, str, str, int, str, bool]]) -> None:
        """Many new accounts (login, name, hash, quota, language, enabled): all or none."""
        now = self._clock.now()
        with database.writing(self._path) as db:
            for login, name, password_hash, quota_bytes, language, enabled in rows:
                user = User(
                    login=login_name(login),
                    name=full_name(name),
                    password_hash=password_hash,
                    enabled=enabled,
                    made_at=now,
                    messages_per_hour=0,
                    recipients_per_hour=0,
                    quota_bytes=quota_bytes,
                    language=language,
                )
                _insert(db, user)

    def edit(
        self,
        login: str,
        *,
        name: str | None = None,
        enabled: bool | None = None,
        password_hash: str | None = None,
        messages_per_hour: int | None = None,
        recipients_per_hour: int | None = None,
        quota_bytes: int | None = None,
        language: str | None = None,
    ) -> User:
        """Change what is given. The login stays: it is an address that others know."""
        wanted = {
            "name": None if name is None else full_name(name),
            "enabled": enabled,
            "password_hash": password_hash,
            "messages_per_hour": messages_per_hour,
            "recipients_per_hour": recipients_per_hour,
            "quota_bytes": quota_bytes,
            "language": language,
        }
        user = self.get(login)
        with database.writing(self._path) as db:
            for column, value in wanted.items():
                if value is not None:
                    db.execute(
                        f"UPDATE account SET {column} = ? WHERE login = ?",  # noqa: S608  ours
                        (value, user.login),
                    )
        return self.get(login)

    def delete(
        self, login: str, fate: Fate = Fate.KEEP, *, days: int = 0, heir: str = ""
    ) -> Removal:
        """Take the account away; mail to it is refused from then on.

        What becomes of the mail that is there is recorded in the same transaction.
        """
        user = self.get(login)
        if fate is Fate.HAND_OVER and self.get(heir).login == user.login:
            raise _refuse("heir", "The mail cannot go to the same account.", "Name another one.")
        with database.writing(self._path) as db:
            db.execute("DELETE FROM account WHERE login = ?", (user.login,))
            db.execute("DELETE FROM app_password WHERE login = ?", (user.login,))
            now = self._clock.now()
            return plan_removal(db, user.login, fate, days=days, heir=heir, now=now)


def _insert(db: sqlite3.Connection, user: User) -> None:
    _refuse_while_mail_lies_there(db, user.login)
    (count,) = db.execute("SELECT count(*) FROM account").fetchone()
    if count >= MAX_ACCOUNTS:
        raise _refuse("login", "There are too many accounts.", "Delete one first.")
    try:
        db.execute("INSERT INTO account VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", _row(user))
    except sqlite3.IntegrityError as error:
        raise _refuse(
            "login", "There is an account of this name.", "Choose another name."
        ) from error


def _refuse_while_mail_lies_there(db: sqlite3.Connection, login: str) -> None:
    """The letters of a former account of this name must not become those of a new one."""
    sql = "SELECT 1 FROM removal WHERE login = ? AND aside = 0"
    if db.execute(sql, (login,)).fetchone() is not None:
        raise _refuse(
            "login",
            "The mail of an earlier account of this name has not been put away yet.",
            "Connect the mailbox disk, or choose another name.",
        )


def read_users(path: Path) -> tuple[User, ...]:
    """All accounts, for who may only read; none when there is no file yet.

    Raises sqlite3.Error when it cannot be read.
    """
    sql = f"SELECT {_COLUMNS} FROM account ORDER BY login"  # noqa: S608  our own columns
    return tuple(_user(row) for row in database.select(path, sql))


def read_user(path: Path, login: str) -> User | None:
    """One account, as it is now. Raises sqlite3.Error when the file cannot be read."""
    sql = f"SELECT {_COLUMNS} FROM account WHERE login = ?"  # noqa: S608  our own columns
    return next((_user(row) for row in database.select(path, sql, (login,))), None)


def _row(user: User) -> tuple[object, ...]:
    return (
        user.login,
        user.name,
        user.password_hash,
        user.enabled,
        user.made_at.timestamp(),
        user.messages_per_hour,
        user.recipients_per_hour,
        user.quota_bytes,
        user.language,
    )


def _user(row: tuple[Any, ...]) -> User:
    return User(
        login=row[0],
        name=row[1],
        password_hash=row[2],
        enabled=bool(row[3]),
        made_at=datetime.fromtimestamp(row[4], UTC),
        messages_per_hour=row[5],
        recipients_per_hour=row[6],
        quota_bytes=row[7],
        language=row[8],
        app_hashes=tuple(row[9].split("\n")) if row[9] else (),
    )


def _refuse(name: str, say: str, fix: str) -> Refused:
    return Refused(Finding(check=f"account.{name}", result=Result.BAD, say=say, fix=fix))
