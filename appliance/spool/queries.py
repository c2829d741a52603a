"""What people ask of the queue and do to it (FEATURES Q1 to Q6, B3). SQL and plain JSON types.

Questions run on a reading connection, changes in the writer's batch. The statements are put
together from the constants of this module only; whatever comes from outside is bound.
"""

# ruff: noqa: S608

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

    def where(self) -> tuple[str, list[Any]]:
        """A condition on `messages m` and its values."""
        terms, values = ["1"], []
        if self.ids:
            terms.append(f"m.queue_id IN ({','.join('?' * len(self.ids))})")
            values += list(self.ids)
        if self.search:
            terms.append(
                "(m.queue_id = ? OR instr(lower(ifnull(m.mail_from, '')), ?) > 0 OR EXISTS"
                " (SELECT 1 FROM recipients r WHERE r.message_id = m.id"
                " AND (instr(lower(r.address), ?) > 0 OR instr(lower(r.reply), ?) > 0)))"
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
        "SELECT id, at, recipient, client FROM ledger WHERE queue_id = ? AND fate != ? ORDER BY id",
        (queue_id, Fate.REFUSED),
    ).fetchall():
        found.append({"at": _iso(at), "event": "queued", "recipient": recipient, "client": client})
        found += [
            {
                "at": _iso(tried_at),
                "event": state,
                "recipient": recipient,
                "reason": {"say": say, "reply": reply, "host": host},
                "route": route,
            }
            for tried_at, state, say, reply, host, route in db.execute(
                "SELECT at, state, say, reply, host, route FROM attempts WHERE ledger_id = ?"
                " ORDER BY id",
                (number,),
            )
        ]
    return sorted(found, key=lambda event: str(event["at"]))


def trace(db: sqlite3.Connection, search: str, limit: int = 100) -> list[JSON]:
    """The ledger's rows for a queue id or part of an address, newest first.

    What one accepted message became (`<id>-1`: forwards, copies) comes with it, whichever id is
    given; the address that the sender wrote to is found in the steps.
    """
    words, first = search.lower(), search.upper().partition("-")[0]
    found = db.execute(
        "SELECT at, updated_at, queue_id, client, mail_from, recipient, fate, station, say, reply,"
        " host FROM ledger WHERE queue_id = ? OR queue_id GLOB ? || '-[0-9]*'"
        " OR instr(lower(ifnull(mail_from, '')), ?) > 0 OR instr(lower(recipient), ?) > 0"
        " OR instr(lower(steps), ?) > 0 ORDER BY id DESC LIMIT ?",
        (first, first, words, words, words, max(1, min(limit, MAX_PAGE))),
    )
    names = (
        "at", "updated_at", "id", "client", "mail_from", "recipient", "fate", "station", "say",
        "reply", "host",
    )  # fmt: skip
    return [dict(zip(names, (_iso(row[0]), _iso(row[1]), *row[2:]), strict=True)) for row in found]


def send_now(batch: Batch, selection: Selection, now: float) -> list[int]:
    """Make them due; held ones stay held."""
    numbers = _numbers(batch, selection, "NOT m.held")
    batch.db.executemany(
        "UPDATE recipients SET next_attempt_at = ? WHERE message_id = ?"
        " AND state IN ('queued', 'deferred')",
        [(now, number) for number in numbers],
    )
    return numbers


def hold(batch: Batch, selection: Selection) -> list[int]:
    """Keep them from being tried."""
    numbers = _numbers(batch, selection, "NOT m.held")
    each = [(number,) for number in numbers]
    batch.db.executemany("UPDATE messages SET held = 1 WHERE id = ?", each)
    batch.db.executemany("UPDATE recipients SET next_attempt_at = NULL WHERE message_id = ?", each)
    _fate(batch, numbers, Fate.HELD, "")
    return numbers


def release(batch: Batch, selection: Selection, now: float) -> list[int]:
    """Let held ones go on; they are due at once."""
    numbers = _numbers(batch, selection, "m.held")
    batch.db.executemany(
        "UPDATE messages SET held = 0 WHERE id = ?", [(number,) for number in numbers]
    )
    batch.db.executemany(
        "UPDATE recipients SET next_attempt_at = ? WHERE message_id = ?"
        " AND state IN ('queued', 'deferred')",
        [(now, number) for number in numbers],
    )
    _fate(batch, numbers, Fate.QUEUED, "")
    return numbers


def delete(batch: Batch, selection: Selection, author: str) -> list[tuple[int, str]]:
    """Take them out for good; the ledger says who did it. No report goes to the sender."""
    where, values = selection.where()
    found = batch.db.execute(
        f"SELECT m.id, m.queue_id FROM messages m WHERE {where}", values
    ).fetchall()
    _fate(batch, [number for number, _ in found], Fate.DELETED, author)
    for number, _ in found:
        rows.remove(batch, number)
    return [(number, queue_id) for number, queue_id in found]


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
    where, values = selection.where()
    found = batch.db.execute(f"SELECT m.id FROM messages m WHERE {where} AND {also}", values)
    return [number for (number,) in found.fetchall()]


def _fate(batch: Batch, numbers: Sequence[int], fate: Fate, station: str) -> None:
    batch.db.executemany(
        "UPDATE ledger SET fate = ?, station = ? WHERE id IN (SELECT id FROM recipients"
        " WHERE message_id = ? AND state IN ('queued', 'deferred'))",
        [(fate, station, number) for number in numbers],
    )


def _iso(seconds: float) -> str:
    moment: datetime = from_seconds(seconds)
    return moment.isoformat(timespec="milliseconds")
