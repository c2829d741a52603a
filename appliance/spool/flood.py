"""Refusals in a flood: the first ones of a minute have rows, the rest are counted.

A stranger who is refused a thousand times a second must not grow the ledger by a thousand rows.
Of one client (IPv6: of its /64) so many refusals a minute get rows of their own, and of all
clients together so many; what is beyond goes into one row with a count for that client, or for
all that came after the room was used up.
"""

import ipaddress
from collections import Counter
from dataclasses import dataclass, replace

from appliance.spool import rows
from appliance.spool.model import Refusal, to_seconds
from appliance.spool.writer import Batch

ROWS_OF_CLIENT = 20  # a minute
ROWS_OF_ALL = 600  # a minute; also bounds what is remembered
MANY = ""  # the key of those beyond ROWS_OF_ALL

Key = tuple[str, bool]  # network, temporary


@dataclass(slots=True)
class Swell:
    """Refusals that share a row: the first of them, and how many wait to be counted."""

    first: Refusal
    waiting: int = 0
    number: int = 0  # the ledger's, once it is written


class Flood:
    """What was refused in the current minute. Lives on the loop."""

    def __init__(self) -> None:
        self._minute = 0
        self._rows: Counter[str] = Counter()
        self._swells: dict[Key, Swell] = {}
        self._over: list[Swell] = []  # of the minute before, not written yet
        self.waiting = 0

    def has_room_for(self, refusal: Refusal) -> bool:
        """Whether it gets a row; if not it has been counted."""
        minute = int(to_seconds(refusal.at) // 60)
        if minute != self._minute:
            self._over += [swell for swell in self._swells.values() if swell.waiting]
            self._minute, self._rows, self._swells = minute, Counter(), {}
        key = _network(refusal.client)
        if self._rows[key] < ROWS_OF_CLIENT and self._rows.total() < ROWS_OF_ALL:
            self._rows[key] += 1
            return True
        if not self._rows[key]:
            del self._rows[key]
            key = MANY
        swell = self._swells.get((key, refusal.temporary))
        if swell is None:
            swell = Swell(_shared(refusal, key))
            self._swells[(key, refusal.temporary)] = swell
        swell.waiting += 1
        self.waiting += 1
        return False

    def take(self) -> list[tuple[Swell, int]]:
        """What waits to be written: the swells and by how much each has grown."""
        swells = [*self._over, *(swell for swell in self._swells.values() if swell.waiting)]
        found = [(swell, swell.waiting) for swell in swells]
        for swell in swells:
            swell.waiting = 0
        self._over, self.waiting = [], 0
        return found


def write(batch: Batch, grown: list[tuple[Swell, int]]) -> None:
    """Put counts down: on the row of the swell, or as its first row."""
    for swell, by in grown:
        at = to_seconds(swell.first.at)
        if not (swell.number and rows.add_to_refusal(batch, swell.number, by, at)):
            (swell.number,) = rows.insert_refusals(batch, [replace(swell.first, times=by)])


def _shared(refusal: Refusal, key: str) -> Refusal:
    """What a row says that stands for several: only what they have in common."""
    client = refusal.client if key != MANY else ""
    return replace(
        refusal, session="", client=client, mail_from="", recipient="", helo="", steps=""
    )


def _network(client: str) -> str:
    if ":" not in client:
        return client or "?"
    try:
        return str(ipaddress.ip_network((client.partition("%")[0], 64), strict=False))
    except ValueError:
        return client
