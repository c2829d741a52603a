"""What is to become of the mail of accounts that are gone.

The wish is recorded together with the account's end; it is carried out when the mailbox disk is
there (`accounts/homes.py`), step by step, each of which may be done twice: so a power cut, or a
disk that is missing on that day, changes nothing.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any

from appliance.accounts import database

MAX_KEEP_DAYS = 3650


class Fate(StrEnum):
    """What becomes of the mail."""

    KEEP = "keep"  # for some days, where only an administrator gets at it
    HAND_OVER = "hand_over"  # into folders of another mailbox
    ERASE = "erase"


@dataclass(frozen=True, slots=True, kw_only=True)
class Removal:
    """One wish. `aside`: the mail has been taken out of the account's place."""

    id: int
    login: str
    fate: Fate
    heir: str = ""
    erase_at: datetime
    aside: bool = False


def plan_removal(
    db: sqlite3.Connection, login: str, fate: Fate, *, days: int, heir: str, now: datetime
) -> Removal:
    """Record the wish in the caller's transaction."""
    erase_at = now + timedelta(days=days if fate is Fate.KEEP else 0)
    done = db.execute(
        "INSERT INTO removal (login, fate, heir, erase_at, aside) VALUES (?, ?, ?, ?, 0)",
        (login, fate.value, heir, erase_at.timestamp()),
    )
    return Removal(id=done.lastrowid or 0, login=login, fate=fate, heir=heir, erase_at=erase_at)


class Removals:
    """The wishes that are not carried out yet, and the mail that is still kept."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def all(self) -> tuple[Removal, ...]:
        """In the order in which they were made."""
        sql = "SELECT id, login, fate, heir, erase_at, aside FROM removal ORDER BY id"
        return tuple(_removal(row) for row in database.select(self._path, sql))

    def put_aside(self, removal: Removal) -> None:
        """The account's place is empty: a new account may have its name."""
        self._do("UPDATE removal SET aside = 1 WHERE id = ?", removal)

    def done(self, removal: Removal) -> None:
        """Nothing is left to be done."""
        self._do("DELETE FROM removal WHERE id = ?", removal)

    def _do(self, sql: str, removal: Removal) -> None:
        with database.writing(self._path) as db:
            db.execute(sql, (removal.id,))


def _removal(row: tuple[Any, ...]) -> Removal:
    return Removal(
        id=row[0],
        login=row[1],
        fate=Fate(row[2]),
        heir=row[3],
        erase_at=datetime.fromtimestamp(row[4], UTC),
        aside=bool(row[5]),
    )
