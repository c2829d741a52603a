"""What a module may ask of the domain name system, and a fake that ships.

A failure to look up and an answer of "there is none" are different things: the
first must never be judged as the second (a refused message cannot be taken back).
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol


class DnsError(Exception):
    """Base of what a look-up may raise."""


class NoSuchName(DnsError):
    """The name does not exist at all (NXDOMAIN, RFC 2308 §2.1)."""


class TemporaryDnsError(DnsError):
    """Nobody could say: time-out, SERVFAIL, no network. Ask again later."""


@dataclass(frozen=True, slots=True)
class MX:
    """One mail exchanger (RFC 5321 §5.1). `host` is empty for the null MX of RFC 7505."""

    preference: int
    host: str


@dataclass(frozen=True, slots=True)
class Answer:
    """The records of one name and type; empty when the name has none of that type.

    A, AAAA, PTR, CNAME, NS: text without trailing dot. TLSA: text as in a zone file.
    TXT: the strings of one record joined, decoded as Latin-1 so that no octet is
    lost. MX: `MX` values.
    `authenticated` is the resolver's AD bit (RFC 4035 §3.2.3).
    """

    records: tuple[Any, ...]
    authenticated: bool = False


class Resolver(Protocol):
    """Looks names up. Implementations bound the time of each query."""

    async def query(self, name: str, rdtype: str) -> Answer:
        """The records of `rdtype` at `name`, CNAMEs followed.

        Raises NoSuchName, or TemporaryDnsError when nobody could say.
        """
        ...


def reverse_name(address: str) -> str:
    """The name under which the PTR record of `address` is (RFC 1035 §3.5, RFC 3596 §2.5)."""
    return ipaddress.ip_address(address).reverse_pointer


class FakeResolver:
    """A resolver made of data literals:

        FakeResolver(MX={"example.com": [(10, "mx.example.com")]},
                     A={"mx.example.com": ["192.0.2.1"]},
                     CNAME={"www.example.com": ["example.com"]},
                     fail={"TXT slow.example"}, silent={"TXT dead.example"},
                     authenticated={"example.com"})

    Names without any record do not exist. A query in `fail` ends in TemporaryDnsError,
    one in `silent` not at all: whoever asks must have a limit. `asked` lists the queries.
    """

    def __init__(
        self,
        *,
        fail: Collection[str] = (),
        silent: Collection[str] = (),
        authenticated: Collection[str] = (),
        **zones: Mapping[str, Sequence[Any]],
    ) -> None:
        self._fail = {entry.lower() for entry in fail}
        self._silent = {entry.lower() for entry in silent}
        self._authenticated = {_canonical(name) for name in authenticated}
        self._zones = {
            rdtype: {_canonical(name): tuple(records) for name, records in names.items()}
            for rdtype, names in zones.items()
        }
        self.asked: list[tuple[str, str]] = []

    async def query(self, name: str, rdtype: str) -> Answer:
        owner = _canonical(name)
        self.asked.append((owner, rdtype))
        aliases = {} if rdtype == "CNAME" else self._zones.get("CNAME", {})
        seen = {owner}
        while owner in aliases:
            owner = _canonical(aliases[owner][0])
            if owner in seen:
                raise TemporaryDnsError(f"{owner} {rdtype}: the aliases go in a circle")
            seen.add(owner)
        queries = {f"{rdtype} {owner}".lower() for owner in seen}
        if queries & self._fail:
            raise TemporaryDnsError(f"{owner} {rdtype}: asked to fail")
        if queries & self._silent:
            await asyncio.Event().wait()
        records = self._zones.get(rdtype, {}).get(owner)
        if records is None:
            if not any(owner in names for names in self._zones.values()):
                raise NoSuchName(owner)
            records = ()
        if rdtype == "MX":
            records = tuple(r if isinstance(r, MX) else MX(*r) for r in records)
        return Answer(records=records, authenticated=owner in self._authenticated)


def _canonical(name: str) -> str:
    return name.rstrip(".").lower()
