"""From a route to addresses that can be dialled (RFC 5321 §5.1, RFC 7505).

DeliveryTrouble     when there are none, for now or for good
"""

import asyncio
import contextlib
import ipaddress
import random
import socket
from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain, zip_longest

from appliance.dns.resolver import MX, Answer, DnsError, NoSuchName, Resolver, TemporaryDnsError
from appliance.relay.reasons import DeliveryTrouble, Say
from appliance.relay.router import Kind, Route

MAX_ADDRESSES = 10
MAX_HOSTS = 10
IsOwn = Callable[[str], bool]


@dataclass(frozen=True, slots=True)
class Target:
    """One address to try; `name` is what a certificate would bear.

    `address` may be the path of a socket. `authenticated`: the signed DNS vouches for the way
    from the domain to this address (RFC 7672 §2.2).
    """

    name: str
    address: str
    port: int
    authenticated: bool = False

    def __str__(self) -> str:
        return self.name if self.name == self.address else f"{self.name}[{self.address}]"


def is_own_address(address: str) -> bool:
    """Whether connecting there would reach this machine.

    For an address of its own the kernel chooses that same one as the source; asking sends
    nothing. Loopback and the unspecified address always lead here.
    """
    found = ipaddress.ip_address(address)
    if found.is_loopback or found.is_unspecified:
        return True
    family = socket.AF_INET6 if found.version == 6 else socket.AF_INET
    with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.connect((address, 9))
        own: str = sock.getsockname()[0]
        return own == address
    return False


async def find(
    route: Route, resolver: Resolver, own_name: str, *, is_own: IsOwn = is_own_address
) -> list[Target]:
    """The addresses of a route in the order in which to try them."""
    if route.kind is Kind.NOWHERE:
        raise DeliveryTrouble(Say.NO_MAILBOX, permanent=True, status="5.1.1")
    if route.kind is Kind.MAILBOX and route.host.startswith("/"):
        return [Target(route.host, route.host, 0)]
    if route.kind in (Kind.HOST, Kind.MAILBOX):
        return await _of_host(route.host, route.port, resolver, Say.HOST_NOT_FOUND)
    return await _of_domain(route, resolver, own_name, is_own)


async def _of_domain(
    route: Route, resolver: Resolver, own_name: str, is_own: IsOwn
) -> list[Target]:
    try:
        answer = await resolver.query(route.host, "MX")
    except NoSuchName as error:
        raise DeliveryTrouble(Say.NAME_NOT_FOUND, permanent=True, status="5.1.2") from error
    except TemporaryDnsError as error:
        raise DeliveryTrouble(Say.NAME_TROUBLE, status="4.4.3") from error
    records = list(answer.records)
    if len(records) == 1 and not records[0].host.rstrip("."):
        raise DeliveryTrouble(Say.NULL_MX, permanent=True, status="5.1.10")
    if not records:  # RFC 5321 §5.1: then the domain is its own mail server
        found = await _of_host(
            route.host, route.port, resolver, Say.NAME_NOT_FOUND, secure=answer.authenticated
        )
        if any(is_own(target.address) for target in found):
            raise DeliveryTrouble(Say.OWN_MX, permanent=True, status="5.4.6")
        return found[:MAX_ADDRESSES]
    # RFC 7505 §3: beside others, a null MX means nothing.
    named = preferred([record for record in records if record.host.rstrip(".")], own_name)
    return await _of_exchangers(named, route, resolver, is_own, secure=answer.authenticated)


async def _of_exchangers(
    records: list[MX], route: Route, resolver: Resolver, is_own: IsOwn, *, secure: bool
) -> list[Target]:
    """The addresses of the best hosts, up to the first that is this box."""
    found: list[tuple[int, Target]] = []
    trouble: DeliveryTrouble | None = None
    for record in records[:MAX_HOSTS]:
        if len(found) >= MAX_ADDRESSES:
            break
        try:
            addresses = await _of_host(
                record.host, route.port, resolver, Say.NO_ADDRESS, secure=secure
            )
        except DeliveryTrouble as error:
            # One that may work later outweighs those that never will.
            trouble = error if trouble is None or not error.permanent else trouble
            continue
        if any(is_own(target.address) for target in addresses):
            # RFC 5321 §5.1: ourselves under another name; what is not better leads back here.
            found = [pair for pair in found if pair[0] < record.preference]
            trouble = trouble or DeliveryTrouble(Say.OWN_MX, permanent=True, status="5.4.6")
            break
        found += [(record.preference, target) for target in addresses]
    if not found:
        raise trouble or DeliveryTrouble(Say.NO_ADDRESS, permanent=True, status="5.4.4")
    return [target for _, target in found][:MAX_ADDRESSES]


def preferred(records: list[MX], own_name: str) -> list[MX]:
    """By preference, equals shuffled; only those better than ourselves (RFC 5321 §5.1)."""
    own = [record.preference for record in records if _same(record.host, own_name)]
    usable = [record for record in records if not own or record.preference < min(own)]
    if not usable:
        raise DeliveryTrouble(Say.OWN_MX, permanent=True, status="5.4.6")
    return sorted(usable, key=lambda record: (record.preference, random.random()))


async def _of_host(
    host: str, port: int, resolver: Resolver, missing: Say, *, secure: bool = False
) -> list[Target]:
    """IPv6 and IPv4 by turns, IPv6 first: a family that does not work costs one time-out
    before the other is tried (RFC 8305 §4)."""
    try:
        return [Target(host, str(ipaddress.ip_address(host)), port)]
    except ValueError:
        pass
    if host.lower().rstrip(".") == "localhost":  # RFC 6761 §6.3: never asked of the DNS
        return [Target(host, "127.0.0.1", port)]
    answers = await asyncio.gather(*(_ask(resolver, host, rdtype) for rdtype in ("AAAA", "A")))
    families = [
        [Target(host, address, port, secure and answer.authenticated) for address in answer.records]
        for answer in answers
        if isinstance(answer, Answer)
    ]
    found = [target for target in chain(*zip_longest(*families)) if target is not None]
    if found:
        return found
    if any(isinstance(answer, TemporaryDnsError) for answer in answers):
        raise DeliveryTrouble(Say.NAME_TROUBLE, status="4.4.3")
    # A next hop that somebody typed in may be mended; a recipient's domain will not be.
    permanent = missing is not Say.HOST_NOT_FOUND
    raise DeliveryTrouble(missing, permanent=permanent, status="5.1.2" if permanent else "4.4.4")


async def _ask(resolver: Resolver, host: str, rdtype: str) -> Answer | DnsError:
    try:
        return await resolver.query(host, rdtype)
    except DnsError as error:
        return error


def _same(one: str, other: str) -> bool:
    return one.rstrip(".").lower() == other.rstrip(".").lower()
