"""From raw JSON or typed text to a setting's value.

Each parser takes what a form, a file or the CLI gave and returns the canonical
value, or raises `Bad(say, fix)`: what is wrong, and what to do. Nothing else in
the product looks at raw settings.
"""

from __future__ import annotations

import ipaddress
import re
import zoneinfo
from collections.abc import Callable
from typing import Any

from appliance.mail import domain as domains

JSON = Any
Parser = Callable[[JSON], Any]


class Bad(ValueError):
    """A value that a setting cannot take."""

    def __init__(self, say: str, fix: str) -> None:
        super().__init__(say)
        self.say = say
        self.fix = fix


def boolean(raw: JSON) -> bool:
    if isinstance(raw, bool):
        return raw
    words = {"true": True, "on": True, "yes": True, "false": False, "off": False, "no": False}
    if isinstance(raw, str) and raw.strip().lower() in words:
        return words[raw.strip().lower()]
    raise Bad(f"{_shown(raw)} is neither on nor off.", "Use true or false.")


def whole_number(minimum: int, maximum: int) -> Callable[[JSON], int]:
    """A parser of whole numbers from `minimum` to `maximum`, both taken."""

    def parse(raw: JSON) -> int:
        if isinstance(raw, str) and re.fullmatch(r"\s*-?[0-9]{1,18}\s*", raw):
            raw = int(raw)
        if isinstance(raw, bool) or not isinstance(raw, int):
            raise Bad(f"{_shown(raw)} is not a whole number.", f"Use {minimum} to {maximum}.")
        value: int = raw
        if not minimum <= value <= maximum:
            raise Bad(f"{value} is out of bounds.", f"Use {minimum} to {maximum}.")
        return value

    return parse


def text(maximum: int = 255, *, strip: bool = True) -> Callable[[JSON], str]:
    """A parser of one line of text of at most `maximum` characters."""

    def parse(raw: JSON) -> str:
        if not isinstance(raw, str):
            raise Bad(f"{_shown(raw)} is not text.", "Write it in quotation marks.")
        value = raw.strip() if strip else raw
        if len(value) > maximum:
            raise Bad(f"This is {len(value)} characters long.", f"Use at most {maximum}.")
        # One line, so that no value can add a line to a rendered file.
        if any(ord(character) < 32 or ord(character) == 127 for character in value):
            raise Bad("There is a line break or control character in it.", "Use one line of text.")
        return value

    return parse


def choice(*choices: str) -> Callable[[JSON], str]:
    """A parser that takes one of `choices`."""

    def parse(raw: JSON) -> str:
        if raw not in choices:
            raise Bad(f"{_shown(raw)} is not one of the choices.", f"Use {', '.join(choices)}.")
        return str(raw)

    return parse


def many(item: Parser, *, maximum: int = 1000) -> Callable[[JSON], tuple[Any, ...]]:
    """A parser of lists; text is taken too, one item a line. Repeated items are kept once."""

    def parse(raw: JSON) -> tuple[Any, ...]:
        if isinstance(raw, str):
            raw = [line for line in raw.splitlines() if line.strip()]
        if not isinstance(raw, list | tuple):
            raise Bad(f"{_shown(raw)} is not a list.", 'Write it as ["first", "second"].')
        if len(raw) > maximum:
            raise Bad(f"There are {len(raw)} entries.", f"Use at most {maximum}.")
        return tuple(dict.fromkeys(item(entry) for entry in raw))

    return parse


def optional(item: Parser) -> Callable[[JSON], str]:
    """A parser that lets the empty text through and gives the rest to `item`."""

    def parse(raw: JSON) -> str:
        if raw is None or (isinstance(raw, str) and not raw.strip()):
            return ""
        return str(item(raw))

    return parse


def mail_domain(raw: JSON) -> str:
    """A domain that can have mail addresses, such as example.com or box.invalid."""
    name = _domain(raw, "Write it like example.com.")
    if not domains.is_qualified(name):
        raise Bad(f"“{name}” has no dot.", "Write the whole domain, like example.com.")
    return name


def host_name(raw: JSON) -> str:
    """A fully qualified host name, such as mail.example.com."""
    name = _domain(raw, "Write it like mail.example.com.")
    if not domains.is_qualified(name):
        raise Bad(
            f"“{name}” is not a full host name.", "Write it with its domain: mail.example.com."
        )
    return name


def _domain(raw: JSON, fix: str) -> str:
    try:
        return domains.normalise_hostname(text()(raw))
    except Bad:
        raise
    except ValueError as error:
        raise Bad(str(error), fix) from error


def host(raw: JSON) -> str:
    """A host name or an address (IPv6 with or without brackets), in canonical form."""
    value = text()(raw)
    try:
        return str(ipaddress.ip_address(value.removeprefix("[").removesuffix("]")))
    except ValueError:
        pass
    if re.fullmatch(r"[0-9.]+", value):
        raise Bad(f"“{value}” is not an address.", "Write four numbers like 10.20.30.40.")
    return _domain(value, "Write a name like mail.example.com or an address like 10.20.30.40.")


def network(raw: JSON) -> str:
    """A network as CIDR or address/netmask, or one address; returned as CIDR.

    Host bits are refused rather than dropped: 10.0.0.5/8 is nearly always a slip
    that would trust sixteen million addresses.
    """
    value = text()(raw)
    try:
        return str(ipaddress.ip_network(value, strict=True))
    except ValueError:
        pass
    try:
        loose = ipaddress.ip_network(value, strict=False)
    except ValueError:
        raise Bad(
            f"“{value}” is not a network.", "Write it like 192.168.0.0/16 or 10.0.0.5."
        ) from None
    raise Bad(
        f"“{value}” names an address inside a network.",
        f"Write {loose} for the whole network, or {value.split('/')[0]} for this address alone.",
    )


def address(raw: JSON) -> str:
    """One IPv4 or IPv6 address that a machine can have, in canonical form."""
    value = text()(raw)
    try:
        found = ipaddress.ip_address(value)
    except ValueError:
        raise Bad(f"“{value}” is not an address.", "Write it like 192.168.1.1.") from None
    _refuse_special(found)
    return str(found)


def interface_address(raw: JSON) -> str:
    """An address with the length of its network (or its netmask), as address/length."""
    value = text()(raw)
    bare, slash, _ = value.partition("/")
    try:
        found = ipaddress.ip_interface(value)
    except ValueError:
        raise Bad(f"“{value}” is not an address.", "Write it like 192.168.1.20/24.") from None
    if not slash:
        raise Bad(
            f"“{value}” does not say how large its network is.",
            f"Write {bare}/24 when the netmask is 255.255.255.0.",
        )
    _refuse_special(found.ip)
    network = found.network
    # RFC 3021: a network of two addresses has no broadcast address, one of one is a host.
    if found.version == 4 and network.prefixlen < 31 and found.ip in (network[0], network[-1]):
        raise Bad(
            f"{found.ip} stands for the whole network {network}.",
            "Choose an address between the first and the last one of the network.",
        )
    return str(found)


def _refuse_special(found: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    # RFC 1122 3.2.1.3: no machine has an address of 0.0.0.0/8.
    if (
        found.is_loopback
        or found.is_multicast
        or found.is_unspecified
        or (found.version == 4 and (found.is_reserved or int(found) >> 24 == 0))
    ):
        raise Bad(f"{found} cannot be the address of a machine.", "Write it like 192.168.1.20.")


def resolver_address(raw: JSON) -> str:
    """An address of a name server, with @port when it is not 53."""
    value = text()(raw)
    address, at, port = value.partition("@")
    try:
        canonical = str(ipaddress.ip_address(address))
    except ValueError:
        raise Bad(
            f"“{address}” is not an address.", "Write the name server's address, like 192.168.1.1."
        ) from None
    return f"{canonical}@{whole_number(1, 65535)(port)}" if at else canonical


def time_zone(raw: JSON) -> str:
    value = text()(raw)
    if value not in zoneinfo.available_timezones():
        raise Bad(f"“{value}” is not a known time zone.", "Use a name like Europe/Berlin.")
    return value


_SSH_KEY = re.compile(
    r"(ssh-ed25519|ssh-rsa|ecdsa-sha2-nistp(256|384|521)|sk-(ssh-ed25519|ecdsa-sha2-nistp256)"
    r"@openssh\.com) [A-Za-z0-9+/]{40,}={0,3}( [^\n]*)?\Z"
)


def ssh_key(raw: JSON) -> str:
    """One public key line without options, as ssh-keygen writes it."""
    value = text(8000)(raw)
    if "PRIVATE KEY" in value:
        raise Bad("This is a private key.", "Paste the public one (the file ending in .pub).")
    if not _SSH_KEY.match(value):
        raise Bad("This is not a public SSH key.", "Paste one line like “ssh-ed25519 AAAA… name”.")
    return value


def _shown(raw: JSON) -> str:
    shown = raw if isinstance(raw, str) else repr(raw)
    return f"“{shown[:40]}…”" if len(shown) > 40 else f"“{shown}”"


def host_and_port(raw: str, default_port: int) -> tuple[str, int]:
    """Read `host`, `host:port`, `[v6]:port` or a bare IPv6 address."""
    value = raw.strip()
    if value.count(":") > 1 and not value.startswith("["):
        return host(value), default_port
    match = re.fullmatch(r"(\[[^\]]*\]|[^:\[\]]*)(?::(.*))?", value)
    if match is None:
        raise Bad(
            f"“{value}” is not a host.", "Write relay.example, 10.20.30.40:25 or [2001:db8::1]:25."
        )
    port = default_port if match[2] is None else whole_number(1, 65535)(match[2])
    return host(match[1]), port
