"""The settings on disk, with their history.

One SQLite database; each change is one transaction with `synchronous=FULL`, so
that a power cut leaves the old settings or the new ones. A revision holds the
whole settings, so that reading needs no replay, and what a change replaced.

Names that this version does not know are kept untouched: after an update is
rolled back, the newer version's settings are still there for the next try.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from appliance.base.clock import Clock
from appliance.base.finding import Refused
from appliance.settings import checks, schema
from appliance.settings.parse import JSON
from appliance.settings.schema import Settings

_TABLE = """
CREATE TABLE IF NOT EXISTS revisions (
    revision INTEGER PRIMARY KEY AUTOINCREMENT,
    at TEXT NOT NULL,
    author TEXT NOT NULL,
    changes TEXT NOT NULL,
    settings TEXT NOT NULL
) STRICT
"""
MAX_REVISIONS = 1000
HIDDEN = "(kept secret)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One line of the history: who changed what, when. `changes` is name to (old, new)."""

    revision: int
    at: datetime
    author: str
    changes: dict[str, tuple[JSON, JSON]]

    def to_json(self) -> dict[str, JSON]:
        """For people: secrets are not shown."""
        secret = {field.name for field in schema.fields() if field.secret}
        return {
            "revision": self.revision,
            "at": self.at.isoformat(),
            "author": self.author,
            "changes": {
                name: [HIDDEN, HIDDEN] if name in secret else list(pair)
                for name, pair in self.changes.items()
            },
        }


class Store:
    """The settings in the database at `path`; the folder must exist.

    Revision 0 is the defaults, before anything was stored. Raises sqlite3.Error
    when the disk fails: the stored settings are then what they were.
    """

    def __init__(self, path: Path, clock: Clock) -> None:
        self._path = path
        self._clock = clock

    def current(self) -> tuple[int, Settings]:
        """The newest revision's number and settings."""
        revision, stored = self._stored()
        return revision, _tolerant(stored)

    def planned(self, changes: Mapping[str, JSON]) -> Settings:
        """What the settings would be with `changes`; nothing is stored.

        Raises Refused for a wrong value or a contradiction between settings.
        """
        _, settings = self.current()
        planned = schema.from_json(changes, base=settings)
        checks.refuse_contradictions(planned)
        return planned

    def commit(
        self, settings: Settings, *, author: str, base_revision: int | None = None
    ) -> tuple[int, tuple[str, ...]]:
        """Store `settings` durably; the new revision and the names that changed.

        When nothing changed, nothing is stored. With `base_revision`, raises Refused
        if somebody else changed the settings since.
        """
        with self._transaction() as database:
            revision, stored = _newest(database)
            if base_revision is not None and base_revision != revision:
                raise Refused.because(
                    "settings.revision",
                    "The settings were changed by somebody else meanwhile.",
                    "Look at the page again, then repeat your change.",
                )
            old, new = schema.to_json(_tolerant(stored)), schema.to_json(settings)
            changes = {name: (old[name], new[name]) for name in new if old[name] != new[name]}
            if not changes:
                return revision, ()
            cursor = database.execute(
                "INSERT INTO revisions (at, author, changes, settings) VALUES (?, ?, ?, ?)",
                (
                    self._clock.now().isoformat(),
                    author,
                    json.dumps(changes),
                    json.dumps({**stored, **new}),
                ),
            )
            database.execute(
                "DELETE FROM revisions WHERE revision <= ?",
                ((cursor.lastrowid or 0) - MAX_REVISIONS,),
            )
            return cursor.lastrowid or 0, tuple(changes)

    def change(
        self, changes: Mapping[str, JSON], *, author: str, base_revision: int | None = None
    ) -> tuple[int, tuple[str, ...]]:
        """Check and store `changes` (name to raw value) in one go, without applying them."""
        return self.commit(self.planned(changes), author=author, base_revision=base_revision)

    def planned_replacement(self, raw: Mapping[str, JSON]) -> Settings:
        """What the settings would be if `raw` were imported: what it does not name is default.

        Secrets that `raw` leaves out are kept, since an export may be made without them.
        """
        _, settings = self.current()
        secrets = {
            field.name: schema.get(settings, field.name)
            for field in schema.fields()
            if field.secret
        }
        planned = schema.from_json({**secrets, **schema.flatten(raw)})
        checks.refuse_contradictions(planned)
        return planned

    def planned_undo(self, revision: int) -> Settings:
        """What the settings would be if the change that made `revision` had not been made."""
        for change in self.history(limit=MAX_REVISIONS):
            if change.revision == revision:
                return self.planned({name: old for name, (old, _) in change.changes.items()})
        raise Refused.because(
            "settings.revision",
            f"There is no change number {revision} in the history.",
            "“pennypost settings history” lists them.",
        )

    def history(self, limit: int = 50) -> list[Change]:
        """The newest changes first."""
        with self._open() as database:
            rows = database.execute(
                "SELECT revision, at, author, changes FROM revisions "
                "ORDER BY revision DESC LIMIT ?",
                (limit,),
            ).fetchall()
        return [
            Change(
                revision=revision,
                at=datetime.fromisoformat(at),
                author=author,
                changes={name: (old, new) for name, (old, new) in json.loads(changes).items()},
            )
            for revision, at, author, changes in rows
        ]

    def _stored(self) -> tuple[int, dict[str, JSON]]:
        with self._open() as database:
            return _newest(database)

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        with closing(sqlite3.connect(self._path, timeout=30, isolation_level=None)) as database:
            database.execute("PRAGMA journal_mode=WAL")
            database.execute("PRAGMA synchronous=FULL")
            database.execute(_TABLE)
            yield database

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._open() as database:
            database.execute("BEGIN IMMEDIATE")
            try:
                yield database
            except BaseException:
                database.execute("ROLLBACK")
                raise
            database.execute("COMMIT")


def _newest(database: sqlite3.Connection) -> tuple[int, dict[str, JSON]]:
    row = database.execute(
        "SELECT revision, settings FROM revisions ORDER BY revision DESC LIMIT 1"
    ).fetchone()
    return (0, {}) if row is None else (row[0], json.loads(row[1]))


def _tolerant(stored: Mapping[str, JSON]) -> Settings:
    """Settings from what is stored, also by another version.

    An unknown name is skipped, and a value that this version does not take falls
    back to the default: a box that does not start for one field helps nobody.
    """
    settings = Settings()
    for name, value in stored.items():
        try:
            settings = schema.from_json({name: value}, base=settings)
        except Refused:
            continue
    return settings
