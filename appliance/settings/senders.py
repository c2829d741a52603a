"""Permitted and forbidden senders (FEATURES R4, R5): two lists of entries with comments.

An entry is a domain (`example.com`, that domain alone), everything below a domain
(`.example.com`), an address, an IP address or a network; each has one canonical spelling, so
that an entry can be compared, searched for and named in a trace.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from appliance.mail import address as addresses
from appliance.mail import domain as domains
from appliance.mail.address import AddressError
from appliance.settings import parse
from appliance.settings.describe import setting
from appliance.settings.parse import JSON, Bad

MAX_ENTRIES = 10_000
MAX_COMMENT_CHARACTERS = 200
_LIKE = "Write example.com, .example.com, name@example.com, 192.0.2.7 or 192.0.2.0/24."


@dataclass(frozen=True, slots=True, kw_only=True)
class SenderEntry:
    """One line of a list."""

    entry: str
    comment: str = ""

    @classmethod
    def from_json(cls, raw: JSON) -> SenderEntry:
        """Read an object, or text of the form `example.com # comment`."""
        if isinstance(raw, SenderEntry):
            return raw
        if isinstance(raw, str):
            text, _, comment = raw.partition("#")
            return cls(entry=canonical(text), comment=_comment(comment))
        if not isinstance(raw, Mapping) or "entry" not in raw:
            raise Bad("An entry of the list is missing.", _LIKE)
        if unknown := raw.keys() - {"entry", "comment"}:
            raise Bad(f"“{min(unknown)}” is not known here.", "Leave it out.")
        return cls(entry=canonical(raw["entry"]), comment=_comment(raw.get("comment", "")))

    def to_text(self) -> str:
        """The form that people type: `example.com # comment`."""
        return f"{self.entry} # {self.comment}" if self.comment else self.entry


def canonical(raw: JSON) -> str:
    """The one spelling of an entry. Raises Bad.

    Networks are CIDR; a network of one address is that address. Addresses are compared without
    regard to case, as people expect.
    """
    text = parse.text(320)(raw)
    if not text:
        raise Bad("The entry is empty.", _LIKE)
    if "@" in text:
        return _address(text)
    if "/" in text or ":" in text or re.fullmatch(r"[0-9.]+", text):
        return _network(text)
    return _domain(text)


def _address(text: str) -> str:
    if text.startswith("@"):
        raise Bad(f"“{text}” has no name before the @.", f"For the domain write {text[1:]}.")
    try:
        found = addresses.parse(text)
    except AddressError:
        raise Bad(f"“{text}” is not a mail address.", _LIKE) from None
    return f"{found.local.lower()}@{found.domain_key}"


def _network(text: str) -> str:
    network = ipaddress.ip_network(parse.network(text))
    if network.num_addresses == 1:
        return str(network.network_address)
    if network.prefixlen == 0:
        raise Bad(f"{network} is the whole Internet.", "Name a smaller network.")
    return str(network)


def _domain(text: str) -> str:
    below = "." if text.startswith((".", "*.")) else ""
    bare = text.removeprefix("*").removeprefix(".")
    try:
        name = domains.normalise_hostname(bare)
    except ValueError as error:
        raise Bad(str(error), _LIKE) from error
    if not below and not domains.is_qualified(name):
        raise Bad(f"“{name}” has no dot.", f"Write the whole domain, or .{name} for all below it.")
    return below + name


def _comment(raw: JSON) -> str:
    return parse.text(MAX_COMMENT_CHARACTERS)(raw)


def _entries(raw: JSON) -> tuple[SenderEntry, ...]:
    """A list; an entry that is there twice is kept once, with its last comment."""
    read = parse.many(SenderEntry.from_json, maximum=MAX_ENTRIES)(raw)
    return tuple({item.entry: item for item in read}.values())


def _list(
    parser: Callable[[JSON], tuple[SenderEntry, ...]], label: str, help: str
) -> tuple[SenderEntry, ...]:
    made: tuple[SenderEntry, ...] = setting((), label, help, "list", parser, item="entry # comment")
    return made


@dataclass(frozen=True, slots=True, kw_only=True)
class Senders:
    """Who is let through, and who is not."""

    permitted: tuple[SenderEntry, ...] = _list(
        _entries,
        "Permitted senders",
        "Domains, addresses, IP addresses and networks whose mail is not checked for spam.",
    )
    forbidden: tuple[SenderEntry, ...] = _list(
        _entries,
        "Forbidden senders",
        "Domains, addresses, IP addresses and networks from which nothing is taken.",
    )
