"""The parcels that wait for one next hop, in memory, bounded.

Each destination has a line of its own and its own few connections, so that a slow one never
holds up another. What does not fit here waits in the database and is fetched when there is room.
"""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from appliance.relay.router import Route
from appliance.spool.model import QueuedMessage

MAX_WAITING_PER_DESTINATION = 500
MAX_WAITING_RECIPIENTS = 5_000
MAX_BODY_BYTES_IN_MEMORY = 16 * 1024 * 1024


@dataclass(slots=True)
class Destination:
    """One next hop: what waits for it, and how many connections serve it."""

    route: Route
    waiting: "asyncio.Queue[QueuedMessage | None]" = field(default_factory=asyncio.Queue)
    lanes: int = 0
    idle: int = 0
    domains: set[str] = field(default_factory=set)  # of the recipients that came since it opened

    @property
    def is_full(self) -> bool:
        """Whether more for it should stay in the database."""
        return self.waiting.qsize() >= MAX_WAITING_PER_DESTINATION

    def add(self, message: QueuedMessage) -> None:
        """One more parcel for it."""
        self.domains.update(entry.domain for entry in message.recipients)
        self.waiting.put_nowait(message)

    def drain(self) -> list[QueuedMessage]:
        """Everything that waits, taken out."""
        found = []
        while not self.waiting.empty():
            message = self.waiting.get_nowait()
            if message is not None:
                found.append(message)
        return found

    def dismiss(self) -> None:
        """Send the lanes home that wait for work."""
        for _ in range(self.idle):
            self.waiting.put_nowait(None)


class Roster:
    """Which recipients are in hand, so that none is tried twice at a time."""

    def __init__(self) -> None:
        self.in_hand: set[int] = set()
        self.body_bytes = 0
        self._finished: set[int] | None = None  # since the scan that is under way began

    def begin_scan(self) -> frozenset[int]:
        """Who is in hand. From here on remember who is finished: a scan may still show them."""
        self._finished = set()
        return frozenset(self.in_hand)

    def end_scan(self, due: Iterable[QueuedMessage]) -> list[QueuedMessage]:
        """What a scan found, without those in hand or finished meanwhile."""
        stale = self.in_hand | (self._finished or set())
        self._finished = None
        return [kept for message in due if (kept := without(message, stale)) is not None]

    def take(self, message: QueuedMessage) -> None:
        """Its recipients are in hand."""
        self.in_hand.update(entry.id for entry in message.recipients)
        self.body_bytes += len(message.body or b"")

    def finish(self, message: QueuedMessage) -> None:
        """Its recipients are done with, for now."""
        numbers = {entry.id for entry in message.recipients}
        self.in_hand -= numbers
        if self._finished is not None:
            self._finished |= numbers
        self.body_bytes -= len(message.body or b"")

    @property
    def is_full(self) -> bool:
        """Whether more should stay in the database."""
        return (
            len(self.in_hand) >= MAX_WAITING_RECIPIENTS
            or self.body_bytes >= MAX_BODY_BYTES_IN_MEMORY
        )


def without(message: QueuedMessage, numbers: set[int]) -> QueuedMessage | None:
    """The message without some recipients; None when nobody is left."""
    kept = tuple(entry for entry in message.recipients if entry.id not in numbers)
    if len(kept) == len(message.recipients):
        return message
    return replace(message, recipients=kept) if kept else None
