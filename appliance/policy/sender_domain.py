"""Does the sender's domain exist? (FEATURES F1 station 1)

A domain that has neither mail server nor address cannot be written back to (RFC 5321 §5.1), and
one with a null MX says that it sends and takes no mail (RFC 7505 §4.2). Strangers only. What the
DNS said is kept for a while, so that a busy sender costs one look-up.
"""

from __future__ import annotations

import asyncio
from enum import StrEnum

from appliance.dns.resolver import NoSuchName, Resolver, TemporaryDnsError
from appliance.mail import reply as replies
from appliance.policy.rules import Rules
from appliance.policy.tools import Tools
from appliance.policy.verdict import Facts, Verdict, defer, note, reject

BUDGET_SECONDS = 5.0
PROBE_SECONDS = 2.0
KEEP_SECONDS = 600.0
KEEP_TROUBLE_SECONDS = 10.0
KEEP_NO_DNS_SECONDS = 30.0
ROOT = "."  # asked when nothing answers: is it the sender's DNS or ours?


class Domain(StrEnum):
    """What the DNS says of a sender's domain."""

    UNASKED = ""
    EXISTS = "exists"
    MISSING = "missing"
    NULL_MX = "null mx"
    UNKNOWN = "unknown"  # its DNS does not answer
    NO_DNS = "no dns"  # nothing answers us at all, which says nothing about the sender


def is_on(rules: Rules) -> bool:
    """The switch."""
    return rules.settings.filter.check_sender_domain


async def look_up(facts: Facts, rules: Rules, tools: Tools) -> None:
    """Ask for MX, and for an address where there is none."""
    facts.sender_domain = Domain.UNASKED
    domain = facts.mail_from.domain_key if facts.mail_from is not None else ""
    if not domain or domain.startswith("["):  # null sender; a literal names no domain
        return
    if domain in rules.mail_domains or domain in rules.relay_domains:
        return  # ours, whatever the DNS says at the moment
    now = tools.clock.monotonic()
    found = tools.sender_domains.get(domain, now) or tools.sender_domains.get(ROOT, now)
    if found is None:
        found = await ask(tools.resolver, domain)
        if found is Domain.UNKNOWN and not await _dns_answers(tools.resolver):
            found, domain = Domain.NO_DNS, ROOT
        keep = {Domain.UNKNOWN: KEEP_TROUBLE_SECONDS, Domain.NO_DNS: KEEP_NO_DNS_SECONDS}
        end = tools.clock.monotonic() + keep.get(found, KEEP_SECONDS)
        tools.sender_domains.put(domain, found, end)
    facts.sender_domain = found


def dns_is_down(tools: Tools) -> bool:
    """Whether it was found lately that no name server answers."""
    return tools.sender_domains.get(ROOT, tools.clock.monotonic()) is not None


async def ask(resolver: Resolver, domain: str) -> Domain:
    """What the DNS says of a domain (RFC 5321 §5.1, RFC 7505 §3)."""
    try:
        async with asyncio.timeout(BUDGET_SECONDS):
            return await _ask(resolver, domain)
    except TimeoutError:
        return Domain.UNKNOWN


async def _ask(resolver: Resolver, domain: str) -> Domain:
    trouble = False
    for rdtype in ("MX", "A", "AAAA"):
        try:
            records = (await resolver.query(domain, rdtype)).records
        except NoSuchName:
            return Domain.MISSING
        except TemporaryDnsError:
            trouble = True
            continue
        if rdtype == "MX" and len(records) == 1 and not records[0].host.rstrip("."):
            return Domain.NULL_MX
        if records:
            return Domain.EXISTS
    return Domain.UNKNOWN if trouble else Domain.MISSING


async def _dns_answers(resolver: Resolver) -> bool:
    """Whether anything at all can be looked up."""
    try:
        async with asyncio.timeout(PROBE_SECONDS):
            await resolver.query(ROOT, "NS")
    except NoSuchName:
        return True
    except (TemporaryDnsError, TimeoutError):
        return False
    return True


def exists(facts: Facts, rules: Rules) -> Verdict | None:
    """Refuse what could not be answered; put off what cannot be known now."""
    domain = facts.mail_from.domain_key if facts.mail_from is not None else ""
    if facts.sender_domain == Domain.MISSING:
        why = f"{domain} has neither MX nor address"
        return reject("sender_domain", replies.NO_SENDER_DOMAIN, why)
    if facts.sender_domain == Domain.NULL_MX:
        why = f"{domain} says that it takes no mail (null MX)"
        return reject("sender_domain", replies.SENDER_TAKES_NO_MAIL, why)
    if facts.sender_domain == Domain.UNKNOWN:
        why = f"nobody could say whether {domain} exists"
        return defer("sender_domain", replies.SENDER_DOMAIN_UNKNOWN, why)
    if facts.sender_domain == Domain.NO_DNS:
        # A box whose own DNS is broken must not turn everybody's mail away.
        return note("sender_domain", "not looked up: no name server answers this box")
    return None
