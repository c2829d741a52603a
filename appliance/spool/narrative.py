"""What became of a message, in plain sentences: one for each thing that happened. Pure.

A sentence is a pattern with values, so that the pages can say it in their language; the CLI
takes `Told.text`. Where a value is itself a sentence of the catalogue its name is `reason`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

JSON = Any

RECEIVED = "Received from %(client)s (%(helo)s): %(sender)s to %(recipient)s."
RECEIVED_HERE = "Written by the box itself to %(recipient)s."
STEP = "Station “%(station)s” noted: %(result)s. %(why)s"
REFUSED = "Refused: %(sender)s to %(recipient)s, from %(client)s (%(helo)s)."
PUT_OFF = (
    "Put off, asked to come back later: %(sender)s to %(recipient)s, from %(client)s (%(helo)s)."
)
TURNED_AWAY = "A connection from %(client)s was turned away."
DECIDED = "The check “%(check)s” decided it: %(why)s"
TOLD = "The other side was told: %(reply)s"
REFUSED_MORE = (
    "%(times)s more attempts from %(client)s were refused at about the same time; such a flood is "
    "counted, not listed. The check “%(check)s” decided the first: %(why)s"
)
DELIVERED = "Handed to %(host)s."
DELIVERED_SAID = "Handed to %(host)s, which said: %(reply)s"
TRIED = "Tried, without success: %(reason)s"
TRIED_AT = "Tried at %(host)s, without success: %(reason)s"
TRIED_SAID = "Tried at %(host)s, without success: %(reason)s It said: %(reply)s"
BOUNCED = "Given up and reported to the sender: %(reason)s"
BOUNCED_SAID = "Given up and reported to the sender: %(reason)s %(host)s said: %(reply)s"
HELD = "Held by %(author)s."
RELEASED = "Released by %(author)s."
SENT_NOW = "Told to be tried at once, by %(author)s."
DELETED = "Deleted by %(author)s. Its sender was not told."
NOT_TRIED = "It waits for its first try."
WAITS = "It waits for its next try."
IS_HELD = "It is held, and waits until somebody releases it."
IS_QUARANTINED = "It is held for an administrator to look at."
SOMEBODY = "somebody"
NOBODY = "<>"
MANY_CLIENTS = "many addresses"

SENTENCES: tuple[str, ...] = (
    RECEIVED, RECEIVED_HERE, STEP, REFUSED, PUT_OFF, TURNED_AWAY, DECIDED, TOLD, REFUSED_MORE,
    DELIVERED, DELIVERED_SAID, TRIED, TRIED_AT, TRIED_SAID, BOUNCED, BOUNCED_SAID, HELD,
    RELEASED, SENT_NOW, DELETED, NOT_TRIED, WAITS, IS_HELD, IS_QUARANTINED, SOMEBODY,
    MANY_CLIENTS,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Told:
    """One sentence. `at` is ISO 8601; empty for what is so now."""

    at: str
    pattern: str
    values: Mapping[str, str] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """In English."""
        return (self.pattern % self.values).rstrip() if self.values else self.pattern

    def to_json(self) -> JSON:
        return {"at": self.at, "say": self.text}


def story(item: Mapping[str, JSON]) -> list[Told]:
    """The sentences of one row of the trace, in the order of time; never empty."""
    if item["fate"] in ("refused", "put off"):
        return list(_refused(item))
    return [_received(item), *_steps(item), *map(_attempt, item["attempts"]), *_now(item)]


def _who(item: Mapping[str, JSON]) -> dict[str, str]:
    return {
        "client": str(item["client"] or MANY_CLIENTS),
        "helo": str(item["helo"] or "?"),
        "sender": str(item["mail_from"] or NOBODY),
        "recipient": str(item["recipient"] or "?"),
    }


def _refused(item: Mapping[str, JSON]) -> Iterator[Told]:
    at, who = str(item["at"]), _who(item)
    decided = {"check": str(item["station"]), "why": str(item["say"])}
    if not item["id"]:  # it stands for a flood (spool.flood)
        yield Told(at, REFUSED_MORE, {**who, **decided, "times": str(item["times"])})
        return
    pattern = PUT_OFF if item["fate"] == "put off" else REFUSED
    yield Told(at, pattern if item["recipient"] or item["mail_from"] else TURNED_AWAY, who)
    yield from _steps(item)
    yield Told(at, DECIDED, decided)
    if item["reply"]:
        yield Told(at, TOLD, {"reply": str(item["reply"])})


def _received(item: Mapping[str, JSON]) -> Told:
    at = str(item["at"])
    if not item["client"]:
        return Told(at, RECEIVED_HERE, {"recipient": str(item["recipient"])})
    return Told(at, RECEIVED, _who(item))


def _steps(item: Mapping[str, JSON]) -> Iterator[Told]:
    for step in item["steps"]:
        station, result, why = [*step, "", "", ""][:3]
        yield Told(str(item["at"]), STEP, {"station": station, "result": result, "why": why})


def _attempt(tried: Mapping[str, JSON]) -> Told:
    values = {
        "host": str(tried["host"] or tried["route"] or "?"),
        "reply": str(tried["reply"]),
        "reason": str(tried["say"]),
        "author": str(tried["author"] or SOMEBODY),
    }
    return Told(str(tried["at"]), _pattern(tried), values)


def _pattern(tried: Mapping[str, JSON]) -> str:
    state, reply = tried["state"], bool(tried["reply"])
    if state == "delivered":
        return DELIVERED_SAID if reply else DELIVERED
    if state == "bounced":
        return BOUNCED_SAID if reply else BOUNCED
    by_people = {"held": HELD, "released": RELEASED, "sent now": SENT_NOW, "deleted": DELETED}
    if state in by_people:
        return by_people[state]
    if tried["host"]:
        return TRIED_SAID if reply else TRIED_AT
    return TRIED


def _now(item: Mapping[str, JSON]) -> Iterator[Told]:
    """How it stands, when it has not ended."""
    fate, states = item["fate"], [tried["state"] for tried in item["attempts"]]
    if fate == "held":
        yield Told("", IS_HELD if "held" in states else IS_QUARANTINED)
    elif fate == "deferred":
        yield Told("", WAITS)
    elif fate == "queued":
        yield Told("", WAITS if "deferred" in states else NOT_TRIED)
    elif fate == "deleted" and "deleted" not in states:  # written by an older program
        yield Told(str(item["updated_at"]), DELETED, {"author": item["station"] or SOMEBODY})
