"""Deliveries put down together: what left during the last flush costs a few statements, not a
few for each message. Runs in the writer's thread.

That is the plain end of nearly all mail: the parcel's recipients were all delivered, and nobody
is to be told. Everything else is `rows.record`'s.
"""

# ruff: noqa: S608  (statements are put together from constants only)

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from appliance.spool import rows
from appliance.spool.model import Fate, Outcome, State
from appliance.spool.writer import Batch

_CHOSEN = "IN (SELECT value FROM json_each(?))"
_OUTCOMES = (
    "SELECT value ->> 0 AS id, value ->> 1 AS at, value ->> 2 AS say, value ->> 3 AS reply,"
    " value ->> 4 AS host, value ->> 5 AS route FROM json_each(?)"
)


@dataclass(frozen=True, slots=True)
class Departure:
    """One parcel that was delivered, at a time in seconds since 1970."""

    message_id: int
    outcomes: Sequence[Outcome]
    at: float


def is_plain(outcomes: Sequence[Outcome]) -> bool:
    """Whether everybody was delivered."""
    return all(outcome.state is State.DELIVERED for outcome in outcomes)


def put_down(batch: Batch, left: Sequence[Departure]) -> None:
    """Attempts and fates into the ledger; messages with nobody left to reach leave the queue."""
    db = batch.db
    outcomes = [(parcel.at, outcome) for parcel in left for outcome in parcel.outcomes]
    found = json.dumps(
        [(o.recipient_id, at, o.say, o.reply, o.host, o.route) for at, o in outcomes]
    )
    db.execute(
        "INSERT INTO attempts (ledger_id, at, state, say, reply, host, route)"
        f" SELECT id, at, '{State.DELIVERED}', say, reply, host, route FROM ({_OUTCOMES})",
        (found,),
    )
    db.execute(
        f"UPDATE ledger SET fate = '{Fate.DELIVERED}', updated_at = left.at, say = left.say,"
        f" reply = left.reply, host = left.host FROM ({_OUTCOMES}) AS left"
        " WHERE ledger.id = left.id",
        (found,),
    )
    messages = {parcel.message_id for parcel in left}
    staying = _with_others(batch, messages, [outcome.recipient_id for _, outcome in outcomes])
    if staying:
        _mark(batch, found)
    rows.remove(batch, *(messages - staying))


def _with_others(batch: Batch, messages: Collection[int], delivered: Sequence[int]) -> set[int]:
    """Those of the messages that have recipients still to be reached."""
    return {
        number
        for (number,) in batch.db.execute(
            f"SELECT DISTINCT message_id FROM recipients WHERE message_id {_CHOSEN}"
            f" AND state IN ('{State.QUEUED}', '{State.DEFERRED}') AND id NOT {_CHOSEN}",
            (json.dumps(list(messages)), json.dumps(delivered)),
        )
    }


def _mark(batch: Batch, found: str) -> None:
    """Delivered, in a message that stays."""
    batch.db.execute(
        f"UPDATE recipients SET state = '{State.DELIVERED}', attempts = attempts + 1,"
        " say = left.say, reply = left.reply, host = left.host, route = left.route,"
        f" next_attempt_at = NULL FROM ({_OUTCOMES}) AS left WHERE recipients.id = left.id",
        (found,),
    )
