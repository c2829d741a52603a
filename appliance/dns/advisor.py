"""The records that this box needs, written out, and what the world sees of them now (N1 to N6).

`wanted` is pure: settings and the box's public addresses in, records out.
`look` compares each with what resolves. A failed look-up is "not known yet",
never "wrong": a check that cries wolf teaches people to ignore it.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from appliance.base.finding import Finding, Result
from appliance.dns.resolver import MX, NoSuchName, Resolver, TemporaryDnsError, reverse_name
from appliance.settings.schema import Settings

TXT_STRING_OCTETS = 255  # RFC 1035 §3.3: one character-string


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One record to publish.

    `name` is the full name, `short` what a registrar's form wants within `zone`,
    `value` the text to enter, `who` the one who can enter it: registrar or provider.
    """

    type: str
    name: str
    zone: str
    value: str
    why: str
    who: str = "registrar"
    required: bool = True
    kind: str = ""  # of a TXT record; empty: SPF
    judge: Callable[[Record, Sequence[str], str], Finding] | None = None

    @property
    def short(self) -> str:
        """The name within its zone; @ for the zone itself."""
        if self.name == self.zone:
            return "@"
        return self.name.removesuffix(f".{self.zone}")

    @property
    def quoted(self) -> str:
        """A TXT value as quoted strings of at most 255 octets; other values as they are."""
        if self.type != "TXT":
            return self.value
        step = TXT_STRING_OCTETS
        parts = [self.value[start : start + step] for start in range(0, len(self.value), step)]
        return " ".join(f'"{part}"' for part in parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One wanted record beside what resolves now."""

    record: Record
    now: tuple[str, ...]
    finding: Finding


def wanted(settings: Settings, public_addresses: Iterable[str] = ()) -> tuple[Record, ...]:
    """The records for these settings, in the order in which to enter them.

    `public_addresses` are the box's addresses as the Internet sees them; without
    any, the address records say so in place of a value.
    """
    host = settings.mail.hostname
    if not host:
        return ()
    addresses = [ipaddress.ip_address(address) for address in public_addresses]
    zone = _zone_of(host, settings)
    records = [
        Record(
            type="A" if address.version == 4 else "AAAA",
            name=host,
            zone=zone,
            value=str(address),
            why="Other servers find the box by it.",
        )
        for address in addresses
    ]
    if not addresses:
        records.append(
            Record(
                type="A",
                name=host,
                zone=zone,
                value="(the public address of your line)",
                why="Other servers find the box by it.",
            )
        )
    for domain in _domains(settings):
        records.append(
            Record(
                type="MX",
                name=domain,
                zone=domain,
                value=f"10 {host}.",
                why=f"It sends mail for {domain} to the box.",
            )
        )
    records += [
        Record(
            type="PTR",
            name=reverse_name(str(address)),
            zone=reverse_name(str(address)),
            value=f"{host}.",
            who="provider",
            why="Many servers take no mail from an address without it.",
        )
        for address in addresses
    ]
    records += [
        Record(
            type="TXT",
            name=domain,
            zone=domain,
            value=_spf(settings),
            why=f"It says which servers may send mail from {domain}.",
        )
        for domain in _domains(settings)
    ]
    return tuple(records)


def _domains(settings: Settings) -> list[str]:
    """Mail and relay domains that can be in public DNS, each once (N6: relay domains too)."""
    mail = settings.mail
    names = [mail.main_domain, *mail.additional_domains, *(r.domain for r in mail.relay_domains)]
    return [name for name in dict.fromkeys(names) if name and not is_private(name)]


def is_private(name: str) -> bool:
    """Whether `name` can never be in public DNS (RFC 6761 §6, RFC 6762 §3, RFC 8375)."""
    return f".{name}".endswith((".invalid", ".local", ".internal", ".home.arpa"))


def _zone_of(host: str, settings: Settings) -> str:
    """The longest known domain that holds `host`, or its parent."""
    holders = [d for d in _domains(settings) if host == d or host.endswith(f".{d}")]
    return max(holders, key=len) if holders else host.partition(".")[2]


def _spf(settings: Settings) -> str:
    """RFC 7208: the MX may send; a smarthost's own addresses have to be added by name."""
    if settings.outbound.mode == "smarthost" and settings.outbound.smarthost_host:
        return f"v=spf1 mx a:{settings.outbound.smarthost_host} -all"
    return "v=spf1 mx -all"


async def look(records: Iterable[Record], resolver: Resolver) -> list[Seen]:
    """Each record beside what resolves now. One failing check never hinders the others."""
    return list(await asyncio.gather(*(_look_at(record, resolver) for record in records)))


async def _look_at(record: Record, resolver: Resolver) -> Seen:
    check = f"dns.{record.type.lower()}.{record.name}"
    try:
        answer = await resolver.query(record.name, record.type)
        now = tuple(_as_text(item) for item in answer.records)
    except NoSuchName:
        now = ()
    except TemporaryDnsError:
        return Seen(
            record=record,
            now=(),
            finding=Finding(
                check=check,
                result=Result.UNKNOWN,
                say=f"The {record.type} record of {record.name} is not known yet.",
                means="No name server answered just now.",
                fix="Nothing to do; it is looked up again when this page is opened.",
            ),
        )
    return Seen(record=record, now=now, finding=_judge(record, now, check))


def _as_text(item: object) -> str:
    return f"{item.preference} {item.host}." if isinstance(item, MX) else str(item)


def _judge(record: Record, now: tuple[str, ...], check: str) -> Finding:
    """What to think of `now`; pure."""
    if record.judge is not None:
        return record.judge(record, now, check)
    if record.type == "TXT":
        now = tuple(text for text in now if text.lower().split(" ")[0] == "v=spf1")
    if not now:
        return Finding(
            check=check,
            result=Result.BAD,
            say=f"There is no {_kind(record)} for {record.name} yet.",
            means=record.why,
            fix=f"Have your {_who(record)} enter it as shown. It can take some hours to be seen.",
        )
    if record.type == "TXT" and len(now) > 1:
        return Finding(
            check=check,
            result=Result.BAD,
            say=f"{record.name} has {len(now)} SPF records.",
            means="With more than one, other servers heed none (RFC 7208 §4.5).",
            fix="Merge them into one.",
        )
    if any(_same(record, text) for text in now):
        return Finding(check=check, result=Result.OK, say=f"{_kind(record)}: as it should be.")
    if record.value.startswith("("):
        return Finding(
            check=check,
            result=Result.UNKNOWN,
            say=f"{record.name} resolves to {_quoted(now)}.",
            means="The box cannot see from inside whether that is your line's public address.",
            fix="Compare it with the address that your Internet provider gave you.",
        )
    return Finding(
        check=check,
        result=Result.WARN if record.type == "TXT" else Result.BAD,
        say=f"The {_kind(record)} for {record.name} says something else: {_quoted(now)}.",
        means=record.why,
        fix=f"If the box is to do this alone, have your {_who(record)} change it as shown.",
    )


def _same(record: Record, now: str) -> bool:
    if record.type == "MX":
        return now.split(" ")[-1].rstrip(".").lower() == record.value.split(" ")[-1].rstrip(".")
    if record.type == "TXT":
        return set(now.lower().split()) >= set(record.value.lower().split())
    return now.rstrip(".").lower() == record.value.rstrip(".").lower()


def _quoted(texts: Iterable[str]) -> str:
    return ", ".join(f"“{text.rstrip('.')}”" for text in texts)


def _kind(record: Record) -> str:
    return "SPF record" if record.type == "TXT" else f"{record.type} record"


def _who(record: Record) -> str:
    return "Internet provider" if record.who == "provider" else "registrar"
