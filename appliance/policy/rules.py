"""The settings as the checks want them: sets and networks, made once a change, not once a mail."""

import ipaddress
from dataclasses import dataclass

from appliance.mail.address import Address, AddressError, domain_key
from appliance.policy.people import NOBODY, People
from appliance.policy.rewrite import Aliases, Domains, Expansion
from appliance.policy.sender_lists import Lists, ip_of
from appliance.settings import mailboxes
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
    aliases: Aliases
    people: People = NOBODY
    accounts: frozenset[str] = frozenset()  # the mailboxes' names, in lower case

    @classmethod
    def from_settings(cls, settings: Settings, people: People = NOBODY) -> "Rules":
        """A setting that cannot be read any more shuts a door, it never opens one."""
        mail, relay = settings.mail, settings.relay
        mail_domains = frozenset(_keys((mail.main_domain, *mail.additional_domains)))
        main_domain = next(iter(_keys((mail.main_domain,))), "")
        relay_domains = {
            key: entry for entry in mail.relay_domains for key in _keys((entry.domain,))
        }
        domains = Domains(main_domain, mail_domains, frozenset(relay_domains))
        return cls(
            mail_domains=mail_domains,
            relay_domains=relay_domains,
            trusted_networks=tuple(_networks(relay.trusted_networks)),
            main_domain=main_domain,
            aliases=Aliases(settings.rules.aliases, domains),
            accounts=frozenset(people.by_login) if keeps_mailboxes(settings) else frozenset(),
            max_message_bytes=mail.max_message_bytes,
            max_recipients=mail.max_recipients,
            max_hops=relay.max_hops,
            senders=Lists(settings.senders),
            settings=settings,
            people=people,
        )

    def expand(self, address: Address) -> Expansion:
        """Where mail for an address finally goes."""
        return self.aliases.expand(address, self.accounts)

    def trusts(self, address: str) -> bool:
        """Whether an IP address is in a trusted network; IPv4 inside IPv6 counts as IPv4."""
        ip = ip_of(address)
        if ip is None:
            return False
        return any(ip.version == net.version and ip in net for net in self.trusted_networks)


def keeps_mailboxes(settings: Settings) -> bool:
    """Whether mail can be delivered into mailboxes (G12)."""
    return bool(mailboxes.lmtp(settings))


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
