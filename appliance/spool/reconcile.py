"""Does the ledger account for all that was accepted? (FEATURES B2)

Every row that was ever written is there or was pruned or withdrawn; every accepted row has a
known fate; the open ones and only those are in the queue; every body that a message needs is on
the disk. `compare` reads one moment of the database, however much is going on beside it.
"""

# ruff: noqa: S608  (statements are put together from constants only)

import json
import sqlite3
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from appliance.spool.ledger import rows_present
from appliance.spool.model import NEVER_ACCEPTED, OPEN_FATES, Fate, State, from_seconds
from appliance.spool.writer import Batch

JSON = Any
MOST_NAMED = 20
KEEP_REPORTS = 400


def _list(names: Iterable[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)


_OPEN, _REFUSED = _list(OPEN_FATES), _list(NEVER_ACCEPTED)
_WAITING = _list((State.QUEUED, State.DEFERRED))
# What is wrong, and the ids it concerns.
_QUESTIONS: tuple[tuple[str, str], ...] = (
    (
        "A message in the queue has no entry in the ledger.",
        "SELECT m.queue_id FROM recipients r JOIN messages m ON m.id = r.message_id"
        " WHERE NOT EXISTS (SELECT 1 FROM ledger l WHERE l.id = r.id)",
    ),
    (
        "A message waits in the queue, but the ledger says that it has ended.",
        "SELECT l.queue_id FROM recipients r JOIN ledger l ON l.id = r.id"
        f" WHERE r.state IN ({_WAITING}) AND l.fate NOT IN ({_OPEN})",
    ),
    (
        "The ledger says that a message waits, but it is not in the queue.",
        f"SELECT l.queue_id FROM ledger l WHERE l.fate IN ({_OPEN}) AND NOT EXISTS"
        f" (SELECT 1 FROM recipients r WHERE r.id = l.id AND r.state IN ({_WAITING}))",
    ),
    (
        "A message is held in the queue or in the ledger, but not in both.",
        "SELECT m.queue_id FROM messages m JOIN recipients r ON r.message_id = m.id"
        f" JOIN ledger l ON l.id = r.id WHERE r.state IN ({_WAITING}) AND l.fate IN ({_OPEN})"
        f" AND m.held != (l.fate = '{Fate.HELD}')",
    ),
    (
        "A message in the queue has nobody to go to.",
        "SELECT m.queue_id FROM messages m WHERE NOT EXISTS"
        f" (SELECT 1 FROM recipients r WHERE r.message_id = m.id AND r.state IN ({_WAITING}))",
    ),
    (
        "A recipient in the queue has no message.",
        "SELECT ifnull((SELECT queue_id FROM ledger l WHERE l.id = r.id), '#' || r.id)"
        " FROM recipients r WHERE NOT EXISTS (SELECT 1 FROM messages m WHERE m.id = r.message_id)",
    ),
    (
        "An entry of the ledger has a fate that is not known.",
        f"SELECT queue_id FROM ledger WHERE fate NOT IN ({_list(Fate)})",
    ),
)
NOT_YET = "No message has been accepted yet."
ALL_THERE = "All %(n)s messages accepted since %(since)s are accounted for."
DISAGREE = "The books do not agree: %(what)s (%(ids)s)"
ROW_GONE = "Entries of the ledger were removed by hand."
BODY_GONE = "The content of a message in the queue is missing on the disk."
SENTENCES: tuple[str, ...] = (
    NOT_YET, ALL_THERE, DISAGREE, ROW_GONE, BODY_GONE, *(say for say, _ in _QUESTIONS),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Mismatch:
    """One kind of trouble: how often, and the first ids."""

    say: str
    count: int
    ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Report:
    """What the tables say."""

    messages: int
    since: datetime | None
    fates: dict[str, int]  # recipients by fate; of refusals: attempts
    mismatches: tuple[Mismatch, ...]
    body_files: tuple[str, ...]


def compare(db: sqlite3.Connection) -> Report:
    """Ask all questions of one and the same moment. Raises sqlite3.Error."""
    db.execute("BEGIN")
    try:
        return _compare(db)
    finally:
        db.execute("ROLLBACK")


def _compare(db: sqlite3.Connection) -> Report:
    mismatches = [_ask(db, say, query) for say, query in _QUESTIONS]
    mismatches.append(_rows_gone(db))
    messages, since = db.execute(
        f"SELECT count(DISTINCT queue_id), min(at) FROM ledger WHERE fate NOT IN ({_REFUSED})"
    ).fetchone()
    return Report(
        messages=messages,
        since=from_seconds(since) if since is not None else None,
        fates=dict(db.execute("SELECT fate, sum(times) FROM ledger GROUP BY fate").fetchall()),
        mismatches=tuple(found for found in mismatches if found is not None),
        body_files=tuple(
            name for (name,) in db.execute("SELECT body_file FROM messages WHERE body_file != ''")
        ),
    )


def _ask(db: sqlite3.Connection, say: str, query: str) -> Mismatch | None:
    found = db.execute(query).fetchall()
    if not found:
        return None
    ids = dict.fromkeys(queue_id for (queue_id,) in found)
    return Mismatch(say, len(found), tuple(ids)[:MOST_NAMED])


def _rows_gone(db: sqlite3.Connection) -> Mismatch | None:
    """Numbers are given without gaps; what is missing was neither pruned nor withdrawn."""
    there = db.execute("SELECT count(*) FROM ledger").fetchone()[0]
    missing = rows_present(db) - there
    if not missing:
        return None
    (pruned_to,) = db.execute("SELECT number FROM tally WHERE name = 'pruned to'").fetchone()
    gaps = db.execute(
        "WITH here AS (SELECT ? AS id UNION ALL SELECT id FROM ledger WHERE id > ?)"
        " SELECT id + 1 FROM here WHERE id + 1 <="
        " (SELECT seq FROM sqlite_sequence WHERE name = 'ledger')"
        " AND NOT EXISTS (SELECT 1 FROM ledger n WHERE n.id = here.id + 1) LIMIT ?",
        (pruned_to, pruned_to, MOST_NAMED),
    ).fetchall()
    return Mismatch(ROW_GONE, abs(missing), tuple(f"#{number}" for (number,) in gaps))


def still_named(db: sqlite3.Connection, files: Collection[str]) -> Mismatch | None:
    """Body files that were not found and that a message still needs."""
    ids: list[str] = []
    for name in files:
        ids += [
            queue_id
            for (queue_id,) in db.execute(
                "SELECT queue_id FROM messages WHERE body_file = ? AND body_file != ''", (name,)
            )
        ]
    return Mismatch(BODY_GONE, len(ids), tuple(ids[:MOST_NAMED])) if ids else None


def to_json(report: Report, also: Mismatch | None, at: datetime) -> JSON:
    """The whole result, with its sentence."""
    mismatches = [*report.mismatches, *([also] if also else [])]
    refused = sum(report.fates.get(fate, 0) for fate in NEVER_ACCEPTED)
    found = {
        "at": at.isoformat(timespec="seconds"),
        "ok": not mismatches,
        "messages": report.messages,
        "recipients": sum(report.fates.values()) - refused,
        "refused": refused,
        "since": report.since.isoformat(timespec="seconds") if report.since else None,
        "fates": report.fates,
        "mismatches": [
            {"say": entry.say, "count": entry.count, "ids": list(entry.ids)} for entry in mismatches
        ],
    }
    return {**found, "say": sentence(found)}


def sentence(found: JSON) -> str:
    """The result in one sentence."""
    if not found["ok"]:
        entry = found["mismatches"][0]
        return DISAGREE % {"what": entry["say"], "ids": ", ".join(entry["ids"]) or "?"}
    if not found["messages"]:
        return NOT_YET
    return ALL_THERE % {"n": f"{found['messages']:,}", "since": str(found["since"])[:10]}


def keep(batch: Batch, at: float, found: JSON) -> None:
    """Store a result; the oldest make room."""
    batch.db.execute(
        "INSERT INTO reconciliations (at, mismatches, report) VALUES (?, ?, ?)",
        (at, len(found["mismatches"]), json.dumps(found, ensure_ascii=False)),
    )
    batch.db.execute(
        "DELETE FROM reconciliations WHERE id <= (SELECT max(id) FROM reconciliations) - ?",
        (KEEP_REPORTS,),
    )


def last(db: sqlite3.Connection) -> JSON | None:
    """The latest result."""
    row = db.execute("SELECT report FROM reconciliations ORDER BY id DESC LIMIT 1").fetchone()
    return json.loads(row[0]) if row else None
