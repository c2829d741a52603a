"""What people ask of the queue and do to it (FEATURES Q1 to Q6). SQL and plain JSON types.

Questions run on a reading connection, changes in the writer's batch. The statements are put
together from the constants of this module only; whatever comes from outside is bound.
"""

# ruff: noqa: S608

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from appliance.spool import rows
from appliance.spool.model import Fate, State, Totals, from_seconds
from appliance.spool.writer import Batch

JSON = Any
MAX_PAGE = 500
_ORDERS = {
    "received_at": "m.received_at",
    "size": "m.size",
    "mail_from": "m.mail_from",
    "next_attempt_at": "(SELECT min(next_attempt_at) FROM recipients WHERE message_id = m.id)",
}


@dataclass(frozen=True, slots=True)
class Selection:
    """Which messages are meant: by id, by words, by state; nothing given means all."""

    ids: tuple[str, ...] = ()
    search: str = ""
    state: str = ""  # queued, deferred, held
    numbers: tuple[int, ...] = ()  # of messages

    def where(self) -> tuple[str, list[Any]]:
        """A condition on `messages m` and its values."""
        terms, values = ["1"], []
        if self.ids:
            terms.append(f"m.queue_id IN ({','.join('?' * len(self.ids))})")
            values += list(self.ids)
        if self.numbers:
            terms.append(f"m.id {_CHOSEN}")
            values.append(json.dumps(self.numbers))
        if self.search:
            # The sender is read from the ledger: the messages' table holds bodies and is large.
            terms.append(
                "m.id IN (SELECT id FROM messages WHERE queue_id = ? UNION"
                " SELECT r.message_id FROM recipients r LEFT JOIN ledger l ON l.id = r.id"
                " WHERE instr(lower(ifnull(l.mail_from, '')), ?) OR instr(lower(r.address), ?)"
                " OR instr(lower(r.reply), ?))"
            )
            words = self.search.lower()
            values += [self.search.upper(), words, words, words]
        if self.state == "held":
            terms.append("m.held")
        elif self.state in (State.QUEUED, State.DEFERRED):
            terms.append(
                "NOT m.held AND EXISTS"
                " (SELECT 1 FROM recipients r WHERE r.message_id = m.id AND r.state = ?)"
            )
            values.append(self.state)
        return " AND ".join(terms), values


def totals(db: sqlite3.Connection) -> Totals:
    """The queue in numbers; reads an index only, so it is quick with 100,000 messages."""
    count, size, held, oldest = db.execute(
        "SELECT count(*), ifnull(sum(size), 0), ifnull(sum(held), 0), min(received_at)"
        " FROM messages INDEXED BY messages_in_numbers"
    ).fetchone()
    deferred = db.execute(
        "SELECT count(DISTINCT message_id) FROM recipients WHERE state = ?", (State.DEFERRED,)
    ).fetchone()[0]
    return Totals(count, size, deferred, held, from_seconds(oldest) if oldest else None)


def listing(
    db: sqlite3.Connection,
    selection: Selection,
    *,
    offset: int = 0,
    limit: int = 50,
    sort: str = "received_at",
) -> JSON:
    """One page of the queue: `{total, items}`. A `-` before the sort key turns the order round."""
    if selection.search:  # looked for once, not for the count and again for the page
        chosen = numbers(db, selection)
        if not chosen:
            return {"total": 0, "items": []}
        selection = Selection(numbers=tuple(chosen))
    where, values = selection.where()
    order = _ORDERS.get(sort.lstrip("-"), _ORDERS["received_at"])
    direction = "DESC" if sort.startswith("-") else "ASC"
    total = db.execute(f"SELECT count(*) FROM messages m WHERE {where}", values).fetchone()[0]
    found = db.execute(
        f"SELECT {_COLUMNS} FROM messages m WHERE {where}"
        f" ORDER BY {order} {direction}, m.id LIMIT ? OFFSET ?",
        [*values, max(0, min(limit, MAX_PAGE)), max(0, offset)],
    ).fetchall()
    return {"total": total, "items": [_item(db, row) for row in found]}


def find(db: sqlite3.Connection, queue_id: str) -> tuple[int, JSON] | None:
    """One message as an item, with its number; None when it is not in the queue."""
    row = db.execute(
        f"SELECT {_COLUMNS} FROM messages m WHERE m.queue_id = ?", (queue_id,)
    ).fetchone()
    return (row[0], _item(db, row)) if row else None


def events(db: sqlite3.Connection, queue_id: str) -> list[JSON]:
    """All that happened to a message, also when it is gone, oldest first."""
    found: list[JSON] = []
    for number, at, recipient, client in db.execute(
        "SELECT id, at, recipient, client FROM ledger WHERE queue_id = ?"
        " AND fate NOT IN (?, ?) ORDER BY id",
        (queue_id, Fate.REFUSED, Fate.PUT_OFF),
    ).fetchall():
        found.append({"at": _iso(at), "event": "queued", "recipient": recipient, "client": client})
        found += [
            {
                "at": _iso(tried_at),
                "event": state,
                "recipient": recipient,
                "reason": {"say": say, "reply": reply, "host": host},
                "route": route,
                "author": author,
            }
            for tried_at, state, say, reply, host, route, author in db.execute(
                "SELECT at, state, say, reply, host, route, author FROM attempts"
                " WHERE ledger_id = ? ORDER BY id",
                (number,),
            )
        ]
    return sorted(found, key=lambda event: str(event["at"]))


def send_now(batch: Batch, selection: Selection, now: float, author: str = "") -> list[int]:
    """Make them due; held ones stay held."""
    numbers = _numbers(batch, selection, "NOT m.held")
    _due(batch, numbers, now)
    _note(batch, numbers, "sent now", now, author)
    return numbers


def hold(batch: Batch, selection: Selection, now: float, author: str = "") -> list[int]:
    """Keep them from being tried."""
    numbers = _numbers(batch, selection, "NOT m.held")
    which = (json.dumps(numbers),)
    batch.db.execute(f"UPDATE messages SET held = 1 WHERE id {_CHOSEN}", which)
    batch.db.execute(
        f"UPDATE recipients SET next_attempt_at = NULL WHERE message_id {_CHOSEN}", which
    )
    _fate(batch, numbers, Fate.HELD, now)
    _note(batch, numbers, Fate.HELD, now, author)
    return numbers


def release(batch: Batch, selection: Selection, now: float, author: str = "") -> list[int]:
    """Let held ones go on; they are due at once."""
    numbers = _numbers(batch, selection, "m.held")
    batch.db.execute(f"UPDATE messages SET held = 0 WHERE id {_CHOSEN}", (json.dumps(numbers),))
    _due(batch, numbers, now)
    _fate(batch, numbers, Fate.QUEUED, now)
    _note(batch, numbers, "released", now, author)
    return numbers


def delete(batch: Batch, selection: Selection, author: str, now: float) -> list[tuple[int, str]]:
    """Take them out for good; the ledger says who did it. No report goes to the sender."""
    where, values = selection.where()
    found = batch.db.execute(
        f"SELECT m.id, m.queue_id FROM messages m WHERE {where}", values
    ).fetchall()
    numbers = [number for number, _ in found]
    _fate(batch, numbers, Fate.DELETED, now, author)
    _note(batch, numbers, Fate.DELETED, now, author)
    rows.remove(batch, *numbers)
    return found


_COLUMNS = "m.id, m.queue_id, m.received_at, m.size, m.held, m.direction, m.mail_from, m.client"


def _item(db: sqlite3.Connection, row: Sequence[Any]) -> JSON:
    number, queue_id, received_at, size, held, direction, mail_from, client = row
    recipients = [
        {
            "address": address,
            "state": state,
            "attempts": attempts,
            "next_attempt_at": _iso(next_at) if next_at is not None else None,
            "reason": {"say": say, "reply": reply, "host": host},
            "route": route,
        }
        for address, state, attempts, next_at, say, reply, host, route in db.execute(
            "SELECT address, state, attempts, next_attempt_at, say, reply, host, route"
            " FROM recipients WHERE message_id = ? ORDER BY id LIMIT 1000",
            (number,),
        )
    ]
    deferred = any(recipient["state"] == State.DEFERRED for recipient in recipients)
    return {
        "id": queue_id,
        "received_at": _iso(received_at),
        "mail_from": mail_from or "",
        "recipients": recipients,
        "size": size,
        "state": "held" if held else "deferred" if deferred else "queued",
        "held": bool(held),
        "direction": direction,
        "client": client,
    }


def _numbers(batch: Batch, selection: Selection, also: str) -> list[int]:
    return numbers(batch.db, selection, also)


def numbers(db: sqlite3.Connection, selection: Selection, also: str = "1") -> list[int]:
    """The messages that are meant, oldest first."""
    where, values = selection.where()
    found = db.execute(
        f"SELECT m.id FROM messages m WHERE {where} AND {also} ORDER BY m.id", values
    )
    return [number for (number,) in found.fetchall()]


_CHOSEN = "IN (SELECT value FROM json_each(?))"
_OPEN_OF_CHOSEN = (
    f"(SELECT id FROM recipients WHERE message_id {_CHOSEN} AND state IN ('queued', 'deferred'))"
)


def _due(batch: Batch, numbers: Sequence[int], now: float) -> None:
    batch.db.execute(
        f"UPDATE recipients SET next_attempt_at = ? WHERE message_id {_CHOSEN}"
        " AND state IN ('queued', 'deferred')",
        (now, json.dumps(numbers)),
    )


def _fate(batch: Batch, numbers: Sequence[int], fate: Fate, now: float, station: str = "") -> None:
    batch.db.execute(
        "UPDATE ledger SET fate = ?, station = ?, updated_at = max(updated_at, ?)"
        f" WHERE id IN {_OPEN_OF_CHOSEN}",
        (fate, station, now, json.dumps(numbers)),
    )


def _note(batch: Batch, numbers: Sequence[int], what: str, now: float, author: str) -> None:
    """Put down who did what, beside the attempts."""
    batch.db.execute(
        "INSERT INTO attempts (ledger_id, at, state, say, reply, host, route, author)"
        f" SELECT id, ?, ?, '', '', '', '', ? FROM {_OPEN_OF_CHOSEN}",
        (now, what, author, json.dumps(numbers)),
    )


def _iso(seconds: float) -> str:
    moment: datetime = from_seconds(seconds)
    return moment.isoformat(timespec="milliseconds")
