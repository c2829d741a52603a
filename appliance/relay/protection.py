"""How a connection to another domain's server must be protected: by DANE, by MTA-STS, or as well
as both sides can. And what became of it, for the reports of RFC 8460.

DANE comes first: where it applies, the policy of MTA-STS is not asked (RFC 8461 §2).
"""

import asyncio
import logging
import sqlite3
from dataclasses import dataclass, field
from pathlib import Path

from appliance.base.clock import Clock
from appliance.dns.resolver import NoSuchName, Resolver, TemporaryDnsError
from appliance.memory.sts_cache import StsCache
from appliance.memory.tls_results import TlsResult, TlsResults
from appliance.policy import dane, mta_sts
from appliance.policy.mta_sts import Policy
from appliance.relay.lmtp import LmtpConnection
from appliance.relay.reasons import DeliveryTrouble, Say
from appliance.relay.router import Kind, Route, Tls
from appliance.relay.smtp_out import Connection, Demand, Patience
from appliance.relay.sts import Found, Sts
from appliance.relay.targets import Target

KEEP_SECONDS = 600.0
_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Way:
    """To one domain, for as long as one connection is being opened: what it asks for."""

    route: Route
    policy: Policy | None = None
    failure: str = ""  # it asks for something that we could not learn

    @property
    def policy_in_force(self) -> Policy | None:
        """The policy, unless it is only announced."""
        return self.policy if self.policy is not None and self.policy.mode != "none" else None


@dataclass(slots=True)
class Protection:
    """Made once; asked whenever a connection is opened, not for each message."""

    resolver: Resolver
    clock: Clock
    sts: Sts
    results: TlsResults
    use_dane: bool = True
    _keeper: "asyncio.Task[None] | None" = field(default=None)

    @classmethod
    def open(
        cls, folder: Path, resolver: Resolver, clock: Clock, *, https_port: int = 443,
        cafile: str = "",
    ) -> "Protection":  # fmt: skip
        """With its memory in `folder`; what cannot be read there is forgotten.

        Raises OSError, sqlite3.Error when nothing can be kept at all.
        """
        path = folder / "outbound.db"
        try:
            cache, results = StsCache(path), TlsResults(path)
        except (sqlite3.DatabaseError, ValueError) as error:
            _log.warning("what was remembered of other domains is unreadable: %s", error)
            for each in folder.glob(f"{path.name}*"):
                each.unlink()
            cache, results = StsCache(path), TlsResults(path)
        sts = Sts(cache, resolver, clock, port=https_port, cafile=cafile)
        return cls(resolver, clock, sts, results)

    def start(self) -> None:
        """Refresh policies and write counts from time to time."""
        self._keeper = asyncio.create_task(self._keep_for_ever())

    async def stop(self) -> None:
        """Write what was counted."""
        if self._keeper is not None:
            self._keeper.cancel()
        await self._store()

    async def way(self, route: Route) -> Way:
        """What the route's domain asks of those who send to it."""
        if route.kind is not Kind.MX or route.tls is Tls.NONE:
            return Way(route)
        found: Found = await self.sts.find(route.host)
        return Way(route, found.policy, found.failure)

    def allowed(self, way: Way, targets: list[Target]) -> list[Target]:
        """Those that the policy names, when it is to be enforced; else all.

        One that DANE may vouch for stays: whether it does is seen when it is its turn.
        """
        policy = way.policy_in_force
        if policy is None or policy.mode != "enforce":
            return targets
        usable = [
            target
            for target in targets
            if mta_sts.covers(policy, target.name) or (target.authenticated and self.use_dane)
        ]
        if not usable:
            trouble = DeliveryTrouble(Say.STS_NOT_NAMED, status="4.7.5")
            self._note(way, None, "sts", "validation-failure", "no mail server is named")
            raise trouble
        return usable

    async def connect(self, way: Way, target: Target, patience: Patience) -> Connection:
        """Open a connection as it must be. Raises DeliveryTrouble."""
        route, policy = way.route, way.policy_in_force
        if route.kind is Kind.MAILBOX:
            return await LmtpConnection.open(target, route, patience)
        if route.kind is not Kind.MX or route.tls is Tls.NONE:
            return await Connection.open(target, route, patience)
        demand = await self._by_dane(target)
        if demand is None and policy is not None:
            covered = mta_sts.covers(policy, target.name)
            if policy.mode == "enforce":
                if not covered:
                    raise DeliveryTrouble(Say.STS_NOT_NAMED, status="4.7.5")
                demand = Demand(Tls.REQUIRED, policy_type="sts")
            else:
                return await self._try_out(way, target, patience, covered=covered)
        demand = demand or Demand(Tls.OPPORTUNISTIC)
        return await self._open(way, target, patience, demand)

    async def _open(
        self, way: Way, target: Target, patience: Patience, demand: Demand
    ) -> Connection:
        """Open and count."""
        try:
            connection = await Connection.open(target, way.route, patience, demand)
        except DeliveryTrouble as trouble:
            if trouble.tls_failure:
                self._note(way, target, demand.policy_type, trouble.tls_failure, trouble.reply)
            raise
        # A policy that could not be had is a failure to report, though the mail goes out.
        failure = way.failure if demand.policy_type == "no-policy-found" else ""
        if not failure and not connection.tls_version:
            failure = "starttls-not-supported"
        self._note(way, target, "sts" if way.failure else demand.policy_type, failure)
        return connection

    async def _try_out(
        self, way: Way, target: Target, patience: Patience, *, covered: bool
    ) -> Connection:
        """A policy on trial: what it asks for is tried, and what fails is counted, and the mail
        goes out all the same (RFC 8461 §5)."""
        demand = Demand(Tls.REQUIRED, policy_type="sts")
        if covered:
            try:
                return await self._open(way, target, patience, demand)
            except DeliveryTrouble as trouble:
                if not trouble.tls_failure:
                    raise
        else:
            self._note(way, target, "sts", "validation-failure", "the policy does not name it")
        return await Connection.open(target, way.route, patience)

    async def _by_dane(self, target: Target) -> Demand | None:
        """What the signed DNS says of this server; None when it says nothing.

        Raises DeliveryTrouble when nobody can say: going on without would let an attacker choose
        (RFC 7672 §2.1.1).
        """
        if not target.authenticated or not self.use_dane:
            return None
        try:
            answer = await self.resolver.query(dane.owner(target.name, target.port), "TLSA")
        except NoSuchName:
            return None
        except TemporaryDnsError as error:
            raise DeliveryTrouble(
                Say.DANE_TROUBLE, status="4.7.5", tls_failure="dane-required"
            ) from error
        if not answer.records or not answer.authenticated:
            return None
        usable = dane.usable(dane.read(answer.records))
        return Demand(Tls.DANE if usable else Tls.ENCRYPTED, usable, "tlsa")

    def _note(
        self, way: Way, target: Target | None, kind: str, failure: str = "", detail: str = ""
    ) -> None:
        policy = way.policy if kind == "sts" else None
        bad = bool(failure)
        self.results.note(
            TlsResult(
                domain=way.route.host,
                policy_type=kind,
                policy=policy.text if policy else (),
                policy_mx=policy.mx if policy else (),
                mx=target.name if target and bad else "",
                address=target.address if target and bad else "",
                failure=failure,
                detail=detail[:200],
            ),
            self.clock.now(),
        )

    async def _keep_for_ever(self) -> None:
        while True:
            await asyncio.sleep(KEEP_SECONDS)
            try:
                await self.sts.refresh()
                await self._store()
            except Exception:  # memory may be lost; sending goes on
                _log.exception("upkeep of what is remembered failed")

    async def _store(self) -> None:
        rows = self.results.snapshot(self.clock.now())
        try:
            await asyncio.to_thread(self.results.store, rows)
        except sqlite3.Error as error:
            _log.warning("TLS results were not written: %s", error)
