"""Who is connected: caps on connections, in all and of one address, and the roll of sessions.

When the house is full, whoever has made least progress gives way to a newcomer: a thousand
connections that say nothing, or drip, keep nobody out. A house full of busy senders stays as it
is, and the newcomer is told to come back.
"""

import asyncio
import heapq
from collections import Counter
from collections.abc import Collection
from typing import Protocol

SLOW_OCTETS_PER_SECOND = 100.0  # over a session's life; who is faster never gives way
NEW_SECONDS = 2.0  # so long nobody is called slow who has begun a message
SHARE_THAT_GIVES_WAY = 50  # one in so many at a time: in a flood not each newcomer costs a look
HURRIED_SECONDS = 60  # the wait for a command while more than half of the places are taken


class Guest(Protocol):
    """A connected session, as the gate sees it."""

    client: str
    since: float  # seconds on the loop's clock

    @property
    def received_octets(self) -> int:
        """What it has sent so far: its progress."""
        ...

    @property
    def may_give_way(self) -> bool:
        """False while a message is being stored, and for those we know."""
        ...

    @property
    def has_begun(self) -> bool:
        """Whether it is in the middle of a message."""
        ...


def least_progress(guests: Collection[Guest], now: float) -> list[Guest]:
    """Those who are to give way, slowest first; none when all get on. Pure.

    A new one that has not begun a message may go too, but only after all the slow ones.
    """
    most = max(1, len(guests) // SHARE_THAT_GIVES_WAY)
    ranked: list[tuple[bool, float, float, int]] = []
    by_number = list(guests)
    for number, guest in enumerate(by_number):
        age = now - guest.since
        is_new = age < NEW_SECONDS
        pace = guest.received_octets / max(age, NEW_SECONDS)
        if pace >= SLOW_OCTETS_PER_SECOND or (is_new and guest.has_begun):
            continue
        if guest.may_give_way:
            ranked.append((is_new, 0.0 if is_new else pace, guest.since, number))
    return [by_number[entry[-1]] for entry in heapq.nsmallest(most, ranked)]


class Gate:
    """Counts sessions in and out. One address must not use up everybody's room."""

    def __init__(self) -> None:
        self.sessions: set[Guest] = set()
        self.is_empty = asyncio.Event()
        self.is_empty.set()
        self._of_address: Counter[str] = Counter()

    def enter(self, guest: Guest, *, total: int, per_address: int) -> bool:
        """Let a session in; False when there is no room for it."""
        if len(self.sessions) >= total or self.has_enough(guest.client, per_address):
            return False
        self.sessions.add(guest)
        self.is_empty.clear()
        self._of_address[guest.client] += 1
        return True

    def has_enough(self, client: str, per_address: int) -> bool:
        """Whether an address has all the connections that one may have."""
        return self._of_address.get(client, 0) >= per_address

    def patience_seconds(self, wanted: float, total: int) -> float:
        """How long a session may say nothing: less when places become scarce."""
        is_scarce = 2 * len(self.sessions) > total
        return min(wanted, HURRIED_SECONDS) if is_scarce else wanted

    def leave(self, guest: Guest) -> None:
        """A session is over; saying so twice does no harm."""
        if guest not in self.sessions:
            return
        self.sessions.remove(guest)
        if not self.sessions:
            self.is_empty.set()
        self._of_address[guest.client] -= 1
        if self._of_address[guest.client] <= 0:
            del self._of_address[guest.client]
