"""Under which names and to whom the pages answer.

A page that answers to any Host header can be reached by a stranger's web page through DNS
rebinding. So: own names, own addresses, localhost, and what the settings add. An address in
the Host header can't be rebound, but only the box's own ones are taken, too.

Before the box has an owner, only neighbours are answered (H6): private, link-local and
loopback addresses.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Collection, Mapping
from typing import Any

from appliance.settings.schema import Settings

# `pennypost-2.local` is what avahi makes of the name when two boxes are in one network. The
# other endings are those that home and office routers give; none of them is public.
_FACTORY_NAME = re.compile(
    r"pennypost(-\d{1,3})?(\.(local|lan|home|home\.arpa|internal|localdomain|fritz\.box))?"
)
_LOCAL_NAMES = frozenset({"localhost", "localhost.localdomain", "ip6-localhost"})


def split_host(header: str) -> tuple[str, int | None] | None:
    """Split a Host header into name and port; None when it is malformed (RFC 9110 §7.2)."""
    match = re.fullmatch(r"(\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9._-]{1,253})(?::(\d{1,5}))?", header)
    if match is None:
        return None
    name = match[1].strip("[]").lower().rstrip(".")
    return (name, int(match[2]) if match[2] else None) if name else None


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(text.split("%")[0])
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        return address.ipv4_mapped
    return address


def is_neighbour(peer: str) -> bool:
    """Tell whether `peer` is in a network that is not routed on the Internet."""
    address = _address(peer)
    if address is None:
        return False
    if address.is_loopback or address.is_link_local:
        return True
    return any(address in net for net in _PRIVATE if net.version == address.version)


_PRIVATE = tuple(
    ipaddress.ip_network(net)
    for net in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7")
)


def names_of(settings: Settings, facts: Mapping[str, Any]) -> frozenset[str]:
    """The names under which the box answers, from settings and facts."""
    names = {settings.mail.hostname, *settings.web.allowed_hosts}
    for key in ("hostname", "mdns_name", "fqdn"):
        value = facts.get(key)
        if isinstance(value, str):
            names.add(value)
    return frozenset(name.lower().rstrip(".") for name in names if name)


def is_own(name: str, *, names: Collection[str]) -> bool:
    """Tell whether the Host `name` (without port) is one of the box's names or addresses."""
    if _address(name) is not None:
        return name in names or is_own_address(name)
    return name in names or name in _LOCAL_NAMES or bool(_FACTORY_NAME.fullmatch(name))


def is_own_address(text: str) -> bool:
    """Tell whether `text` is an address of this machine at this moment.

    Asked of the kernel by binding to it, which only an own address allows: the web's unit sees
    no /proc/net, and what was rendered at boot may be older than the last DHCP lease.
    """
    address = _address(text)
    if address is None or address.is_unspecified or address.is_multicast:
        return False
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as sock:
            sock.bind((str(address), 0))
    except OSError:
        return False
    return True
