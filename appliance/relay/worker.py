"""The sending side: due -> route -> lane -> results -> record -> report.

A lane is one connection's worth of work for one destination. Fresh messages come straight from
the spool with their bodies; everything else is fetched when it is due. What an attempt did is on
stable storage before the lane's next message can be taken by anybody.
"""

import asyncio
import contextlib
import logging
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path

from appliance.relay import targets
from appliance.relay.clerk import Clerk
from appliance.relay.destinations import (
    MAX_WAITING_PER_DESTINATION,
    Destination,
    Pauses,
    Roster,
)
from appliance.relay.lane import Lane, Office
from appliance.relay.protection import Protection
from appliance.relay.router import Route, Router
from appliance.relay.shop import Shop
from appliance.relay.sts import HTTPS_PORT
from appliance.relay.targets import IsOwn
from appliance.spool import schedule
from appliance.spool.model import QueuedMessage, QueuedRecipient

SCAN_LIMIT = 500
LONGEST_SLEEP_SECONDS = 30.0
LANES_BEFORE_ANSWER = 2
LOOK_AGAIN_SECONDS = 2.0
SET_BACK_SECONDS = 60.0  # so far behind, the clock was set back
MAX_RECIPIENTS_PER_TRANSACTION = 100  # more than that a server need not take (RFC 5321 §4.5.3.1.8)
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Outside:
    """The world that mail goes out to. Other than by default only in tests: their servers listen
    on loopback, at ports of their own, with certificates of their own authority."""

    mx_port: int = 25
    https_port: int = HTTPS_PORT
    cafile: str = ""
    is_own: IsOwn = targets.is_own_address
    memory: Path | None = None  # beside the spool


class Worker:
    """Sends what is due until told to stop."""

    def __init__(self, shop: Shop, outside: Outside | None = None) -> None:
        self._shop = shop
        self._outside = outside = outside or Outside()
        self._destinations: dict[Route, Destination] = {}
        self._roster = Roster()
        self._wake = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopping = False
        self._left_behind = False  # something due is in the database only, for want of room
        self._scanner: asyncio.Task[None] | None = None
        self._clock_ahead: float | None = None  # wall clock less monotonic, at the last scan
        self._clerk = Clerk(shop, self._roster, self._room)
        self._pauses = Pauses()
        self.protection = Protection.open(
            outside.memory or shop.spool.folder.parent / "memory",
            shop.resolver,
            shop.clock,
            https_port=outside.https_port,
            cafile=outside.cafile,
        )
        self._office = Office(
            shop,
            self._roster,
            asyncio.Semaphore(shop.settings.outbound.connections_total),
            self._clerk,
            self.protection,
            self._pauses,
            outside.is_own,
            self._let_in,
            outside.cafile,
        )
        self._set_up()
        shop.spool.on_put = self.offer_new

    def _set_up(self) -> None:
        outbound = self._shop.settings.outbound
        self._router = Router(self._shop.settings, mx_port=self._outside.mx_port)
        self._office.slots = asyncio.Semaphore(outbound.connections_total)
        self.protection.use_dane = outbound.dane == "auto"
        self._pauses.clear()

    def start(self) -> None:
        """Begin to send."""
        self.protection.start()
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
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(patience_seconds, 1)):
                await self._clerk.close()
        await self.protection.stop()

    def take_settings(self) -> None:
        """Settings changed: route anew what waits."""
        self._set_up()
        for destination in self._destinations.values():
            destination.most_lanes = 0
            for message in destination.drain():
                self._roster.finish(message)
        self._wake.set()

    def wake(self) -> None:
        """Somebody wants something sent now: also where it failed just before."""
        self._pauses.clear()
        self._wake.set()

    def forget(self, message_ids: Collection[int]) -> None:
        """Messages were held or deleted: those still waiting here are not sent."""
        for destination in self._destinations.values():
            for message in destination.drain():
                if message.id in message_ids:
                    self._roster.finish(message)
                else:
                    destination.add(message)

    def offer_new(self, message: QueuedMessage) -> None:
        """A message that was just put, unless a scan has found it already."""
        fresh = self._roster.untouched(message)
        if fresh is not None:
            self.offer(fresh)

    def offer(self, message: QueuedMessage) -> None:
        """A message that is due. What there is no room for is found again by a scan."""
        if self._stopping or not self._shop.accepting:
            return
        for route, entries in self._parcels(message):
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

    def _parcels(self, message: QueuedMessage) -> list[tuple[Route, list[QueuedRecipient]]]:
        """The message's recipients by route, so many at a time as every server takes."""
        if len(message.recipients) == 1:
            entry = message.recipients[0]
            return [(self._router.route(self._domain(entry)), [entry])]
        found: dict[Route, list[QueuedRecipient]] = {}
        for entry in message.recipients:
            found.setdefault(self._router.route(self._domain(entry)), []).append(entry)
        return [
            (route, entries[start : start + MAX_RECIPIENTS_PER_TRANSACTION])
            for route, entries in found.items()
            for start in range(0, len(entries), MAX_RECIPIENTS_PER_TRANSACTION)
        ]

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
                pause = LOOK_AGAIN_SECONDS
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._wake.wait()

    async def _scan(self) -> float:
        """Offer what is due; returns the seconds until something else may be.

        While the mail service is switched off, what is queued waits.
        """
        if not self._shop.accepting:
            return LONGEST_SLEEP_SECONDS
        await self._mind_the_clock()
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

    async def _mind_the_clock(self) -> None:
        """At the start, and when the clock was set back: nothing may wait for the old time."""
        clock, known = self._shop.clock, self._clock_ahead
        ahead = clock.now().timestamp() - clock.monotonic()
        if known is None or ahead < known - SET_BACK_SECONDS:
            longest = schedule.longest_pause_seconds(self._shop.plan)
            found = await self._shop.spool.pull_in(clock.now(), longest)
            if found:
                _log.warning("the clock was set back; tried now: %d recipients", found)
        self._clock_ahead = ahead

    # Lanes

    def _staff(self, destination: Destination) -> None:
        """Open one more lane when there is more to do than lanes that wait for work."""
        if destination.lanes >= self._most_lanes(destination):
            return
        if destination.idle >= destination.waiting.qsize():
            return
        destination.lanes += 1
        task = asyncio.create_task(self._run_lane(destination))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _most_lanes(self, destination: Destination) -> int:
        """One where it failed the last time, few until somebody was let in (so that those who
        never answer do not use up the connections), then what it bears."""
        if self._pauses.is_doubtful(destination.route):
            return 1
        allowed = self._shop.settings.outbound.connections_per_destination
        if not destination.connected:
            destination.most_lanes = 0
            return min(allowed, LANES_BEFORE_ANSWER)
        return min(allowed, destination.most_lanes or allowed)

    def _let_in(self, destination: Destination) -> None:
        """It answers: more lanes, for as much as waits."""
        for _ in range(min(self._most_lanes(destination), destination.waiting.qsize())):
            self._staff(destination)

    async def _run_lane(self, destination: Destination) -> None:
        try:
            async with self._office.slots:
                await Lane(self._office, destination).run()
        except Exception:
            _log.exception("lane to %s failed", destination.route)
        finally:
            destination.lanes -= 1
            if not self._stopping and not destination.waiting.empty():
                self._staff(destination)
            elif not destination.lanes and destination.waiting.empty():
                self._destinations.pop(destination.route, None)
            self._wake.set()
