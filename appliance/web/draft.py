"""The wizard's answers so far, in web.db.

Two kinds of values: `answers` that were checked, by the name of the setting (and
`administrator.name`, `administrator.password_hash`), and what was `typed` on a page that was
left with an error or half done, so that it stands there again. A password is kept as its hash;
the smarthost's has to be kept as it is until it is applied, then it is forgotten with the rest.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from appliance.web.db import Database

_TYPED = "typed:"


class Draft:
    """All reads see one state: each page's submit is one transaction."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def answers(self) -> dict[str, Any]:
        rows = self._db.read().execute("SELECT name, value FROM draft ORDER BY name").fetchall()
        return {
            row["name"]: json.loads(row["value"])
            for row in rows
            if not row["name"].startswith(_TYPED)
        }

    def typed(self, step: str) -> dict[str, Any] | None:
        """What was typed on a page and not taken yet."""
        row = (
            self._db.read()
            .execute("SELECT value FROM draft WHERE name = ?", (_TYPED + step,))
            .fetchone()
        )
        if row is None:
            return None
        typed: dict[str, Any] = json.loads(row["value"])
        return typed

    def save(self, step: str, answers: Mapping[str, Any]) -> None:
        """Take the answers of a page."""
        with self._db.transaction() as db:
            db.execute("DELETE FROM draft WHERE name = ?", (_TYPED + step,))
            db.executemany(
                "INSERT OR REPLACE INTO draft VALUES (?, ?)",
                [(name, json.dumps(value)) for name, value in answers.items()],
            )

    def keep_typed(self, step: str, typed: Mapping[str, Any]) -> None:
        """Keep what was typed though it can't be taken yet."""
        with self._db.transaction() as db:
            db.execute(
                "INSERT OR REPLACE INTO draft VALUES (?, ?)", (_TYPED + step, json.dumps(typed))
            )

    def clear(self) -> None:
        """Forget everything: the settings hold it now."""
        with self._db.transaction() as db:
            db.execute("DELETE FROM draft")
