"""How long the ledger is kept, and how large it may grow.

Rows leave it oldest first, in short steps of the writer, and never while their message is in the
queue. When it is too large and more than half of it are refusals, those go first: a stranger who
is refused day and night must not push out what became of accepted mail.
"""

# ruff: noqa: S608  (statements are put together from constants only)

import json
import sqlite3
from dataclasses import dataclass

from appliance.spool.model import NEVER_ACCEPTED, OPEN_FATES
from appliance.spool.writer import Batch

STEP_ROWS = 1_000
SAMPLE_ROWS = 500
# What a row costs beside its texts, indexes included; measured by test_ledger.
ROW_BYTES, ATTEMPT_BYTES = 90, 60
_ENDED = f"fate NOT IN ({', '.join(repr(str(fate)) for fate in OPEN_FATES)})"
_REFUSED = f"fate IN ({', '.join(repr(str(fate)) for fate in NEVER_ACCEPTED)})"


@dataclass(frozen=True, slots=True)
class Keeping:
    """The settings `queue.ledger_days` and `queue.ledger_bytes`."""

    days: int = 90
    bytes: int = 512 * 1024 * 1024


def prune(batch: Batch, now: float, keeping: Keeping) -> bool:
    """One step of forgetting; True when there is more to forget."""
    old = _too_old(batch.db, now - keeping.days * 86_400)
    if not old and size(batch.db) > keeping.bytes:
        old = _oldest(batch.db)
    if not old:
        return False
    which = (json.dumps(old),)
    chosen = "IN (SELECT value FROM json_each(?))"
    batch.db.execute(f"DELETE FROM attempts WHERE ledger_id {chosen}", which)
    gone = batch.db.execute(f"DELETE FROM ledger WHERE id {chosen}", which).rowcount
    batch.db.execute("UPDATE tally SET number = number + ? WHERE name = 'pruned'", (gone,))
    batch.db.execute(
        "UPDATE tally SET number = max(number, ?) WHERE name = 'pruned to'", (max(old),)
    )
    return True


def rows_present(db: sqlite3.Connection) -> int:
    """How many rows there should be, without counting them."""
    row = db.execute(
        "SELECT ifnull((SELECT seq FROM sqlite_sequence WHERE name = 'ledger'), 0)"
        " - (SELECT ifnull(sum(number), 0) FROM tally WHERE name IN ('pruned', 'withdrawn'))"
    ).fetchone()
    return max(int(row[0]), 0)


def size(db: sqlite3.Connection) -> int:
    """About how many octets the ledger takes on disk, from its youngest and oldest rows."""
    tries = db.execute("SELECT count(*) FROM attempts").fetchone()[0]
    return int(
        rows_present(db) * (_average(db, "ledger", _LEDGER_TEXTS) + ROW_BYTES)
        + tries * (_average(db, "attempts", _ATTEMPT_TEXTS) + ATTEMPT_BYTES)
    )


_LEDGER_TEXTS = (
    "2 * length(queue_id) + length(client) + length(helo) + ifnull(length(mail_from), 0)"
    " + length(recipient) + length(fate) + length(station) + length(say) + length(reply)"
    " + length(host) + length(steps)"
)
_ATTEMPT_TEXTS = (
    "length(state) + length(say) + length(reply) + length(host) + length(route) + length(author)"
)


def _average(db: sqlite3.Connection, table: str, texts: str) -> float:
    row = db.execute(
        f"SELECT avg(n) FROM (SELECT {texts} AS n FROM"
        f" (SELECT * FROM {table} ORDER BY id DESC LIMIT {SAMPLE_ROWS})"
        f" UNION ALL SELECT {texts} FROM (SELECT * FROM {table} ORDER BY id LIMIT {SAMPLE_ROWS}))"
    ).fetchone()
    return float(row[0] or 0)


def _too_old(db: sqlite3.Connection, oldest: float) -> list[int]:
    """Ended rows from before `oldest`. Numbers rise with time: the first young row ends it."""
    found: list[int] = []
    query = f"SELECT id, at, updated_at, {_ENDED} FROM ledger ORDER BY id"
    for number, at, updated_at, ended in db.execute(query):
        if at >= oldest or len(found) >= STEP_ROWS:
            break
        if ended and updated_at < oldest:
            found.append(number)
    return found


def _oldest(db: sqlite3.Connection) -> list[int]:
    """The oldest ended rows; refusals when they are more than half of all."""
    refused = db.execute(f"SELECT count(*) FROM ledger WHERE {_REFUSED}").fetchone()[0]
    where, order = (_REFUSED, "at") if 2 * refused > rows_present(db) else (_ENDED, "id")
    return [
        number
        for (number,) in db.execute(
            f"SELECT id FROM ledger WHERE {where} ORDER BY {order} LIMIT {STEP_ROWS}"
        )
    ]
