"""The sending side: due -> route -> lane -> results -> record -> report.

A lane is one connection's worth of work for one destination. Fresh messages come straight from
the spool with their bodies; everything else is fetched when it is due. What an attempt did is on
stable storage before the lane's next message can be taken by anybody.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Collection
from dataclasses import replace

from appliance.mail.dsn import MAX_RETURNED_BYTES, Kind
from appliance.relay import outcome, targets
from appliance.relay.destinations import MAX_WAITING_PER_DESTINATION, Destination, Roster
from appliance.relay.outcome import Judgement
from appliance.relay.reasons import DeliveryTrouble, Say
from appliance.relay.router import Route, Router
from appliance.relay.shop import Shop
from appliance.relay.smtp_out import Connection, Parcel, Patience, Result
from appliance.spool import bounce, schedule
from appliance.spool.bounce import Reporter
from appliance.spool.model import NewMessage, QueuedMessage, QueuedRecipient, SpoolFailed, State

SCAN_LIMIT = 500
LONGEST_SLEEP_SECONDS = 30.0
IDLE_SECONDS = 2.0  # a connection is kept this long for a next message
RECORD_AGAIN_SECONDS = 2.0
LAST_RECORD_SECONDS = 5.0
_log = logging.getLogger(__name__)


class Worker:
    """Sends what is due until told to stop."""

    def __init__(self, shop: Shop) -> None:
        self._shop = shop
        self._router = Router(shop.settings)
        self._destinations: dict[Route, Destination] = {}
        self._roster = Roster()
        self._wake = asyncio.Event()
        self._slots = asyncio.Semaphore(shop.settings.outbound.connections_total)
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopping = False
        self._left_behind = False  # something due is in the database only, for want of room
        self._scanner: asyncio.Task[None] | None = None
        shop.spool.on_put = self.offer

    def start(self) -> None:
        """Begin to send."""
        self._scanner = asyncio.create_task(self._scan_for_ever())

    async def stop(self, patience_seconds: float) -> None:
        """Let deliveries under way end, for a while; then break them off. Nothing is lost."""
        self._stopping = True
        if self._scanner is not None:
            self._scanner.cancel()
        for destination in self._destinations.values():
            for message in destination.drain():
                self._roster.finish(message)
            destination.dismiss()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=patience_seconds)
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def take_settings(self) -> None:
        """Settings changed: route anew what waits."""
        self._router = Router(self._shop.settings)
        self._slots = asyncio.Semaphore(self._shop.settings.outbound.connections_total)
        for destination in self._destinations.values():
            for message in destination.drain():
                self._roster.finish(message)
        self._wake.set()

    def wake(self) -> None:
        """Something in the database may be due."""
        self._wake.set()

    def forget(self, message_ids: Collection[int]) -> None:
        """Messages were held or deleted: those still waiting here are not sent."""
        for destination in self._destinations.values():
            for message in destination.drain():
                if message.id in message_ids:
                    self._roster.finish(message)
                else:
                    destination.add(message)

    def offer(self, message: QueuedMessage) -> None:
        """A message that is due. What there is no room for is found again by a scan."""
        if self._stopping or not self._shop.accepting:
            return
        for route, entries in self._by_route(message).items():
            destination = self._destinations.get(route)
            if destination is None:
                destination = self._destinations[route] = Destination(route)
            if self._roster.is_full or destination.is_full:
                self._left_behind = True
                continue
            parcel = message if len(entries) == len(message.recipients) else None
            parcel = parcel or replace(message, recipients=tuple(entries))
            self._roster.take(parcel)
            destination.add(parcel)
            self._staff(destination)

    @property
    def busy(self) -> int:
        """Connections open or being opened."""
        return len(self._tasks)

    def _by_route(self, message: QueuedMessage) -> dict[Route, list[QueuedRecipient]]:
        if len(message.recipients) == 1:
            entry = message.recipients[0]
            return {self._router.route(self._domain(entry)): [entry]}
        found: dict[Route, list[QueuedRecipient]] = {}
        for entry in message.recipients:
            found.setdefault(self._router.route(self._domain(entry)), []).append(entry)
        return found

    def _domain(self, entry: QueuedRecipient) -> str:
        return entry.domain or self._shop.rules.main_domain

    def _room(self, destination: Destination) -> None:
        """A message is done with: fetch more if something was left behind."""
        if self._left_behind and destination.waiting.qsize() < MAX_WAITING_PER_DESTINATION // 2:
            self._wake.set()

    # Scanning

    async def _scan_for_ever(self) -> None:
        while True:
            self._wake.clear()
            try:
                pause = await self._scan()
            except Exception:  # the database may be away for a while; sending must come back
                _log.exception("the queue could not be read")
                pause = RECORD_AGAIN_SECONDS
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._wake.wait()

    async def _scan(self) -> float:
        """Offer what is due; returns the seconds until something else may be.

        While the mail service is switched off, what is queued waits.
        """
        if not self._shop.accepting:
            return LONGEST_SLEEP_SECONDS
        spool, now = self._shop.spool, self._shop.clock.now()
        full = {
            domain
            for destination in self._destinations.values()
            if destination.is_full
            for domain in destination.domains
        }
        self._left_behind = False
        in_hand = self._roster.begin_scan()
        due = await spool.due(now, limit=SCAN_LIMIT, skip_domains=full, skip=in_hand)
        for message in self._roster.end_scan(due):
            self.offer(message)
        self._left_behind = self._left_behind or bool(full)
        if sum(len(message.recipients) for message in due) >= SCAN_LIMIT:
            self._left_behind = True
            return 0.0 if not self._roster.is_full else LONGEST_SLEEP_SECONDS
        next_at = await spool.next_due(now)
        pause = LONGEST_SLEEP_SECONDS if next_at is None else next_at - now.timestamp()
        return min(max(pause, 0.01), LONGEST_SLEEP_SECONDS)

    # Lanes

    def _staff(self, destination: Destination) -> None:
        """Open one more lane when there is more to do than lanes that wait for work."""
        allowed = self._shop.settings.outbound.connections_per_destination
        if destination.lanes >= allowed or destination.idle >= destination.waiting.qsize():
            return
        destination.lanes += 1
        task = asyncio.create_task(self._run_lane(destination))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run_lane(self, destination: Destination) -> None:
        lane = Lane(self._shop, destination, self._roster, self._slots, self._room)
        try:
            async with self._slots:
                await lane.run()
        except Exception:
            _log.exception("lane to %s failed", destination.route)
        finally:
            destination.lanes -= 1
            if not self._stopping and not destination.waiting.empty():
                self._staff(destination)
            elif not destination.lanes and destination.waiting.empty():
                self._destinations.pop(destination.route, None)
            self._wake.set()


class Lane:
    """One connection to one destination, and the messages that go over it."""

    def __init__(
        self,
        shop: Shop,
        destination: Destination,
        roster: Roster,
        slots: asyncio.Semaphore,
        on_room: Callable[[Destination], None],
    ) -> None:
        self._shop = shop
        self._on_room = on_room
        self._destination = destination
        self._roster = roster
        self._slots = slots
        self._connection: Connection | None = None
        self._recording: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Send until nothing has come for a while."""
        message: QueuedMessage | None = None
        try:
            while (message := await self._next()) is not None:
                await self._send(message)
                message = None
            await self._recorded()
        finally:
            if message is not None:
                self._roster.finish(message)
            if self._recording is not None and not self._recording.done():
                await asyncio.wait({self._recording}, timeout=LAST_RECORD_SECONDS)
            if self._connection is not None:
                await self._connection.quit()

    async def _next(self) -> QueuedMessage | None:
        destination = self._destination
        if destination.waiting.empty():
            if self._connection is None or self._slots.locked():  # others wait for our place
                return None
            destination.idle += 1
            try:
                async with asyncio.timeout(IDLE_SECONDS):
                    return await destination.waiting.get()
            except TimeoutError:
                return None
            finally:
                destination.idle -= 1
        return destination.waiting.get_nowait()

    async def _send(self, message: QueuedMessage) -> None:
        try:
            connection = await self._connected()
        except DeliveryTrouble as trouble:
            await self._nobody_home(message, trouble)
            return
        results = await self._attempt(connection, message)
        # Nothing is awaited between the results and the task that records them.
        self._recording = asyncio.create_task(
            self._finish(message, results, str(connection.target), after=self._recording)
        )
        limit = self._shop.settings.outbound.messages_per_connection
        if not connection.is_usable or connection.sent >= limit:
            await connection.quit()
            self._connection = None

    async def _attempt(self, connection: Connection, message: QueuedMessage) -> list[Result]:
        """One try over an open connection; a kept one that has gone stale gets a second."""
        was_used = connection.sent > 0
        try:
            return await self._deliver(connection, message)
        except DeliveryTrouble as trouble:
            if was_used and trouble.say is Say.LOST:
                self._connection = None
                with contextlib.suppress(DeliveryTrouble):
                    fresh = await self._connected()
                    return await self._deliver(fresh, message)
            return outcome.results_of(trouble, len(message.recipients))
        except LookupError:  # deleted while it was on its way
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

    async def _connected(self) -> Connection:
        """The connection, opened to the first address that lets us in."""
        if self._connection is not None and self._connection.is_usable:
            return self._connection
        self._connection = None
        outbound, route = self._shop.settings.outbound, self._destination.route
        patience = Patience(
            self._shop.hostname, outbound.connect_timeout_seconds, outbound.reply_timeout_seconds
        )
        worst = DeliveryTrouble(Say.NO_ADDRESS)
        for target in await targets.find(route, self._shop.resolver, self._shop.hostname):
            try:
                self._connection = await Connection.open(target, route, patience)
            except DeliveryTrouble as trouble:
                worst = trouble
                if not trouble.host:
                    trouble.host = str(target)
                continue
            return self._connection
        raise worst

    async def _nobody_home(self, message: QueuedMessage, trouble: DeliveryTrouble) -> None:
        """Nothing can be sent there now: what else waits for the place shares the outcome."""
        await asyncio.gather(
            *(
                self._finish(each, outcome.results_of(trouble, len(each.recipients)), trouble.host)
                for each in [message, *self._destination.drain()]
            )
        )

    async def _recorded(self) -> None:
        """Wait until the last attempt is on stable storage."""
        if self._recording is not None:
            await self._recording
            self._recording = None

    # Afterwards

    async def _finish(
        self,
        message: QueuedMessage,
        results: list[Result],
        host: str,
        *,
        after: "asyncio.Task[None] | None" = None,
    ) -> None:
        """Record, report and log; tried until the disk takes it, for it has happened."""
        shop = self._shop
        if after is not None:
            await after
        judgement = outcome.judge(
            message,
            results,
            plan=shop.plan,
            now=shop.clock.now(),
            host=host,
            route=str(self._destination.route),
        )
        try:
            reports = await self._reports(message, judgement)
            while True:
                try:
                    queued = await shop.spool.record(
                        message,
                        judgement.outcomes,
                        reports=reports,
                        delay_notified=bool(judgement.delayed),
                    )
                    break
                except SpoolFailed as error:
                    shop.log.event(message.queue_id, "not-recorded", why=error.finding.fix)
                    await asyncio.sleep(RECORD_AGAIN_SECONDS)
        finally:
            self._roster.finish(message)
            self._on_room(self._destination)
        self._log(message, judgement)
        for report in queued:
            shop.log.event(
                report.queue_id,
                "queued",
                from_="<>",
                to=f"<{message.envelope.sender}>",
                size=report.size,
                direction="report",
                about=message.queue_id,
            )

    async def _reports(self, message: QueuedMessage, judgement: Judgement) -> list[NewMessage]:
        envelope, shop = message.envelope, self._shop
        due = [
            (kind, fates)
            for kind, candidates in (
                (Kind.FAILED, judgement.failed),
                (Kind.DELAYED, judgement.delayed),
                (Kind.RELAYED, judgement.relayed),
            )
            if (fates := bounce.wanted(kind, envelope, candidates))
        ]
        if not due:
            return []
        head = await shop.spool.head(message)
        content = (
            head if message.size - message.skip + len(message.trace) <= MAX_RETURNED_BYTES else b""
        )
        reporter = Reporter(
            shop.hostname,
            shop.clock.now(),
            schedule.final_attempt(shop.plan, message.received_at),
        )
        return [
            bounce.report(
                kind,
                message,
                fates,
                head=head,
                content=content,
                report_id=shop.ids.next(),
                reporter=reporter,
            )
            for kind, fates in due
        ]

    def _log(self, message: QueuedMessage, judgement: Judgement) -> None:
        events = {State.DELIVERED: "delivered", State.DEFERRED: "deferred"}
        for entry, found in zip(message.recipients, judgement.outcomes, strict=True):
            event = events.get(found.state, "bounced")
            self._shop.counters[event] += 1
            self._shop.log.event(
                message.queue_id,
                event,
                to=f"<{entry.recipient.address}>",
                host=found.host,
                route=found.route,
                status=found.status,
                say=found.say,
                reply=found.reply,
                next=found.next_attempt_at.isoformat(timespec="seconds")
                if found.next_attempt_at
                else None,
            )
