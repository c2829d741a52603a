"""May this client send for that domain? The Sender Policy Framework (RFC 7208).

A domain publishes, in one TXT record, who may use its name in MAIL FROM:

    v=spf1 mx ip4:192.0.2.0/24 include:_spf.example.net -all

`check` reads the record, tries its mechanisms from the left, and the first that
matches gives the result. Bounces have no sender; for them the HELO name is checked.

The record is written by a stranger, and so is each record that it includes: what a
check may cost is bounded by the terms of RFC 7208 §4.6.4, by a number of queries and
by a time. `check` never raises; whatever it cannot find out is in the result word.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

from appliance.dns.resolver import MX, NoSuchName, Resolver, TemporaryDnsError, reverse_name
from appliance.policy import spf_macros, spf_record
from appliance.policy.spf_macros import MacroError, MacroString
from appliance.policy.spf_record import Mechanism, SpfSyntaxError

MAX_TERMS = 10  # RFC 7208 §4.6.4: include, a, mx, ptr, exists, redirect
MAX_VOID_LOOKUPS = 2  # RFC 7208 §4.6.4
MAX_NAMES = 10  # RFC 7208 §4.6.4: per mx, and per ptr
MAX_QUERIES = 24  # ours: ten `mx` of ten names each would be 110
BUDGET_SECONDS = 20.0  # RFC 7208 §4.6.4: at least 20 seconds

MAX_DOMAIN_TEXT = 1000  # before it is read at all: no domain in any form is longer

_ASKING = frozenset({"include", "a", "mx", "ptr", "exists"})
Address = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True, slots=True)
class SpfResult:
    """What the check came to.

    `result` is a word of RFC 8601 §2.7.2: none neutral pass fail softfail temperror
    permerror. `domain` is the one whose policy was asked, in lower case and A-labels;
    with a pass it is the domain that vouches for the client. `identity` says where it
    came from: "mailfrom" or "helo". `why` is for the log. `explanation` is the domain's
    own text (`exp=`), made visible ASCII of at most 512 octets: a stranger's words,
    never for a reply.
    """

    result: str
    domain: str
    identity: str
    why: str
    mechanism: str = ""
    queries: int = 0
    explanation: str = ""


async def check(
    resolver: Resolver,
    *,
    client: str,
    helo: str,
    mail_from: str,
    receiver: str = "",
    budget_seconds: float = BUDGET_SECONDS,
    timestamp: int = 0,
) -> SpfResult:
    """Check one client and one sender (RFC 7208 §2.3, §2.4).

    `mail_from` is the address without brackets; empty is the null reverse-path, for which
    postmaster@`helo` stands. `timestamp` (Unix seconds) serves the macro `t` alone.
    """
    identity = "mailfrom" if mail_from else "helo"
    local, at, domain = (mail_from or helo).rpartition("@")
    try:
        domain = _ascii_domain(domain)
        address = _client_address(client)
    except ValueError as error:
        return SpfResult("none", "", identity, str(error))
    local = local if at and local else "postmaster"  # RFC 7208 §4.3
    values = {
        **_address_macros(address),
        "s": f"{local}@{domain}",
        "l": local,
        "o": domain,
        "h": helo,
        "r": receiver or "unknown",
        "t": str(timestamp),
    }
    one = _Check(resolver, address, values)
    deadline = asyncio.get_running_loop().time() + budget_seconds
    explanation = ""
    try:
        async with asyncio.timeout_at(deadline):
            outcome = await one.host(domain)
    except _Stop as stop:
        outcome = _Outcome(stop.result, str(stop))
    except TimeoutError:
        outcome = _Outcome("temperror", f"{budget_seconds:g} seconds were not enough")
    if outcome.wanted:
        with suppress(_Stop, MacroError, TimeoutError):  # RFC 7208 §6.2: trouble changes nothing
            async with asyncio.timeout_at(deadline):
                explanation = await one.explanation(outcome.wanted, outcome.domain)
    return SpfResult(
        result=outcome.result,
        domain=domain.lower(),
        identity=identity,
        why=outcome.why + (f"; the domain says: {explanation}" if explanation else ""),
        mechanism=outcome.mechanism,
        queries=one.queries,
        explanation=explanation,
    )


class _Stop(Exception):
    """The check is over: temperror or permerror, and why."""

    def __init__(self, result: str, why: str) -> None:
        super().__init__(why)
        self.result = result


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What one check_host() came to (RFC 7208 §4); `wanted` is the exp= of `domain`."""

    result: str
    why: str
    mechanism: str = ""
    wanted: MacroString | None = None
    domain: str = ""


class _Check:
    """One check with what it has used up."""

    def __init__(self, resolver: Resolver, client: Address, values: Mapping[str, str]) -> None:
        self._resolver = resolver
        self._client = client
        self._values = values
        self._terms = 0
        self._voids = 0
        self._validated: tuple[str, ...] | None = None
        self.queries = 0

    async def host(self, domain: str) -> _Outcome:
        """check_host() of RFC 7208 §4. Raises _Stop for the errors that end all of it."""
        text = await self._record_text(domain)
        if text is None:
            return _Outcome("none", f"{domain} publishes no SPF record")
        try:
            record = spf_record.parse(text)
        except SpfSyntaxError as error:
            raise _Stop("permerror", f"the SPF record of {domain}: {error}") from error
        for mechanism in record.mechanisms:
            if await self._matches(mechanism, domain):
                why = f"{self._client} matches “{mechanism.text}” of {domain}"
                wanted = record.explanation if mechanism.result == "fail" else None
                return _Outcome(mechanism.result, why, mechanism.text, wanted, domain)
        if record.redirect:
            return await self._redirected(record.redirect, domain)
        return _Outcome("neutral", f"{self._client} matches nothing in the SPF record of {domain}")

    async def _record_text(self, domain: str) -> str | None:
        """The one SPF record of `domain`; None when there is none (RFC 7208 §4.4, §4.5)."""
        if "." not in domain:  # RFC 7208 §4.3: not a multi-label name
            return None
        found = [text for text in await self._ask(domain, "TXT") if spf_record.is_spf(text)]
        if len(found) > 1:
            raise _Stop("permerror", f"{domain} publishes {len(found)} SPF records")
        return found[0] if found else None

    async def _redirected(self, target: MacroString, domain: str) -> _Outcome:
        """redirect= (RFC 7208 §6.1)."""
        self._count_term()
        name = await self._name(target, domain)
        outcome = await self.host(name)
        if outcome.result == "none":
            raise _Stop("permerror", f"{domain} redirects to {_shown(name)}, without SPF record")
        return outcome

    async def _matches(self, mechanism: Mechanism, domain: str) -> bool:
        """Whether the client is meant (RFC 7208 §5)."""
        if mechanism.name == "all":
            return True
        if mechanism.network:
            return self._client in mechanism.network
        assert mechanism.name in _ASKING
        self._count_term()
        spec = mechanism.spec
        if spec and spec.letters & {"s", "l"} and not self._values["l"].isascii():
            return False  # RFC 8616 §4: such a local part has no form in the DNS
        name = await self._name(spec, domain) if spec else domain
        match mechanism.name:
            case "include":
                return await self._includes(name, domain)
            case "a":
                return self._is_among(await self._addresses(name), mechanism)
            case "mx":
                return await self._is_exchanger(name, mechanism)
            case "ptr":
                return any(_is_within(host, name) for host in await self._validated_names())
            case _:  # exists: always A (RFC 7208 §5.7)
                return bool(await self._ask(name, "A", may_be_void=False))

    async def _includes(self, name: str, domain: str) -> bool:
        """include: (RFC 7208 §5.2)."""
        outcome = await self.host(name)
        if outcome.result == "none":
            raise _Stop("permerror", f"{domain} includes {_shown(name)}, without SPF record")
        return outcome.result == "pass"

    async def _is_exchanger(self, name: str, mechanism: Mechanism) -> bool:
        """mx (RFC 7208 §5.4)."""
        exchangers = await self._ask_mx(name)
        if len(exchangers) > MAX_NAMES:
            raise _Stop("permerror", f"{_shown(name)} has more than {MAX_NAMES} mail exchangers")
        for exchanger in sorted(exchangers, key=lambda one: one.preference):
            if self._is_among(await self._addresses(exchanger.host), mechanism):
                return True
        return False

    async def _validated_names(self) -> tuple[str, ...]:
        """The names of the client that lead back to it (RFC 7208 §5.5); asked for once."""
        if self._validated is None:
            self._validated = ()
            names: list[str] = []
            found = await self._ask_quietly(reverse_name(str(self._client)), "PTR")
            for name in found[:MAX_NAMES]:
                addresses = await self._ask_quietly(name, self._address_type)
                if str(self._client) in map(_canonical_address, addresses):
                    names.append(name)
            self._validated = tuple(names)
        return self._validated

    async def _validated_name(self, domain: str) -> str:
        """The macro `p`: the domain itself, a name in it, any name, "unknown" (RFC 7208 §7.3)."""
        names = await self._validated_names()
        same = [name for name in names if name.lower() == domain.lower()]
        within = [name for name in names if _is_within(name, domain)]
        return (same or within or list(names) or ["unknown"])[0]

    async def _name(self, spec: MacroString, domain: str) -> str:
        return spec.name(await self._values_for(spec, domain))

    async def _values_for(self, spec: MacroString, domain: str) -> dict[str, str]:
        values = {**self._values, "d": domain}
        if "p" in spec.letters:
            values["p"] = await self._validated_name(domain)
        return values

    async def explanation(self, wanted: MacroString, domain: str) -> str:
        """The domain's text about a fail (RFC 7208 §6.2). Raises _Stop, MacroError."""
        found = await self._ask(await self._name(wanted, domain), "TXT")
        if len(found) != 1:
            return ""
        text = spf_macros.parse(found[0], spf_macros.EXPLANATION_LETTERS, spaces=True)
        return _shown(text.text(await self._values_for(text, domain)))

    @property
    def _address_type(self) -> str:
        return "A" if self._client.version == 4 else "AAAA"

    async def _addresses(self, name: str) -> tuple[str, ...]:
        return await self._ask(name, self._address_type, may_be_void=False)

    def _is_among(self, addresses: tuple[str, ...], mechanism: Mechanism) -> bool:
        bits = mechanism.prefix4 if self._client.version == 4 else mechanism.prefix6
        network = ipaddress.ip_network((int(self._client), bits), strict=False)
        return any(ipaddress.ip_address(address) in network for address in addresses)

    def _count_term(self) -> None:
        self._terms += 1
        if self._terms > MAX_TERMS:
            raise _Stop("permerror", f"the SPF record asks for more than {MAX_TERMS} look-ups")

    async def _ask_mx(self, name: str) -> tuple[MX, ...]:
        return await self._ask(name, "MX", may_be_void=False)  # type: ignore[return-value]

    async def _ask_quietly(self, name: str, rdtype: str) -> tuple[str, ...]:
        """As `_ask`; a failure is no record (RFC 7208 §5.5).

        Void ones are not counted: the client's owner has these names, and could turn
        the domain's "fail" into an error with three of them.
        """
        try:
            return await self._ask(name, rdtype)
        except _Stop as stop:
            if stop.result != "temperror":
                raise
            return ()

    async def _ask(self, name: str, rdtype: str, *, may_be_void: bool = True) -> tuple[str, ...]:
        """The records of a name; empty when there are none. Raises _Stop.

        Look-ups of a mechanism that bring nothing are counted (RFC 7208 §4.6.4).
        """
        name = name.removesuffix(".")
        if not _may_exist(name):
            return ()
        if self.queries == MAX_QUERIES:
            raise _Stop("permerror", f"the SPF record leads to more than {MAX_QUERIES} queries")
        self.queries += 1
        records: tuple[str, ...] = ()
        try:
            records = (await self._resolver.query(name, rdtype)).records
        except NoSuchName:
            pass
        except TemporaryDnsError as error:
            raise _Stop("temperror", f"{rdtype} of {name}: no answer") from error
        if not records and not may_be_void:
            self._voids += 1
            if self._voids > MAX_VOID_LOOKUPS:
                raise _Stop("permerror", f"more than {MAX_VOID_LOOKUPS} look-ups found nothing")
        return records


def _client_address(client: str) -> Address:
    """The client's address; IPv4 within IPv6 is IPv4. Raises ValueError."""
    address = ipaddress.ip_address(client.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        return address.ipv4_mapped
    return address


def _address_macros(address: Address) -> dict[str, str]:
    """The macros i, v and c (RFC 7208 §7.3)."""
    if address.version == 4:
        return {"i": str(address), "v": "in-addr", "c": str(address)}
    nibbles = address.exploded.replace(":", "").upper()
    return {"i": ".".join(nibbles), "v": "ip6", "c": str(address)}


def _ascii_domain(text: str) -> str:
    """The domain as A-labels; ValueError when it cannot have a policy (RFC 7208 §4.3)."""
    name = text.removesuffix(".") if len(text) < MAX_DOMAIN_TEXT else ""
    if not name.isascii():
        try:
            name = name.encode("idna").decode("ascii")
        except UnicodeError:
            name = ""
    if "." not in name or not _may_exist(name) or name.endswith("]") or " " in name:
        raise ValueError(f"“{_shown(text[:253])}” is not a full domain name")
    return name


def _may_exist(name: str) -> bool:
    """Whether a name can be asked for at all: lengths, and no octets that need an escape."""
    return (
        len(name) <= spf_macros.MAX_NAME_OCTETS
        and all(0 < len(label) <= 63 for label in name.split("."))
        and all(" " <= character <= "~" and character != "\\" for character in name)
    )


def _is_within(name: str, domain: str) -> bool:
    name, domain = name.lower().removesuffix("."), domain.lower()
    return name == domain or name.endswith(f".{domain}")


def _canonical_address(text: str) -> str:
    return str(ipaddress.ip_address(text))


def _shown(text: str) -> str:
    return "".join(c if " " <= c <= "~" else "?" for c in text)
