"""DATA/accounts/accounts.db: its tables, and how they are written and read.

    account       login (folded local part, unique), full name, argon2id hash, enabled, since when,
                  a rate and a mailbox size of its own (0: what the settings give to all), language
    app_password  further passwords of an account, for one program each
    removal       what is to become of the mail of accounts that are gone

The steward alone writes. The relay reads, so the file is 0640 and its group may read: that is why
there is no write-ahead log here, whose readers need to write. A power cut may leave a journal that
only a writer can roll back; that happens when `prepare` opens it, at each boot.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from appliance.base.database import BUSY_SECONDS, transaction

_SCHEMA = """
CREATE TABLE IF NOT EXISTS account (
    login TEXT PRIMARY KEY, name TEXT NOT NULL, password_hash TEXT NOT NULL,
    enabled INTEGER NOT NULL, made_at REAL NOT NULL,
    messages_per_hour INTEGER NOT NULL, recipients_per_hour INTEGER NOT NULL,
    quota_bytes INTEGER NOT NULL DEFAULT 0, language TEXT NOT NULL DEFAULT '') STRICT;
CREATE TABLE IF NOT EXISTS app_password (
    id INTEGER PRIMARY KEY, login TEXT NOT NULL, label TEXT NOT NULL, hash TEXT NOT NULL,
    made_at REAL NOT NULL) STRICT;
CREATE INDEX IF NOT EXISTS app_password_by_login ON app_password (login);
CREATE TABLE IF NOT EXISTS removal (
    id INTEGER PRIMARY KEY AUTOINCREMENT, login TEXT NOT NULL, fate TEXT NOT NULL,
    heir TEXT NOT NULL, erase_at REAL NOT NULL, aside INTEGER NOT NULL) STRICT;
"""
# What a file of an earlier version lacks.
_ADDED = {
    "quota_bytes": "ALTER TABLE account ADD COLUMN quota_bytes INTEGER NOT NULL DEFAULT 0",
    "language": "ALTER TABLE account ADD COLUMN language TEXT NOT NULL DEFAULT ''",
}


def prepare(path: Path) -> None:
    """Make the file or bring it up to date. Whose group the folder has may read it."""
    with writing(path) as db:
        for statement in _SCHEMA.split(";"):
            db.execute(statement)
        known = {row[1] for row in db.execute("PRAGMA table_info(account)")}
        for column, statement in _ADDED.items():
            if column not in known:
                db.execute(statement)
    path.chmod(0o640)
    readers = path.parent.stat().st_gid
    if path.stat().st_gid != readers:
        shutil.chown(path, group=readers)


@contextmanager
def writing(path: Path) -> Iterator[sqlite3.Connection]:
    """One transaction; what was written is on stable storage afterwards."""
    with closing(sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None)) as db:
        db.execute("PRAGMA journal_mode=DELETE")
        db.execute("PRAGMA synchronous=EXTRA")  # FULL, and the journal's removal is flushed
        with transaction(db):
            yield db


def select(path: Path, sql: str, values: tuple[object, ...] = ()) -> list[tuple[object, ...]]:
    """For who may only read; nothing when there is no file yet. Raises sqlite3.Error."""
    if not os.path.lexists(path):
        return []
    uri = f"{path.absolute().as_uri()}?mode=ro"
    with closing(sqlite3.connect(uri, uri=True, timeout=BUSY_SECONDS)) as db:
        return list(db.execute(sql, values))
