"""The parcels that wait for one next hop, in memory, bounded.

Each destination has a line of its own and its own few connections, so that a slow one never
holds up another. What does not fit here waits in the database and is fetched when there is room.
"""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from appliance.relay.reasons import DeliveryTrouble
from appliance.relay.router import Route
from appliance.spool.model import QueuedMessage

MAX_WAITING_PER_DESTINATION = 2_000
MAX_RECIPIENTS_PER_DESTINATION = 2_000
MAX_BODY_BYTES_PER_DESTINATION = 4 * 1024 * 1024
REMEMBERED_RECIPIENTS = 4_096
MAX_WAITING_RECIPIENTS = 5_000
MAX_BODY_BYTES_IN_MEMORY = 16 * 1024 * 1024
MAX_PAUSES = 10_000
LONGEST_PAUSE_SECONDS = 300.0


@dataclass(slots=True)
class Destination:
    """One next hop: what waits for it, and how many connections serve it."""

    route: Route
    waiting: "asyncio.Queue[QueuedMessage | None]" = field(default_factory=asyncio.Queue)
    lanes: int = 0
    idle: int = 0
    connected: int = 0  # lanes with an open connection
    most_lanes: int = 0  # what it bears; 0: not known
    domains: set[str] = field(default_factory=set)  # of the recipients that came since it opened
    waiting_recipients: int = 0
    waiting_bytes: int = 0

    @property
    def is_full(self) -> bool:
        """Whether more for it should stay in the database."""
        return (
            self.waiting.qsize() >= MAX_WAITING_PER_DESTINATION
            or self.waiting_recipients >= MAX_RECIPIENTS_PER_DESTINATION
            or self.waiting_bytes >= MAX_BODY_BYTES_PER_DESTINATION
        )

    def add(self, message: QueuedMessage) -> None:
        """One more parcel for it."""
        self.domains.update(entry.domain for entry in message.recipients)
        self._count(message, 1)
        self.waiting.put_nowait(message)

    def take(self) -> QueuedMessage | None:
        """The next parcel, or the word to go home. Raises asyncio.QueueEmpty."""
        return self._taken(self.waiting.get_nowait())

    async def wait(self) -> QueuedMessage | None:
        """The same, once there is one."""
        return self._taken(await self.waiting.get())

    def _taken(self, message: QueuedMessage | None) -> QueuedMessage | None:
        if message is not None:
            self._count(message, -1)
        return message

    def _count(self, message: QueuedMessage, sign: int) -> None:
        self.waiting_recipients += sign * len(message.recipients)
        self.waiting_bytes += sign * len(message.body or b"")

    def drain(self) -> list[QueuedMessage]:
        """Everything that waits, taken out."""
        found = []
        while not self.waiting.empty():
            message = self.take()
            if message is not None:
                found.append(message)
        return found

    def dismiss(self) -> None:
        """Send the lanes home that wait for work."""
        for _ in range(self.idle):
            self.waiting.put_nowait(None)


@dataclass(slots=True)
class Pause:
    """A next hop that could not be reached, and until when it is left alone."""

    trouble: DeliveryTrouble
    failures: int = 0
    until: float = 0.0  # of the monotonic clock


class Pauses:
    """Next hops that are left alone for a while, longer each time; one success ends it.

    Without that, each of ten thousand messages for a dead host would knock by itself.
    """

    def __init__(self) -> None:
        self._paused: dict[Route, Pause] = {}

    def current(self, route: Route, now: float) -> DeliveryTrouble | None:
        """Why it is left alone at the moment."""
        found = self._paused.get(route)
        return found.trouble if found is not None and now < found.until else None

    def is_doubtful(self, route: Route) -> bool:
        """Whether it failed the last time: then one lane looks first."""
        return route in self._paused

    def failed(
        self, route: Route, trouble: DeliveryTrouble, now: float, retry_seconds: Sequence[int]
    ) -> None:
        """It could not be reached. The pause ends well before the next try of a message that
        has failed as often, so that it is never in that one's way."""
        found = self._paused.pop(route, None) or Pause(trouble)
        if now >= found.until:  # a lane that began before the pause does not lengthen it
            steps = retry_seconds or (60,)
            seconds = steps[min(found.failures, len(steps) - 1)] / 2
            found.until = now + min(seconds, LONGEST_PAUSE_SECONDS)
            found.failures += 1
        found.trouble = trouble
        self._paused[route] = found
        if len(self._paused) > MAX_PAUSES:
            self._paused.pop(next(iter(self._paused)))

    def succeeded(self, route: Route) -> None:
        """It lets us in."""
        self._paused.pop(route, None)

    def clear(self) -> None:
        """Somebody wants it tried now."""
        self._paused.clear()


class Roster:
    """Which recipients are in hand, so that none is tried twice at a time."""

    def __init__(self) -> None:
        self.in_hand: set[int] = set()
        self.body_bytes = 0
        self._of_message: dict[int, int] = {}  # recipients in hand
        self._finished: set[int] | None = None  # since the scan that is under way began
        self._lately: dict[int, None] = {}  # finished, the last few, in their order

    def begin_scan(self) -> frozenset[int]:
        """Who is in hand. From here on remember who is finished: a scan may still show them."""
        self._finished = set()
        return frozenset(self.in_hand)

    def end_scan(self, due: Iterable[QueuedMessage]) -> list[QueuedMessage]:
        """What a scan found, without those in hand or finished meanwhile."""
        stale = self.in_hand | (self._finished or set())
        self._finished = None
        return [kept for message in due if (kept := without(message, stale)) is not None]

    def untouched(self, message: QueuedMessage) -> QueuedMessage | None:
        """A message just put, without those recipients that a scan saw first.

        A scan may read the row before the loop hears of the commit, and be done with it even.
        """
        known = {
            entry.id
            for entry in message.recipients
            if entry.id in self.in_hand or entry.id in self._lately
        }
        return without(message, known) if known else message

    def take(self, message: QueuedMessage) -> None:
        """Its recipients are in hand."""
        self.in_hand.update(entry.id for entry in message.recipients)
        self.body_bytes += len(message.body or b"")
        number = message.id
        self._of_message[number] = self._of_message.get(number, 0) + len(message.recipients)

    def of_message(self, message_id: int) -> int:
        """How many of its recipients are in hand, in all its parcels."""
        return self._of_message.get(message_id, 0)

    def finish(self, message: QueuedMessage) -> None:
        """Its recipients are done with, for now."""
        numbers = {entry.id for entry in message.recipients}
        self.in_hand -= numbers
        if self._finished is not None:
            self._finished |= numbers
        self._lately.update(dict.fromkeys(numbers))
        while len(self._lately) > REMEMBERED_RECIPIENTS:
            del self._lately[next(iter(self._lately))]
        self.body_bytes -= len(message.body or b"")
        left = self._of_message.get(message.id, 0) - len(numbers)
        if left > 0:
            self._of_message[message.id] = left
        else:
            self._of_message.pop(message.id, None)

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
