"""Asks the block lists: in the background from connect on, once an address, within a budget.

The rule and the questions are in `policy/dnsbl.py`, the breaker in `memory/dnsbl_health.py`.
Here are the tasks, the clock and the cache.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from appliance.base.clock import Clock
from appliance.base.finding import Finding
from appliance.base.kept import Kept, ReadThrough
from appliance.dns.resolver import Resolver, TemporaryDnsError
from appliance.memory.dnsbl_health import PROOF_SECONDS, DnsblHealth
from appliance.policy import dnsbl
from appliance.policy.verdict import BlockLists, Listing

BUDGET_SECONDS = 2.5
PROOF_BUDGET_SECONDS = 5.0
FRESH_PROOF_SECONDS = 60.0  # before a hit counts, the list's proof must be as young as this
KEEP_SECONDS = 300.0
KEEP_INCOMPLETE_SECONDS = 30.0
MAX_KEPT = 20_000
MAX_RUNNING = 2_000
_NOTHING = BlockLists()


class BlockListAsker:
    """`policy.dnsbl.Dnsbl`. `zones` gives the lists in force."""

    def __init__(
        self,
        resolver: Resolver,
        clock: Clock,
        health: DnsblHealth,
        zones: Callable[[], tuple[str, ...]],
    ) -> None:
        self._resolver = resolver
        self._clock = clock
        self._health = health
        self._zones = zones
        self._kept: Kept[str, BlockLists] = Kept(MAX_KEPT)
        self._running: dict[str, asyncio.Task[BlockLists]] = {}
        self._proofs: dict[str, asyncio.Task[str]] = {}

    def observer(self) -> BlockListAsker:
        """One that starts from what is known, and whose look-ups change nothing here."""
        found = BlockListAsker(self._resolver, self._clock, self._health.copy(), self._zones)
        found._kept = ReadThrough(self._kept)
        return found

    def begin(self, client: str) -> None:
        """Start looking a caller up, unless it is known or too much is under way."""
        known = self._kept.get(client, self._clock.monotonic()) is not None
        if known or client in self._running or len(self._running) >= MAX_RUNNING:
            return
        task = asyncio.get_running_loop().create_task(self._look_up(client))
        self._running[client] = task
        task.add_done_callback(lambda _: self._running.pop(client, None))

    async def outcome(self, client: str) -> BlockLists:
        """What was found; lists suspended or taken out since then do not count."""
        found = self._kept.get(client, self._clock.monotonic())
        if found is None:
            self.begin(client)
            task = self._running.get(client)
            found = await asyncio.shield(task) if task is not None else _NOTHING
        if not found.listings:
            return found
        zones = self._zones()
        counting = tuple(
            listing
            for listing in found.listings
            if listing.zone in zones and not self._health.suspended(listing.zone)
        )
        return replace(found, listings=counting)

    def good_sender_listed(self, zone: str, client: str) -> None:
        """Evidence against a list."""
        self._health.good_sender_listed(zone, client)

    def findings(self) -> list[Finding]:
        """The notices for the status."""
        return self._health.findings(self._zones())

    async def test(self, zone: str) -> dict[str, Any]:
        """Prove one list now, for the person who asks; what comes out is in force at once."""
        trouble = await self._prove(zone)
        self._kept.clear()
        suspended = self._health.suspended(zone)
        return {"zone": zone, "ok": not trouble, "why": trouble, "suspended": suspended}

    async def _look_up(self, client: str) -> BlockLists:
        zones = self._zones()
        tasks = {asyncio.create_task(self._ask(zone, client)): zone for zone in zones}
        try:
            done, late = await asyncio.wait(tasks, timeout=BUDGET_SECONDS) if tasks else ((), ())
        finally:
            for task in tasks:
                task.cancel()
        for task in late:
            self._health.answered(tasks[task], in_time=False)
        answers = [task.result() for task in done if not task.cancelled()]
        silent = {tasks[task] for task in late}
        silent |= {answer for answer in answers if isinstance(answer, str)}
        listings = {a.zone: a for a in answers if isinstance(a, Listing)}
        found = BlockLists(
            listings=tuple(listings[zone] for zone in zones if zone in listings),
            silent=tuple(zone for zone in zones if zone in silent),
        )
        keep = KEEP_INCOMPLETE_SECONDS if silent else KEEP_SECONDS
        self._kept.put(client, found, self._clock.monotonic() + keep)
        return found

    async def _ask(self, zone: str, client: str) -> Listing | str | None:
        """The listing, or the zone's name when it did not answer, or None."""
        if not await self._may_count(zone, PROOF_SECONDS):
            return None
        try:
            found = await dnsbl.ask(self._resolver, zone, client)
        except TemporaryDnsError:
            self._health.answered(zone, in_time=False)
            return zone
        except ValueError:  # the client has no address that could be asked for
            return None
        self._health.answered(zone, in_time=True)
        if found is not None and not await self._may_count(zone, FRESH_PROOF_SECONDS):
            return None
        return found

    async def _may_count(self, zone: str, age_seconds: float) -> bool:
        """Whether the list is not suspended and has proved itself lately."""
        if self._health.suspended(zone):
            return False
        age = self._health.proof_age(zone)
        if age is not None and age < age_seconds:
            return True
        if zone not in self._proofs:
            task = asyncio.create_task(self._prove(zone))
            self._proofs[zone] = task
            task.add_done_callback(lambda _: self._proofs.pop(zone, None))
        return not await asyncio.shield(self._proofs[zone])

    async def _prove(self, zone: str) -> str:
        try:
            async with asyncio.timeout(PROOF_BUDGET_SECONDS):
                trouble = await dnsbl.prove(self._resolver, zone)
        except TimeoutError:
            trouble = "it does not answer"
        if trouble:
            self._health.failed_proof(zone, trouble)
        else:
            self._health.proved(zone)
        return trouble
