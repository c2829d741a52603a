"""The `network` section: the box's address.

Names are looked up by the box itself; `box.dns_forwarders` says whom it asks instead.
"""

import ipaddress
from dataclasses import dataclass

from appliance.base.finding import Finding, Result
from appliance.settings import parse
from appliance.settings.describe import choice, text


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """How the box gets its address."""

    mode: str = choice(
        "dhcp",
        ("dhcp", "static"),
        "Address of the box",
        "dhcp: the router gives it. static: the one below, on the port that is plugged in.",
    )
    address: str = text(
        "",
        parse.optional(parse.interface_address),
        "Fixed address",
        "With the length of the network, such as 192.168.1.20/24.",
    )
    gateway: str = text(
        "",
        parse.optional(parse.address),
        "Router",
        "The router's address in the same network, such as 192.168.1.1.",
    )


def findings(network: Network) -> list[Finding]:
    """What does not fit together in this section."""
    if network.mode != "static":
        return []
    if not network.address:
        return [
            _finding(
                "address",
                "A fixed address is chosen, and none is given.",
                "Enter it with the length of its network, such as 192.168.1.20/24, or choose dhcp.",
            )
        ]
    if not network.gateway:
        return [
            _finding(
                "gateway",
                "There is no router, so the box reaches its own network alone.",
                "Enter the router's address.",
                Result.WARN,
            )
        ]
    return _router(ipaddress.ip_interface(network.address), ipaddress.ip_address(network.gateway))


def _router(
    own: ipaddress.IPv4Interface | ipaddress.IPv6Interface,
    router: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> list[Finding]:
    if router == own.ip:
        return [
            _finding(
                "gateway",
                f"{router} is the box's own address.",
                "Enter the router's address; it is often the first of the network.",
            )
        ]
    # An IPv6 router is usually known by its link-local address.
    if router in own.network or (router.version == own.version == 6 and router.is_link_local):
        return []
    return [
        _finding(
            "gateway",
            f"The router {router} is not in the network of {own}.",
            f"Enter an address inside {own.network}, or correct the fixed address.",
        )
    ]


def _finding(name: str, say: str, fix: str, result: Result = Result.BAD) -> Finding:
    return Finding(check=f"settings.network.{name}", result=result, say=say, means="", fix=fix)
