"""The DNS guide (N1 to N6): each record for this box, where to enter it, what is there now.

The look takes seconds when a name server is slow, so the page shows the records at once and
the state as "not known yet"; the script then fetches `?look=1`, and without the script there
is a link to it.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flask import Blueprint, render_template, request

from appliance.base.finding import Finding, Result
from appliance.dns import advisor, dkim_advice
from appliance.dns.advisor import Record, Seen
from appliance.dns.resolver import DnsError, Resolver
from appliance.settings.schema import Settings
from appliance.web.i18n import N_, _
from appliance.web.services import services

LOOK_SECONDS = 25.0
pages = Blueprint("dns", __name__, url_prefix="/dns")

PLACES: Mapping[str, str] = {
    "registrar": N_("At the company where you registered the domain, under “DNS”."),
    "provider": N_("Your Internet provider enters it; ask for a “reverse entry” (PTR)."),
}
SOON: Mapping[str, str] = {
    "registrar": N_("Often within minutes, at most a day or two."),
    "provider": N_("Usually one or two working days."),
}


@dataclass(frozen=True, slots=True)
class Guide:
    """The records, beside what was seen of them when there was a look."""

    seen: Sequence[Seen]
    looked: bool

    @property
    def missing(self) -> int:
        return sum(1 for s in self.seen if s.finding.result in (Result.BAD, Result.WARN))


def public_addresses(facts: Mapping[str, Any]) -> list[str]:
    """The box's own addresses that the Internet can reach; none behind a router."""
    found = []
    listed = facts.get("addresses")
    for raw in listed if isinstance(listed, list | tuple) else ():
        try:
            address = ipaddress.ip_address(str(raw).split("/")[0])
        except ValueError:
            continue
        if address.is_global:
            found.append(str(address))
    return found


async def _resolved(hostname: str, resolver: Resolver) -> list[str]:
    """Where the host name leads now: behind a router the best guess at the public address."""
    found: list[str] = []
    for rdtype in ("A", "AAAA"):
        try:
            answer = await resolver.query(hostname, rdtype)
        except DnsError:
            continue
        found += [str(record) for record in answer.records]
    return found


def _signing(facts: Mapping[str, Any]) -> tuple[Record, ...]:
    """The records of the keys that mail is signed with, now and next."""
    keys = facts.get("dkim_keys")
    return dkim_advice.records(keys if isinstance(keys, list | tuple) else ())


def unlooked(record: Record) -> Seen:
    return Seen(
        record=record,
        now=(),
        finding=Finding(
            check=f"dns.{record.type.lower()}.{record.name}",
            result=Result.UNKNOWN,
            say=_("Not looked up yet."),
        ),
    )


def _ptr_to_come(settings: Settings) -> Record:
    """The PTR record while the public address is not known."""
    return Record(
        type="PTR",
        name=_("(the public address of your line)"),
        zone="",
        value=f"{settings.mail.hostname}.",
        who="provider",
        why="Many servers take no mail from an address without it.",
    )


async def _look(settings: Settings, facts: Mapping[str, Any], resolver: Resolver) -> list[Seen]:
    known = public_addresses(facts)
    guessed = known or await _resolved(settings.mail.hostname, resolver)
    # Only what the box knows itself is told as the wanted address; a guess serves the PTR.
    records = [*advisor.wanted(settings, known), *_signing(facts)]
    if not known:
        records += [r for r in advisor.wanted(settings, guessed) if r.type == "PTR"]
    seen = await advisor.look(records, resolver)
    if not any(s.record.type == "PTR" for s in seen):
        seen.append(unlooked(_ptr_to_come(settings)))
    return seen


def guide(settings: Settings, facts: Mapping[str, Any], *, look: bool) -> Guide:
    """The records for these settings; with `look`, beside what resolves now."""
    if not settings.mail.hostname:
        return Guide((), False)
    if look:
        try:
            work = _look(settings, facts, services().resolver)
            return Guide(_sorted(asyncio.run(asyncio.wait_for(work, LOOK_SECONDS))), True)
        except TimeoutError:
            pass
    records = [*advisor.wanted(settings, public_addresses(facts)), *_signing(facts)]
    if not any(r.type == "PTR" for r in records):
        records.append(_ptr_to_come(settings))
    return Guide(_sorted([unlooked(record) for record in records]), False)


def seen_of(records: Sequence[Record], *, look: bool) -> Guide:
    """These records alone; with `look`, beside what resolves now."""
    if look:
        try:
            work = advisor.look(records, services().resolver)
            return Guide(asyncio.run(asyncio.wait_for(work, LOOK_SECONDS)), True)
        except TimeoutError:
            pass
    return Guide([unlooked(record) for record in records], False)


def _sorted(seen: Sequence[Seen]) -> list[Seen]:
    """In the order in which one enters them: address, mail, name back, senders."""
    order = {"A": 0, "AAAA": 1, "MX": 2, "PTR": 3, "TXT": 4}
    return sorted(seen, key=lambda s: order.get(s.record.type, 9))


@pages.get("/")
def overview() -> str:
    view = services().view()
    found = guide(view.settings, view.facts, look=bool(request.args.get("look")))
    return render_template("dns/overview.html", guide=found, hostname=view.settings.mail.hostname)
