"""App passwords: one more password of an account, for one program or telephone.

They are made here, never chosen, and shown once: about 99 random bits. So nobody can guess them
and a fast hash does, in the form that Dovecot reads as well (`{SSHA512}`): a check takes no time
and no memory. Whoever loses the telephone removes its password, and the others go on.
They open mail (SMTP, IMAP, POP3) and nothing else.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from appliance.accounts import database, passwords
from appliance.base.clock import Clock
from appliance.base.finding import Refused

SCHEME = "{SSHA512}"
MOST = 5  # of one account
MAX_LABEL_CHARACTERS = 60
_SALT_OCTETS = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class AppPassword:
    """One of them, as it may be shown."""

    id: int
    login: str
    label: str
    made_at: datetime


def make_hash(password: str) -> str:
    """The salted SHA-512 of a made password."""
    salt = secrets.token_bytes(_SALT_OCTETS)
    digest = hashlib.sha512(password.encode() + salt).digest()
    return SCHEME + base64.b64encode(digest + salt).decode()


def any_matches(hashes: Iterable[str], password: str) -> bool:
    """Whether `password` is one of those."""
    fits = [_matches(known, password) for known in hashes]  # all: the time tells nothing
    return any(fits)


def _matches(known: str, password: str) -> bool:
    raw = base64.b64decode(known.removeprefix(SCHEME))
    digest, salt = raw[:64], raw[64:]
    return hmac.compare_digest(digest, hashlib.sha512(password.encode() + salt).digest())


class AppPasswords:
    """The keeper; the file is that of the accounts."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self._path = path
        self._clock = clock

    def of(self, login: str) -> tuple[AppPassword, ...]:
        """Those of one account, the oldest first."""
        sql = "SELECT id, login, label, made_at FROM app_password WHERE login = ? ORDER BY id"
        return tuple(_shown(row) for row in database.select(self._path, sql, (login,)))

    def add(self, login: str, label: str) -> str:
        """A new one; what it is, is known to the caller alone."""
        label = " ".join(label.split())
        if not label or len(label) > MAX_LABEL_CHARACTERS or not label.isprintable():
            raise Refused.because(
                "account.label",
                "An app password needs a name of at most 60 characters.",
                "Write what it is for, such as “Anna's telephone”.",
            )
        made = passwords.generate()
        with database.writing(self._path) as db:
            sql = "SELECT count(*) FROM app_password WHERE login = ?"
            if db.execute(sql, (login,)).fetchone()[0] >= MOST:
                raise Refused.because(
                    "account.label",
                    f"This account has {MOST} app passwords already.",
                    "Remove one that is not used any more.",
                )
            db.execute(
                "INSERT INTO app_password (login, label, hash, made_at) VALUES (?, ?, ?, ?)",
                (login, label, make_hash(made), self._clock.now().timestamp()),
            )
        return made

    def remove(self, login: str, number: int) -> None:
        """It opens nothing any more."""
        with database.writing(self._path) as db:
            db.execute("DELETE FROM app_password WHERE login = ? AND id = ?", (login, number))


def _shown(row: tuple[Any, ...]) -> AppPassword:
    return AppPassword(
        id=row[0], login=row[1], label=row[2], made_at=datetime.fromtimestamp(row[3], UTC)
    )
