"""From a route to addresses that can be dialled (RFC 5321 §5.1, RFC 7505).

DeliveryTrouble     when there are none, for now or for good
"""

import ipaddress
import random
from dataclasses import dataclass

from appliance.dns.resolver import MX, NoSuchName, Resolver, TemporaryDnsError
from appliance.relay.reasons import DeliveryTrouble, Say
from appliance.relay.router import Kind, Route

MAX_ADDRESSES = 10


@dataclass(frozen=True, slots=True)
class Target:
    """One address to try; `name` is what a certificate would bear."""

    name: str
    address: str
    port: int

    def __str__(self) -> str:
        return self.name if self.name == self.address else f"{self.name}[{self.address}]"


async def find(route: Route, resolver: Resolver, own_name: str) -> list[Target]:
    """The addresses of a route in the order in which to try them."""
    if route.kind is Kind.NOWHERE:
        raise DeliveryTrouble(Say.NO_MAILBOX, permanent=True, status="5.1.1")
    if route.kind is Kind.HOST:
        return await _of_host(route.host, route.port, resolver, Say.HOST_NOT_FOUND)
    return await _of_domain(route, resolver, own_name)


async def _of_domain(route: Route, resolver: Resolver, own_name: str) -> list[Target]:
    try:
        records = list((await resolver.query(route.host, "MX")).records)
    except NoSuchName as error:
        raise DeliveryTrouble(Say.NAME_NOT_FOUND, permanent=True, status="5.1.2") from error
    except TemporaryDnsError as error:
        raise DeliveryTrouble(Say.NAME_TROUBLE, status="4.4.3") from error
    if not records:  # RFC 5321 §5.1: then the domain is its own mail server
        return await _of_host(route.host, route.port, resolver, Say.NAME_NOT_FOUND)
    if len(records) == 1 and not records[0].host.rstrip("."):
        raise DeliveryTrouble(Say.NULL_MX, permanent=True, status="5.1.10")
    found: list[Target] = []
    trouble: DeliveryTrouble | None = None
    for record in preferred(records, own_name):
        try:
            found += await _of_host(record.host, route.port, resolver, Say.NO_ADDRESS)
        except DeliveryTrouble as error:
            # One that may work later outweighs those that never will.
            trouble = error if trouble is None or not error.permanent else trouble
        if len(found) >= MAX_ADDRESSES:
            break
    if not found:
        raise trouble or DeliveryTrouble(Say.NO_ADDRESS, permanent=True, status="5.4.4")
    return found[:MAX_ADDRESSES]


def preferred(records: list[MX], own_name: str) -> list[MX]:
    """By preference, equals shuffled; only those better than ourselves (RFC 5321 §5.1)."""
    own = [record.preference for record in records if _same(record.host, own_name)]
    usable = [record for record in records if not own or record.preference < min(own)]
    if not usable:
        raise DeliveryTrouble(Say.OWN_MX, permanent=True, status="5.4.6")
    return sorted(usable, key=lambda record: (record.preference, random.random()))


async def _of_host(host: str, port: int, resolver: Resolver, missing: Say) -> list[Target]:
    try:
        return [Target(host, str(ipaddress.ip_address(host)), port)]
    except ValueError:
        pass
    if host.lower().rstrip(".") == "localhost":  # RFC 6761 §6.3: never asked of the DNS
        return [Target(host, "127.0.0.1", port)]
    addresses: list[str] = []
    temporary = False
    for rdtype in ("AAAA", "A"):
        try:
            addresses += (await resolver.query(host, rdtype)).records
        except NoSuchName:
            break
        except TemporaryDnsError:
            temporary = True
    if addresses:
        return [Target(host, address, port) for address in addresses]
    if temporary:
        raise DeliveryTrouble(Say.NAME_TROUBLE, status="4.4.3")
    # A next hop that somebody typed in may be mended; a recipient's domain will not be.
    permanent = missing is not Say.HOST_NOT_FOUND
    raise DeliveryTrouble(missing, permanent=permanent, status="5.1.2" if permanent else "4.4.4")


def _same(one: str, other: str) -> bool:
    return one.rstrip(".").lower() == other.rstrip(".").lower()
