"""Is the caller on a block list? (RFC 5782, FEATURES S4 and B10, F1 station 2)

A list publishes the addresses it warns of as names in its zone: 192.0.2.99 as
99.2.0.192.zone with an A record in 127/8, and why as TXT. The look-up begins at connect and is
judged at RCPT, after the recipient checks, so that it costs no time and the ledger knows both
addresses. A list counts only after it has proved itself: it lists 127.0.0.2 and not 127.0.0.1
(RFC 5782 §5). Answers in 127.255.255/24 (the list says that it does not serve us) and outside
127/8 (somebody rewrites missing names) never count.

Whom we have written to is put off, not refused: the circuit breaker (`Dnsbl.good_sender_listed`)
may find that the list is wrong before the sender's server gives up.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import Protocol

from appliance.dns.resolver import NoSuchName, Resolver, TemporaryDnsError
from appliance.mail import reply as replies
from appliance.policy.role_addresses import is_role
from appliance.policy.rules import Rules
from appliance.policy.sender_lists import Says
from appliance.policy.tools import Tools
from appliance.policy.verdict import BlockLists, Facts, Listing, Verdict, defer, note, reject

MAX_REASON_CHARACTERS = 200
_LOOPBACK = ipaddress.ip_network("127.0.0.0/8")
_ERRORS = ipaddress.ip_network("127.255.255.0/24")
LISTED_TEST, UNLISTED_TEST = "127.0.0.2", "127.0.0.1"  # RFC 5782 §5


class Dnsbl(Protocol):
    """The part of `Tools` that looks callers up, in its own time and memory."""

    def begin(self, client: str) -> None:
        """Start looking a caller up; never waits."""
        ...

    async def outcome(self, client: str) -> BlockLists:
        """What was found, after at most the time budget."""
        ...

    def good_sender_listed(self, zone: str, client: str) -> None:
        """A list named a caller whose mail is wanted; too many of them suspend the list."""
        ...


def query_name(client: str, zone: str) -> str:
    """The name to ask for (RFC 5782 §2.1, §2.4). Raises ValueError when it is no address."""
    ip = ipaddress.ip_address(client.partition("%")[0])
    reverse = ip.reverse_pointer
    return f"{reverse.removesuffix('.in-addr.arpa').removesuffix('.ip6.arpa')}.{zone}"


def counting(records: Sequence[object]) -> tuple[str, ...]:
    """The answers that mean "listed"."""
    found = []
    for record in records:
        try:
            ip = ipaddress.IPv4Address(str(record))
        except ValueError:
            continue
        if ip in _LOOPBACK and ip not in _ERRORS:
            found.append(str(ip))
    return tuple(found)


async def ask(resolver: Resolver, zone: str, client: str) -> Listing | None:
    """What one list says of a caller. Raises TemporaryDnsError when nobody could say."""
    name = query_name(client, zone)
    try:
        codes = counting((await resolver.query(name, "A")).records)
    except NoSuchName:
        return None
    return Listing(zone, codes, await _reason(resolver, name)) if codes else None


async def prove(resolver: Resolver, zone: str) -> str:
    """Why a list must not count now; empty when it proved itself (RFC 5782 §5)."""
    try:
        listed = (await resolver.query(query_name(LISTED_TEST, zone), "A")).records
    except NoSuchName:
        listed = ()
    except TemporaryDnsError:
        return "it does not answer"
    if not counting(listed):
        if listed:
            shown = ", ".join(str(record) for record in listed[:3])
            return f"it does not serve this box's name server (its answer is {shown})"
        return f"it does not list the test address {LISTED_TEST}: it is dead or not a block list"
    try:
        unlisted = (await resolver.query(query_name(UNLISTED_TEST, zone), "A")).records
    except NoSuchName:
        return ""
    except TemporaryDnsError:
        return "it does not answer"
    if unlisted:
        return f"it lists everybody (the test address {UNLISTED_TEST} too)"
    return ""


async def _reason(resolver: Resolver, name: str) -> str:
    """The list's own words (RFC 5782 §2.1): a stranger's text, for the private reason only."""
    try:
        records = (await resolver.query(name, "TXT")).records
    except (NoSuchName, TemporaryDnsError):
        return ""
    text = " ".join(str(record) for record in records)
    return "".join(c if c.isprintable() else "?" for c in text)[:MAX_REASON_CHARACTERS]


# The station


def is_on(rules: Rules) -> bool:
    """The switch, and something to ask."""
    return rules.settings.filter.dnsbl and bool(rules.settings.filter.dnsbl_zones)


async def begin(facts: Facts, rules: Rules, tools: Tools) -> None:
    """At connect."""
    facts.block_lists = None
    if tools.dnsbl is not None:
        tools.dnsbl.begin(facts.client)


def begun(facts: Facts, rules: Rules) -> Verdict | None:
    """Nothing is decided at connect."""
    return None


async def look_up(facts: Facts, rules: Rules, tools: Tools) -> None:
    """At RCPT: wait for what began at connect."""
    if tools.dnsbl is None or is_role(facts.recipient):
        return
    found = await tools.dnsbl.outcome(facts.client)
    if found.listings:
        knows = tools.correspondents is not None and facts.mail_from is not None
        facts.written_to = knows and tools.correspondents.knows(str(facts.mail_from))  # type: ignore[union-attr]
        if facts.written_to or facts.permitted:
            for listing in found.listings:
                tools.dnsbl.good_sender_listed(listing.zone, facts.client)
            found = await tools.dnsbl.outcome(facts.client)  # without those suspended just now
    facts.block_lists = found


def listed(facts: Facts, rules: Rules) -> Verdict | None:
    """Refuse a caller that a list names."""
    found = facts.block_lists
    if found is None or is_role(facts.recipient):
        return None
    if not found.listings:
        silent = ", ".join(found.silent)
        return note("dnsbl", f"no answer in time from {silent}") if silent else None
    why = "; ".join(str(listing) for listing in found.listings)
    if rules.settings.filter.permitted_skip_dnsbl:
        opinion = rules.senders.of_client(facts.client)
        if opinion.says is Says.PERMITTED:
            return note("dnsbl", f"{why}; but {opinion}, and permitted addresses skip the lists")
    zone = found.listings[0].zone
    if facts.written_to:
        why = f"{why}; put off, not refused, for somebody here has written to {facts.mail_from}"
        return defer("dnsbl", replies.LISTED_FOR_NOW.naming(zone), why)
    return reject("dnsbl", replies.LISTED.naming(zone), why)
