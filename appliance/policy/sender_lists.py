"""The rule of FEATURES R6: what two lists say of a client's address and a sender.

Two gates, in order. *Client*: a forbidden IP or network, not also permitted, is refused whatever
the sender says. *Sender*: the address's own entry decides, else its domain's, exact before
`.example.com`. Where several entries fit, the narrowest decides; the same entry on both lists
counts as permitted. A permitted IP frees from the spam checks; it does not overrule a forbidden
sender.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

from appliance.mail.address import Address
from appliance.settings.senders import Senders

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


class Says(StrEnum):
    """What a gate says."""

    NOTHING = "nothing"
    PERMITTED = "permitted"
    FORBIDDEN = "forbidden"


class Gate(StrEnum):
    """Where a message is refused, or why it passes."""

    CONNECT = "connect"
    MAIL = "mail"
    NONE = ""


@dataclass(frozen=True, slots=True)
class Opinion:
    """What one gate says, and by which entry."""

    says: Says = Says.NOTHING
    entry: str = ""
    comment: str = ""

    def __str__(self) -> str:
        note = f" ({self.comment})" if self.comment else ""
        return f"“{self.entry}”{note} is {self.says}" if self.entry else "no entry"


_SILENT = Opinion()


@dataclass(frozen=True, slots=True)
class Answer:
    """What becomes of mail from a sender at a client."""

    client: Opinion
    sender: Opinion

    @property
    def refused_at(self) -> Gate:
        """Where it is refused; Gate.NONE when it is not."""
        if self.client.says is Says.FORBIDDEN:
            return Gate.CONNECT
        return Gate.MAIL if self.sender.says is Says.FORBIDDEN else Gate.NONE

    @property
    def permitted(self) -> bool:
        """Whether it passes without spam checks."""
        return self.refused_at is Gate.NONE and self.deciding.says is Says.PERMITTED

    @property
    def deciding(self) -> Opinion:
        """The opinion that decides; one that says nothing when no entry fits."""
        if self.client.says is Says.FORBIDDEN or self.sender.says is Says.NOTHING:
            return self.client
        return self.sender


class Lists:
    """Both lists, ready to be asked: a look-up is a handful of dictionary look-ups."""

    def __init__(self, senders: Senders) -> None:
        self._names: dict[str, Opinion] = {}
        self._networks: dict[tuple[int, int], dict[int, Opinion]] = {}
        both = ((Says.FORBIDDEN, senders.forbidden), (Says.PERMITTED, senders.permitted))
        for says, entries in both:  # permitted comes last and so outweighs the same entry
            for item in entries:
                self._add(Opinion(says, item.entry, item.comment))
        self._lengths = sorted(self._networks, reverse=True)  # the narrowest network first

    def __bool__(self) -> bool:
        return bool(self._names or self._networks)

    def ask(self, client: str, sender: Address | None) -> Answer:
        """What would happen to mail from `sender` (None: the null sender) at `client`."""
        return Answer(self.of_client(client), self.of_sender(sender))

    def of_client(self, client: str) -> Opinion:
        """The client gate."""
        ip = ip_of(client) if self._lengths else None
        if ip is None:
            return _SILENT
        number, version, bits = int(ip), ip.version, ip.max_prefixlen
        for length, of_version in self._lengths:
            if of_version == version:
                found = self._networks[length, version].get(number >> (bits - length))
                if found is not None:
                    return found
        return _SILENT

    def of_sender(self, sender: Address | None) -> Opinion:
        """The sender gate."""
        if sender is None or not self._names:
            return _SILENT
        return next(
            (self._names[name] for name in _spellings(sender) if name in self._names), _SILENT
        )

    def _add(self, opinion: Opinion) -> None:
        try:
            network = ipaddress.ip_network(opinion.entry)
        except ValueError:
            self._names[opinion.entry] = opinion
            return
        length = network.prefixlen
        prefix = int(network.network_address) >> (network.max_prefixlen - length)
        self._networks.setdefault((length, network.version), {})[prefix] = opinion


def ask(senders: Senders, client: str, sender: Address | None) -> Answer:
    """`Lists.ask` for whoever asks once: the CLI, a page."""
    return Lists(senders).ask(client, sender)


def _spellings(sender: Address) -> Iterator[str]:
    """The entries that would fit a sender, the narrowest first."""
    domain = sender.domain_key
    yield f"{sender.local.lower()}@{domain}"
    yield domain
    below = _parents(domain.split("."))
    yield from below


def _parents(labels: list[str]) -> Iterable[str]:
    return ("." + ".".join(labels[start:]) for start in range(1, len(labels)))


@lru_cache(1_000)  # clients come again
def ip_of(text: str) -> IpAddress | None:
    """The address of a client, IPv4 inside IPv6 as IPv4; None when it is none."""
    try:
        ip = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = ip.ipv4_mapped if isinstance(ip, ipaddress.IPv6Address) else None
    return mapped or ip
