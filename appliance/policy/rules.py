"""The settings as the checks want them: sets and networks, made once a change, not once a mail."""

import ipaddress
from dataclasses import dataclass

from appliance.mail.address import AddressError, domain_key
from appliance.policy.sender_lists import Lists
from appliance.settings.schema import RelayDomain, Settings

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class Rules:
    """Everything a check may consult. Domains are keys (lower case, A-labels)."""

    mail_domains: frozenset[str]
    relay_domains: dict[str, RelayDomain]
    trusted_networks: tuple[Network, ...]
    main_domain: str
    max_message_bytes: int
    max_recipients: int
    max_hops: int
    senders: Lists
    settings: Settings  # the sections that a check reads by itself

    @classmethod
    def from_settings(cls, settings: Settings) -> "Rules":
        """A setting that cannot be read any more shuts a door, it never opens one."""
        mail, relay = settings.mail, settings.relay
        return cls(
            mail_domains=frozenset(_keys((mail.main_domain, *mail.additional_domains))),
            relay_domains={
                key: entry for entry in mail.relay_domains for key in _keys((entry.domain,))
            },
            trusted_networks=tuple(_networks(relay.trusted_networks)),
            main_domain=next(iter(_keys((mail.main_domain,))), ""),
            max_message_bytes=mail.max_message_bytes,
            max_recipients=mail.max_recipients,
            max_hops=relay.max_hops,
            senders=Lists(settings.senders),
            settings=settings,
        )

    def trusts(self, address: str) -> bool:
        """Whether an IP address is in a trusted network; IPv4 inside IPv6 counts as IPv4."""
        try:
            ip = ipaddress.ip_address(address.partition("%")[0])
        except ValueError:
            return False
        if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is not None:
            ip = ip.ipv4_mapped
        return any(ip.version == net.version and ip in net for net in self.trusted_networks)


def _keys(domains: tuple[str, ...]) -> list[str]:
    found = []
    for domain in domains:
        try:
            found.append(domain_key(domain))
        except AddressError:
            continue
    return found


def _networks(texts: tuple[str, ...]) -> list[Network]:
    found: list[Network] = []
    for text in texts:
        try:
            found.append(ipaddress.ip_network(text, strict=False))
        except ValueError:
            continue
    return found
