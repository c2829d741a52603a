"""Where is my mail? (FEATURES B3) The ledger's rows for a question, with all that happened.

Whatever comes from outside is bound; the statements are made of this module's constants.
"""

# ruff: noqa: S608

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from appliance.spool.model import from_seconds

JSON = Any
MAX_FOUND = 500
MAX_WORDS = 8
CLOCK_SLACK_SECONDS = 3600.0  # numbers rise with time, but the clock may have been set back
_COLUMNS = (
    "id", "at", "updated_at", "queue_id", "client", "helo", "mail_from", "recipient", "fate",
    "station", "say", "reply", "host", "times", "steps",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Question:
    """Who, whom, when. `words` are each looked for in id, addresses and client."""

    words: tuple[str, ...] = ()
    sender: str = ""
    recipient: str = ""
    since: float | None = None  # seconds since 1970
    until: float | None = None
    limit: int = 100

    def where(self) -> tuple[str, list[Any]]:
        """A condition on the ledger and its values."""
        terms: list[str] = ["1"]
        values: list[Any] = []
        for word in self.words[:MAX_WORDS]:
            terms.append(
                "(queue_id = ? OR queue_id GLOB ? || '-[0-9]*' OR instr(lower(steps), ?)"
                " OR instr(lower(ifnull(mail_from, '')), ?)"
                " OR instr(lower(recipient), ?) OR client = ?)"
            )
            first, low = _first_id(word), word.lower()
            values += [first, first, low, low, low, word]
        if self.sender:
            terms.append("instr(lower(ifnull(mail_from, '')), ?)")
            values.append(self.sender.lower())
        if self.recipient:  # the address that was written to is in the steps when it is another
            terms.append("(instr(lower(recipient), ?) OR instr(lower(steps), ?))")
            values += [self.recipient.lower()] * 2
        for comparison, at in ((">=", self.since), ("<=", self.until)):
            if at is not None:
                terms.append(f"at {comparison} ?")
                values.append(at)
        return " AND ".join(terms), values


def ask(db: sqlite3.Connection, question: Question) -> list[JSON]:
    """The rows that answer, newest first, with their steps and attempts."""
    limit = max(1, min(question.limit, MAX_FOUND))
    if len(question.words) == 1 and (found := _of_message(db, question, limit)):
        return found
    return _rows(db, question, "", [], limit)


def _of_message(db: sqlite3.Connection, question: Question, limit: int) -> list[JSON]:
    """By queue id, which has an index; empty when the word is none."""
    first = _first_id(question.words[0])
    also = " AND (queue_id = ? OR queue_id > ? AND queue_id < ?)"
    return _rows(db, question, also, [first, f"{first}-", f"{first}."], limit)


def _first_id(word: str) -> str:
    """What one accepted message became (`<id>-1`: forwards, copies) comes with it, whichever id
    is given."""
    return word.upper().partition("-")[0]


def _rows(
    db: sqlite3.Connection, question: Question, also: str, values: Sequence[Any], limit: int
) -> list[JSON]:
    where, bound = question.where()
    if question.since is not None and not also:
        also, values = " AND id >= ?", [_first_since(db, question.since - CLOCK_SLACK_SECONDS)]
    found = db.execute(
        f"SELECT {', '.join(_COLUMNS)} FROM ledger WHERE {where}{also} ORDER BY id DESC LIMIT ?",
        [*bound, *values, limit],
    ).fetchall()
    return [_item(db, dict(zip(_COLUMNS, row, strict=True))) for row in found]


def _first_since(db: sqlite3.Connection, at: float) -> int:
    """The first row of a time, by halving: there is no index on it."""
    low, high = 0, db.execute("SELECT ifnull(max(id), 0) + 1 FROM ledger").fetchone()[0]
    while low < high:
        middle = (low + high) // 2
        row = db.execute(
            "SELECT id, at FROM ledger WHERE id >= ? ORDER BY id LIMIT 1", (middle,)
        ).fetchone()
        if row is None or row[1] >= at:
            high = middle
        else:
            low = row[0] + 1
    return int(low)


def _item(db: sqlite3.Connection, row: dict[str, Any]) -> JSON:
    number = row.pop("id")
    row["id"] = row.pop("queue_id")
    row["at"], row["updated_at"] = _iso(row["at"]), _iso(row["updated_at"])
    row["steps"] = _steps(row["steps"])
    row["attempts"] = [
        {
            "at": _iso(at), "state": state, "say": say, "reply": reply, "host": host,
            "route": route, "author": author,
        }
        for at, state, say, reply, host, route, author in db.execute(
            "SELECT at, state, say, reply, host, route, author FROM attempts"
            " WHERE ledger_id = ? ORDER BY id",
            (number,),
        )
    ]  # fmt: skip
    return row


def _steps(text: str) -> list[list[str]]:
    """Station, result and reason; nothing when it is not what we write."""
    try:
        found = json.loads(text) if text else []
    except ValueError:
        return []
    if not isinstance(found, list):
        return []
    return [[str(part) for part in step] for step in found if isinstance(step, list)]


def _iso(seconds: float) -> str:
    return from_seconds(seconds).isoformat(timespec="milliseconds")
