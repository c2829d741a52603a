"""Rows in and out: the SQL behind `store`. Runs in the writer's or a reader's thread."""

# ruff: noqa: S608  (statements are put together from constants only)

import itertools
import json
import sqlite3
from collections.abc import Collection, Sequence
from functools import cache
from typing import Any

from appliance.mail.envelope import Envelope, Recipient
from appliance.spool.model import (
    Fate,
    NewMessage,
    Outcome,
    QueuedMessage,
    QueuedRecipient,
    Refusal,
    State,
    address_from_text,
    from_seconds,
    notify_from_text,
    to_seconds,
)
from appliance.spool.writer import Batch

_FATES = {
    State.QUEUED: Fate.QUEUED,
    State.DEFERRED: Fate.DEFERRED,
    State.DELIVERED: Fate.DELIVERED,
    State.BOUNCED: Fate.BOUNCED,
}
_QUEUED, _HELD = str(Fate.QUEUED), str(Fate.HELD)  # the first is also State.QUEUED's word


def insert(batch: Batch, messages: Sequence[NewMessage]) -> list[QueuedMessage]:
    """New messages with their recipients and their rows in the ledger, in a few statements.

    SQLite numbers rows of one statement one after another: nobody else writes meanwhile.
    """
    if not messages:
        return []
    batch.accepted += [message.queue_id for message in messages]
    first = _insert_rows(batch.db, _NEW_MESSAGE, [_message_row(one) for one in messages])
    numbered = [
        (number, message, recipient, steps)
        for number, message in enumerate(messages, first)
        for recipient, steps in zip(message.envelope.recipients, _steps_of(message), strict=True)
    ]
    entries = [_ledger_row(message, to, steps) for _, message, to, steps in numbered]
    entry = _insert_rows(batch.db, _NEW_ENTRY, entries)
    _insert_rows(
        batch.db,
        _NEW_RECIPIENT,
        [_recipient_row(n, of, one, to) for n, (of, one, to, _) in enumerate(numbered, entry)],
    )
    waiting: dict[int, list[QueuedRecipient]] = {first + n: [] for n in range(len(messages))}
    for number, (of, _, recipient, _) in enumerate(numbered, entry):
        waiting[of].append(QueuedRecipient(id=number, recipient=recipient))
    return [
        _queued(message, number, tuple(waiting[number]))
        for number, message in enumerate(messages, first)
    ]


_NEW_MESSAGE = (
    "messages (queue_id, received_at, size, direction, mail_from, smtputf8, eight_bit, ret, envid,"
    " client, helo, trace, skip, held, no_reports, body_file, body)"
)
_NEW_ENTRY = "ledger (at, updated_at, queue_id, client, helo, mail_from, recipient, fate, steps)"
_NEW_RECIPIENT = (
    "recipients (id, message_id, address, domain, notify, orcpt, state, next_attempt_at)"
)
_ROWS_AT_ONCE = (16, 4, 1)  # few forms, so that each statement is prepared once


def _insert_rows(db: sqlite3.Connection, into: str, rows: Sequence[Sequence[Any]]) -> int:
    """Insert rows; the number of the first one."""
    at, last = 0, 0
    for count in _ROWS_AT_ONCE:
        while len(rows) - at >= count:
            values = list(itertools.chain.from_iterable(rows[at : at + count]))
            last = db.execute(_statement(into, count), values).lastrowid or 0
            at += count
    return last - len(rows) + 1


@cache
def _statement(into: str, count: int) -> str:
    row = ", ".join("?" * (into.count(",") + 1))
    return f"INSERT INTO {into} VALUES " + ", ".join([f"({row})"] * count)


# Flags as numbers and states as plain text: SQLite's module binds those without asking adapters.


def _message_row(message: NewMessage) -> tuple[Any, ...]:
    envelope = message.envelope
    return (
        message.queue_id, to_seconds(message.received_at), message.size, message.direction,
        _sender(envelope), int(envelope.smtputf8), int(envelope.eight_bit), envelope.ret,
        envelope.envid, message.client, message.helo, message.trace, message.skip,
        int(message.held), int(message.no_reports), _body_file(message), message.body,
    )  # fmt: skip


def _ledger_row(message: NewMessage, recipient: Recipient, steps: str) -> tuple[Any, ...]:
    at, fate = to_seconds(message.received_at), _HELD if message.held else _QUEUED
    return (
        at, at, message.queue_id, message.client, message.helo, _sender(message.envelope),
        str(recipient.address), fate, steps,
    )  # fmt: skip


def _recipient_row(
    number: int, message_number: int, message: NewMessage, recipient: Recipient
) -> tuple[Any, ...]:
    return (
        number, message_number, str(recipient.address), recipient.address.domain_key,
        ",".join(recipient.notify), recipient.orcpt, _QUEUED,
        None if message.held else to_seconds(message.received_at),
    )  # fmt: skip


def _queued(
    message: NewMessage, number: int, recipients: tuple[QueuedRecipient, ...]
) -> QueuedMessage:
    return QueuedMessage(
        id=number,
        queue_id=message.queue_id,
        envelope=message.envelope,
        received_at=message.received_at,
        size=message.size,
        trace=message.trace,
        skip=message.skip,
        body_file=_body_file(message),
        body=message.body,
        no_reports=message.no_reports,
        recipients=recipients,
    )


def _sender(envelope: Envelope) -> str | None:
    return None if envelope.mail_from is None else str(envelope.mail_from)


def _body_file(message: NewMessage) -> str:
    return message.body_file.name if message.body_file is not None else ""


def _steps_of(message: NewMessage) -> tuple[str, ...]:
    """The trace for each recipient: its own, or the one for all."""
    if len(message.steps) > 1:
        return message.steps
    return (message.steps or ("",)) * len(message.envelope.recipients)


def insert_refusals(batch: Batch, refusals: Sequence[Refusal]) -> list[int]:
    """Refused attempts, one row each; the rows' numbers."""
    return [_insert_refusal(batch.db, refusal) for refusal in refusals]


def _insert_refusal(db: sqlite3.Connection, refusal: Refusal) -> int:
    at, fate = to_seconds(refusal.at), Fate.PUT_OFF if refusal.temporary else Fate.REFUSED
    number = db.execute(
        "INSERT INTO ledger (at, updated_at, queue_id, client, helo, mail_from, recipient, fate,"
        " station, say, reply, steps, times) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            at, at, refusal.session, refusal.client, refusal.helo, refusal.mail_from,
            refusal.recipient, fate, refusal.check, refusal.why, refusal.reply, refusal.steps,
            refusal.times,
        ),
    ).lastrowid  # fmt: skip
    return number or 0


def add_to_refusal(batch: Batch, number: int, times: int, at: float) -> bool:
    """Count further attempts on a row that stands for several; False when it is gone."""
    found = batch.db.execute(
        "UPDATE ledger SET times = times + ?, updated_at = ? WHERE id = ?", (times, at, number)
    )
    return found.rowcount > 0


def record(
    batch: Batch, message_id: int, outcomes: Sequence[Outcome], now: float, *, delay_notified: bool
) -> bool:
    """Outcomes of one attempt; the message goes when nobody is left to reach.

    False when somebody had deleted it while the attempt was under way.
    """
    there = batch.db.execute("SELECT 1 FROM messages WHERE id = ?", (message_id,)).fetchone()
    for outcome in outcomes:
        _record_one(batch.db, outcome, now)
    if delay_notified:
        batch.db.execute("UPDATE messages SET delay_notified = 1 WHERE id = ?", (message_id,))
    still_open = batch.db.execute(
        "SELECT 1 FROM recipients WHERE message_id = ? AND state IN (?, ?) LIMIT 1",
        (message_id, State.QUEUED, State.DEFERRED),
    ).fetchone()
    if there and not still_open:
        remove(batch, message_id)
    return there is not None


def _record_one(db: sqlite3.Connection, outcome: Outcome, now: float) -> None:
    at, fate = outcome.next_attempt_at, _FATES[outcome.state]
    if outcome.state is State.DEFERRED and _is_held(db, outcome.recipient_id):
        fate = Fate.HELD
    db.execute(
        "UPDATE recipients SET state = ?, attempts = attempts + 1, say = ?, reply = ?, host = ?,"
        " route = ?, next_attempt_at = CASE WHEN (SELECT held FROM messages WHERE id = message_id)"
        " THEN NULL ELSE ? END WHERE id = ?",
        (
            outcome.state, outcome.say, outcome.reply, outcome.host, outcome.route,
            to_seconds(at) if at else None, outcome.recipient_id,
        ),
    )  # fmt: skip
    db.execute(
        "UPDATE ledger SET fate = ?, updated_at = ?, say = ?, reply = ?, host = ?"
        " WHERE id = ? AND (fate != ? OR ?)",  # what was deleted stays so, unless it arrived
        (
            fate, now, outcome.say, outcome.reply, outcome.host,
            outcome.recipient_id, Fate.DELETED, outcome.state is State.DELIVERED,
        ),
    )  # fmt: skip
    db.execute(
        "INSERT INTO attempts (ledger_id, at, state, say, reply, host, route)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        (
            outcome.recipient_id, now, outcome.state, outcome.say, outcome.reply, outcome.host,
            outcome.route,
        ),
    )  # fmt: skip


def _is_held(db: sqlite3.Connection, recipient_id: int) -> bool:
    """Whether somebody held the message while the attempt was under way."""
    row = db.execute(
        "SELECT held FROM messages WHERE id = (SELECT message_id FROM recipients WHERE id = ?)",
        (recipient_id,),
    ).fetchone()
    return bool(row and row[0])


def remove(batch: Batch, *message_ids: int) -> None:
    """Take messages out; their body files go after the commit."""
    db, which = batch.db, (json.dumps(message_ids),)
    chosen = "IN (SELECT value FROM json_each(?))"
    files = db.execute(
        f"SELECT DISTINCT body_file FROM messages WHERE id {chosen} AND body_file != ''", which
    ).fetchall()
    db.execute(f"DELETE FROM recipients WHERE message_id {chosen}", which)
    db.execute(f"DELETE FROM messages WHERE id {chosen}", which)
    batch.unlink_after += [name for (name,) in files if not _shared(db, name)]


def _shared(db: sqlite3.Connection, body_file: str) -> bool:
    """Whether another message has the same body; few messages in the queue have files."""
    query = "SELECT 1 FROM messages WHERE body_file = ? AND body_file != '' LIMIT 1"
    return db.execute(query, (body_file,)).fetchone() is not None


def due(
    db: sqlite3.Connection,
    now: float,
    limit: int,
    skip_domains: Sequence[str],
    skip: Collection[int],
    body_bytes: int = 0,
) -> list[QueuedMessage]:
    """Messages with those of their recipients that are due and not skipped.

    Small bodies come along where it is the first try, `body_bytes` of them in all.
    """
    found = db.execute(
        "SELECT message_id, id, address, notify, orcpt, attempts FROM recipients"
        " WHERE next_attempt_at <= ? AND domain NOT IN (SELECT value FROM json_each(?))"
        " ORDER BY next_attempt_at LIMIT ?",
        (now, json.dumps(list(skip_domains)), limit + len(skip)),
    )
    by_message: dict[int, list[QueuedRecipient]] = {}
    fresh = (row for row in found if row[1] not in skip)
    for message_id, *rest in itertools.islice(fresh, limit):
        by_message.setdefault(message_id, []).append(_recipient(*rest))
    found.close()
    messages: list[QueuedMessage] = []
    for message_id, recipients in by_message.items():
        room = 0 if any(entry.attempts for entry in recipients) else body_bytes
        message = load(db, message_id, tuple(recipients), body_up_to=room)
        if message is not None:
            messages.append(message)
            body_bytes -= len(message.body or b"")
    return messages


def _recipient(number: int, address: str, notify: str, orcpt: str, tries: int) -> QueuedRecipient:
    recipient = Recipient(address_from_text(address), notify_from_text(notify), orcpt)
    return QueuedRecipient(id=number, recipient=recipient, attempts=tries)


def load(
    db: sqlite3.Connection,
    message_id: int,
    recipients: tuple[QueuedRecipient, ...],
    *,
    body_up_to: int = 0,
) -> QueuedMessage | None:
    """A message, with its body if that is no larger; None when it is gone."""
    row: Sequence[Any] | None = db.execute(
        "SELECT queue_id, received_at, size, delay_notified, mail_from, smtputf8, eight_bit, ret,"
        " envid, trace, skip, body_file, no_reports, CASE WHEN size <= ? THEN body END"
        " FROM messages WHERE id = ?",
        (body_up_to, message_id),
    ).fetchone()
    if row is None:
        return None
    queue_id, received_at, size, notified, mail_from, utf8, eight, ret, envid, *rest = row
    trace, skip, file, no_reports, body = rest
    envelope = Envelope(
        None if mail_from is None else address_from_text(mail_from),
        tuple(entry.recipient for entry in recipients),
        smtputf8=bool(utf8),
        eight_bit=bool(eight),
        ret=ret,
        envid=envid,
    )
    return QueuedMessage(
        id=message_id,
        queue_id=queue_id,
        envelope=envelope,
        received_at=from_seconds(received_at),
        size=size,
        trace=trace,
        skip=skip,
        body_file=file,
        body=body,
        delay_notified=bool(notified),
        no_reports=bool(no_reports),
        recipients=recipients,
    )


def next_due(db: sqlite3.Connection, now: float) -> float | None:
    """The earliest next attempt after `now`."""
    row = db.execute(
        "SELECT min(next_attempt_at) FROM recipients WHERE next_attempt_at > ?", (now,)
    ).fetchone()
    return row[0] if row else None


def pull_in(batch: Batch, now: float, latest: float) -> int:
    """Make due what would be tried after `latest` only; how many recipients that are."""
    return batch.db.execute(
        "UPDATE recipients SET next_attempt_at = ? WHERE next_attempt_at > ?", (now, latest)
    ).rowcount


def body(db: sqlite3.Connection, message_id: int) -> bytes:
    """An inline body. Raises LookupError when the message is gone."""
    row = db.execute("SELECT body FROM messages WHERE id = ?", (message_id,)).fetchone()
    if row is None:
        raise LookupError(f"message {message_id} is gone")
    return row[0] or b""


def body_files(db: sqlite3.Connection) -> set[str]:
    """The names of all body files that rows refer to."""
    return {name for (name,) in db.execute("SELECT body_file FROM messages WHERE body_file != ''")}


def vacuum(batch: Batch, pages: int) -> bool:
    """Give free pages back to the file system; True when there are more."""
    free = batch.db.execute("PRAGMA freelist_count").fetchone()[0]
    for _ in range(min(free, pages)):
        # The statement frees one page a step, and Python's module steps it once.
        batch.db.execute("PRAGMA incremental_vacuum(1)").fetchall()
    return bool(free > pages)
