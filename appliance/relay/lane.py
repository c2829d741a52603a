"""One connection to one destination, and the messages that go over it."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from appliance.relay import outcome, targets
from appliance.relay.clerk import Clerk
from appliance.relay.destinations import Destination, Pauses, Roster
from appliance.relay.protection import Protection
from appliance.relay.reasons import DeliveryTrouble, Say
from appliance.relay.shop import Shop
from appliance.relay.smtp_out import Connection, Parcel, Patience, Result
from appliance.relay.targets import IsOwn, Target
from appliance.spool import schedule
from appliance.spool.model import QueuedMessage

IDLE_SECONDS = 2.0  # a connection is kept this long for a next message
LAST_RECORD_SECONDS = 5.0
NEXT_ADDRESS_SECONDS = 10.0  # an address with another behind it is given no longer
DEAF_SECONDS = 600.0  # an address that did not answer comes last for so long
MAX_DEAF = 10_000


@dataclass(slots=True)
class Office:
    """What the lanes share."""

    shop: Shop
    roster: Roster
    slots: asyncio.Semaphore
    clerk: Clerk
    protection: Protection
    pauses: Pauses
    is_own: IsOwn
    let_in: Callable[[Destination], None]
    cafile: str = ""
    deaf: dict[str, float] = field(default_factory=dict)  # addresses, until when

    def in_order(self, found: Sequence[Target]) -> list[Target]:
        """Those that did not answer lately come last: a family that is cut off costs one
        time-out, not one a connection."""
        now = self.shop.clock.monotonic()
        return sorted(found, key=lambda target: self.deaf.get(target.address, 0.0) > now)

    def did_not_answer(self, target: Target) -> None:
        """Remember that."""
        if len(self.deaf) >= MAX_DEAF:
            self.deaf.pop(next(iter(self.deaf)))
        self.deaf[target.address] = self.shop.clock.monotonic() + DEAF_SECONDS


class Lane:
    """See the module's text."""

    def __init__(self, office: Office, destination: Destination) -> None:
        self._office = office
        self._shop = office.shop
        self._destination = destination
        self._connection: Connection | None = None
        self._recording: asyncio.Task[None] | None = None
        self._is_connected = False
        self._is_turned_away = False

    async def run(self) -> None:
        """Send until nothing has come for a while."""
        message: QueuedMessage | None = None
        try:
            while not self._is_turned_away and (message := await self._next()) is not None:
                await self._send(message)
                message = None
            await self._recorded()
        finally:
            if message is not None:
                self._office.roster.finish(message)
            if self._recording is not None and not self._recording.done():
                await asyncio.wait({self._recording}, timeout=LAST_RECORD_SECONDS)
            await self._hang_up()

    async def _next(self) -> QueuedMessage | None:
        destination = self._destination
        if destination.waiting.empty():
            if self._connection is None or self._office.slots.locked():  # others wait for a place
                return None
            destination.idle += 1
            try:
                async with asyncio.timeout(IDLE_SECONDS):
                    return await destination.wait()
            except TimeoutError:
                return None
            finally:
                destination.idle -= 1
        return destination.take()

    async def _send(self, message: QueuedMessage) -> None:
        if self._connection is None and await self._is_left_alone(message):
            return
        try:
            connection = await self._connected()
        except DeliveryTrouble as trouble:
            await self._nobody_home(message, trouble)
            return
        results = await self._attempt(connection, message)
        # Nothing is awaited between the results and the task that records them.
        self._recording = asyncio.create_task(
            self._office.clerk.finish(
                message, results, self._destination, str(connection.target), after=self._recording
            )
        )
        limit = self._shop.settings.outbound.messages_per_connection
        if not connection.is_usable or connection.sent >= limit:
            await self._hang_up()

    async def _attempt(self, connection: Connection, message: QueuedMessage) -> list[Result]:
        """One try over an open connection; a kept one that has gone stale gets a second."""
        was_used = connection.sent > 0
        try:
            return await self._deliver(connection, message)
        except DeliveryTrouble as trouble:
            if was_used and trouble.say is Say.LOST:
                await self._hang_up()
                try:
                    fresh = await self._connected()
                    return await self._deliver(fresh, message)
                except DeliveryTrouble as again:
                    trouble = again
            return outcome.results_of(trouble, len(message.recipients))
        except (LookupError, OSError):  # deleted while it was on its way, or the disk is away
            await connection.close()
            gone = DeliveryTrouble(Say.BODY_GONE, status="4.3.0")
            return outcome.results_of(gone, len(message.recipients))

    async def _deliver(self, connection: Connection, message: QueuedMessage) -> list[Result]:
        head_is_utf8 = False
        if message.envelope.smtputf8 and "SMTPUTF8" not in connection.extensions:
            head_is_utf8 = not (await self._shop.spool.head(message)).isascii()
        parcel = Parcel(
            message.envelope,
            [entry.recipient for entry in message.recipients],
            message.size - message.skip + len(message.trace),
            has_utf8_header=head_is_utf8,
        )
        content = self._shop.spool.whole(message)
        return await connection.deliver(parcel, content, before_dot=self._recording)

    # Connecting

    async def _connected(self) -> Connection:
        """The connection, opened to the first address that lets us in."""
        if self._connection is not None and self._connection.is_usable:
            return self._connection
        await self._hang_up()
        office, route = self._office, self._destination.route
        found, way = await asyncio.gather(
            targets.find(route, self._shop.resolver, self._shop.hostname, is_own=office.is_own),
            office.protection.way(route),
        )
        left = office.in_order(office.protection.allowed(way, found))
        worst = DeliveryTrouble(Say.NO_ADDRESS)
        for position, target in enumerate(left, start=1):
            patience = self._patience(is_last=position == len(left))
            try:
                self._connection = await office.protection.connect(way, target, patience)
            except DeliveryTrouble as trouble:
                worst = trouble
                if trouble.say in (Say.TIMED_OUT, Say.NO_ROUTE):
                    office.did_not_answer(target)
                trouble.host = trouble.host or str(target)
                continue
            self._is_connected = True
            self._destination.connected += 1
            office.pauses.succeeded(route)
            office.let_in(self._destination)
            return self._connection
        raise worst

    def _patience(self, *, is_last: bool) -> Patience:
        outbound = self._shop.settings.outbound
        seconds = float(outbound.connect_timeout_seconds)
        return Patience(
            self._shop.hostname,
            seconds if is_last else min(seconds, NEXT_ADDRESS_SECONDS),
            outbound.reply_timeout_seconds,
            self._office.cafile,
        )

    async def _hang_up(self) -> None:
        if self._is_connected:
            self._is_connected = False
            self._destination.connected -= 1
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.quit()

    # Nobody there

    async def _is_left_alone(self, message: QueuedMessage) -> bool:
        """Whether the next hop is paused. Then all that waits for it is put off unsent, but for
        what is at its last try: that one is made."""
        office, route = self._office, self._destination.route
        if not office.pauses.is_doubtful(route):
            return False
        trouble = office.pauses.current(route, self._shop.clock.monotonic())
        if trouble is None:
            return False
        waiting = [message, *self._destination.drain()]
        for each in waiting[1:]:
            if self._is_last_try(each):
                self._destination.add(each)
        is_last = self._is_last_try(message)
        others = [each for each in waiting[1:] if not self._is_last_try(each)]
        await self._put_off([*others] if is_last else [message, *others], trouble)
        return not is_last

    def _is_last_try(self, message: QueuedMessage) -> bool:
        end = schedule.final_attempt(self._shop.plan, message.received_at)
        return self._shop.clock.now() >= end

    async def _nobody_home(self, message: QueuedMessage, trouble: DeliveryTrouble) -> None:
        """Nothing can be sent there now: what else waits for the place shares the outcome.

        While other lanes are let in, it only means that this one is one too many.
        """
        destination, office = self._destination, self._office
        if destination.connected and not trouble.permanent:
            destination.most_lanes = destination.connected
            destination.add(message)
            self._is_turned_away = True
            return
        if not trouble.permanent:
            office.pauses.failed(
                destination.route,
                trouble,
                self._shop.clock.monotonic(),
                self._shop.plan.retry_seconds,
            )
        await self._put_off([message, *destination.drain()], trouble)

    async def _put_off(self, messages: Sequence[QueuedMessage], trouble: DeliveryTrouble) -> None:
        finish, destination = self._office.clerk.finish, self._destination
        await asyncio.gather(
            *(
                finish(
                    each,
                    outcome.results_of(trouble, len(each.recipients)),
                    destination,
                    trouble.host,
                )
                for each in messages
            )
        )

    async def _recorded(self) -> None:
        """Wait until the last attempt is on stable storage."""
        if self._recording is not None:
            await asyncio.shield(self._recording)
            self._recording = None
