"""ethernet.network: how networkd gives the wired ports their addresses.

A fixed address replaces what DHCP gives of its kind (IPv4 or IPv6) alone. networkd sets it on
the port that is plugged in; a second one would get it too.
"""

import ipaddress

from appliance.settings.schema import Settings

FILE = "ethernet.network"


def render(settings: Settings) -> dict[str, bytes]:
    """The one file, for DHCP as well as for a fixed address."""
    network = settings.network
    lines = list(_LINK)
    if network.mode == "static" and network.address:
        is_v4 = ipaddress.ip_interface(network.address).version == 4
        lines += [f"DHCP={'ipv6' if is_v4 else 'ipv4'}", f"Address={network.address}"]
        if network.gateway:
            lines.append(f"Gateway={network.gateway}")
    else:
        # Without a DHCP server a link-local address, so that the wizard is reachable.
        lines.append("DHCP=yes")
    return {FILE: "\n".join((*lines, *_LEASE, "")).encode()}


_LINK = (
    "# Made by Pennypost from its settings; do not edit.",
    "[Match]",
    "Type=ether",
    "Kind=!*",
    "",
    "[Link]",
    "RequiredForOnline=no",
    "",
    "[Network]",
    "IPv6AcceptRA=yes",
    "LinkLocalAddressing=yes",
    "MulticastDNS=no",
    "LLMNR=no",
)
_LEASE = (
    "",
    "[DHCPv4]",
    "ClientIdentifier=mac",
    "SendHostname=yes",
    "Hostname=pennypost",
    "UseDNS=no",
    "UseNTP=yes",
    "UseDomains=no",
    "UseHostname=no",
)
