"""Asks next hops whether a recipient exists (FEATURES G6): connect, EHLO, MAIL, RCPT, QUIT.

No content is sent. Each address is asked once at a time, each next hop by a few sessions at most,
and one that does not answer is left in peace for a minute, so that neither a flood of guesses nor
a dead server costs more than it must. Once in a while an invented address is asked too: a server
that takes that one takes everybody: its yes then says nothing, and the home page says so.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from appliance.base.clock import Clock
from appliance.base.finding import Finding, Result
from appliance.base.kept import Kept, ReadThrough
from appliance.dns.resolver import Resolver
from appliance.mail.address import Address
from appliance.memory.call_ahead import CallAheadStore
from appliance.policy.verdict import Callee
from appliance.relay import targets
from appliance.relay.reasons import DeliveryTrouble
from appliance.relay.router import Route, Router
from appliance.relay.smtp_out import Connection, Patience
from appliance.relay.wire import ServerReply
from appliance.settings.schema import Settings

BUDGET_SECONDS = 8.0
SILENT_SECONDS = 60.0  # a next hop that could not be asked is not asked again for so long
PROBE_SECONDS = 12 * 3600.0
SESSIONS_PER_NEXT_HOP = 5
MAX_REMEMBERED = 1_000
_Answer = tuple[Callee, str]


@dataclass(slots=True)
class _NextHop:
    """One next hop: its sessions, and whether it takes everybody."""

    sessions: asyncio.Semaphore = field(
        default_factory=lambda: asyncio.Semaphore(SESSIONS_PER_NEXT_HOP)
    )
    probed_at: float | None = None
    takes_anybody: bool = False


class CallAhead:
    """`policy.call_ahead.NextHops`."""

    def __init__(
        self,
        resolver: Resolver,
        clock: Clock,
        store: CallAheadStore,
        settings: Callable[[], Settings],
    ) -> None:
        self._resolver = resolver
        self._clock = clock
        self._store = store
        self._settings = settings
        self._router: tuple[Settings, Router] | None = None
        self._silent: Kept[str, str] = Kept(MAX_REMEMBERED)
        self._next_hops: dict[str, _NextHop] = {}
        self._asking: dict[tuple[str, str], asyncio.Task[_Answer]] = {}

    def observer(self, store: CallAheadStore) -> CallAhead:
        """One that starts from what is known, asks like this one, and remembers nothing here."""
        found = CallAhead(self._resolver, self._clock, store, self._settings)
        found._silent = ReadThrough(self._silent)
        found._next_hops = {name: replace(hop) for name, hop in self._next_hops.items()}
        return found

    async def ask(self, domain: str, recipient: Address) -> _Answer:
        """What the next hop says, from memory or by asking it now."""
        route = self._route(domain)
        name, address = str(route), recipient.for_ascii_peer()
        if not address.isascii():
            return Callee.UNKNOWN, "an international address"
        known = self._store.answer(name, address)
        if known is not None:
            return self._word(name, exists=known), "it said so before"
        silent = self._silent.get(name, self._clock.monotonic())
        if silent is not None:
            return Callee.UNKNOWN, silent
        return await self._ask_once(route, name, address)

    def findings(self) -> list[Finding]:
        """A notice for each next hop that takes everybody."""
        return [
            Finding(
                check="settings.mail.relay_domains",
                result=Result.WARN,
                say=f"A next hop takes even an invented address: {name}.",
                means="Its yes tells nothing, so mail for nobody may be taken.",
                fix="Let it refuse unknown recipients, or switch the question off.",
            )
            for name, hop in self._next_hops.items()
            if hop.takes_anybody
        ]

    def _route(self, domain: str) -> Route:
        settings = self._settings()
        if self._router is None or self._router[0] is not settings:
            self._router = (settings, Router(settings))
        return self._router[1].route(domain)

    async def _ask_once(self, route: Route, name: str, address: str) -> _Answer:
        """Join a question that is under way already."""
        key = (name, address)
        task = self._asking.get(key)
        if task is None:
            task = asyncio.create_task(self._ask_within_budget(route, name, address))
            self._asking[key] = task
            task.add_done_callback(lambda _: self._asking.pop(key, None))
        return await asyncio.shield(task)

    async def _ask_within_budget(self, route: Route, name: str, address: str) -> _Answer:
        hop = self._next_hop(name)
        try:
            async with asyncio.timeout(BUDGET_SECONDS), hop.sessions:
                return await self._ask_next_hop(route, name, address, hop)
        except (DeliveryTrouble, TimeoutError) as error:
            said = str(error.say) if isinstance(error, DeliveryTrouble) else "no answer in time"
            self._silent.put(name, said, self._clock.monotonic() + SILENT_SECONDS)
            return Callee.UNKNOWN, said

    async def _ask_next_hop(self, route: Route, name: str, address: str, hop: _NextHop) -> _Answer:
        own_name = self._settings().mail.hostname or "localhost"
        patience = Patience(own_name, BUDGET_SECONDS, BUDGET_SECONDS)
        found = await targets.find(route, self._resolver, own_name)
        connection = await self._connect(found, route, patience)
        try:
            reply = await connection.knows(address)
            if reply.is_good and self._probe_is_due(name):
                hop.probed_at = self._clock.monotonic()
                invented = f"no-such-{secrets.token_hex(6)}@{address.rpartition('@')[2]}"
                hop.takes_anybody = (await connection.knows(invented)).is_good
            return self._judged(name, address, reply)
        finally:
            await connection.quit()

    def _judged(self, name: str, address: str, reply: ServerReply) -> _Answer:
        said = str(reply)
        if not reply.is_good and reply.code < 500:
            return Callee.UNKNOWN, said
        self._store.remember(name, address, exists=reply.is_good)
        return self._word(name, exists=reply.is_good), said

    def _word(self, name: str, *, exists: bool) -> Callee:
        """A no counts always; a yes of a server that takes everybody says nothing."""
        if not exists:
            return Callee.MISSING
        return Callee.ANYBODY if self._next_hop(name).takes_anybody else Callee.EXISTS

    async def _connect(
        self, found: list[targets.Target], route: Route, patience: Patience
    ) -> Connection:
        trouble: DeliveryTrouble | None = None
        for target in found:
            try:
                return await Connection.open(target, route, patience)
            except DeliveryTrouble as error:
                trouble = error
        assert trouble is not None  # `find` gives at least one or raises
        raise trouble

    def _next_hop(self, name: str) -> _NextHop:
        if name not in self._next_hops and len(self._next_hops) >= MAX_REMEMBERED:
            self._next_hops.clear()
        return self._next_hops.setdefault(name, _NextHop())

    def _probe_is_due(self, name: str) -> bool:
        at = self._next_hop(name).probed_at
        return at is None or self._clock.monotonic() - at >= PROBE_SECONDS
