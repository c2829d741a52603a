"""Mail addresses as SMTP writes them (RFC 5321 §4.1.2, RFC 6531 §3.3, RFC 5890).

The grammar is strict on purpose: an address that two programs read differently is a
way past a filter. Text is kept exactly as it was given, so that it leaves the relay
as it came; `domain_key` is the form to compare with: lower case, A-labels.

    AddressError    anything that is not an address
"""

import ipaddress
import re
from dataclasses import dataclass

from appliance.mail import domain as domains

MAX_LOCAL_OCTETS = 64  # RFC 5321 §4.5.3.1.1
# What a forwarder makes of an address (policy/srs.py) holds the whole address it came from.
MAX_SRS_LOCAL_OCTETS = 192
MAX_DOMAIN_OCTETS = 255  # RFC 5321 §4.5.3.1.2
MAX_PATH_OCTETS = 256 + 64  # RFC 5321 §4.5.3.1.3 says 256; senders with long tags exist

_ATEXT = r"[A-Za-z0-9!#$%&'*+\-/=?^_`{|}~\u0080-\U0010FFFF]"
_LOCAL = re.compile(
    rf"(?:{_ATEXT}+(?:\.{_ATEXT}+)*"
    r'|"(?:[ !#-\[\]-~\u0080-\U0010FFFF]|\\[ -~])*")\Z'
)
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9\-]{0,61}[A-Za-z0-9])?"
_DOMAIN = re.compile(rf"{_LABEL}(?:\.{_LABEL})*\Z")
_PLAIN = re.compile(
    r"([A-Za-z0-9!#$%&'*+\-/=?^_`{|}~]+(?:\.[A-Za-z0-9!#$%&'*+\-/=?^_`{|}~]+)*)"
    rf"@({_LABEL}(?:\.{_LABEL})*)\Z"
)
_ROUTE = re.compile(rf"@{_LABEL}(?:\.{_LABEL})*(?:,@{_LABEL}(?:\.{_LABEL})*)*:")
_SRS = re.compile(r'"?SRS[01][=+-]', re.IGNORECASE)
# Controls that Unicode hides outside ASCII: C1, separators, direction marks.
_UNSEEN = re.compile("[\u0080-\u009f\u00a0\u2028-\u202f\u2066-\u2069\ufeff\ud800-\udfff]")


class AddressError(ValueError):
    """The text is not a mail address. The message is fit to be shown."""


@dataclass(frozen=True, slots=True)
class Address:
    """One mailbox. `domain` is empty only for the bare `<postmaster>` (RFC 5321 §4.5.1)."""

    local: str
    domain: str
    domain_key: str

    def __str__(self) -> str:
        return f"{self.local}@{self.domain}" if self.domain else self.local

    @property
    def is_ascii(self) -> bool:
        """Whether it can be sent without SMTPUTF8 as it stands."""
        return self.local.isascii() and self.domain.isascii()

    @property
    def is_postmaster(self) -> bool:
        """Whether the local part is `postmaster`, in any case of letters."""
        return self.local.lower() == "postmaster"

    def for_ascii_peer(self) -> str:
        """The address with its domain as A-labels, for a peer without SMTPUTF8."""
        return f"{self.local}@{self.domain_key}" if self.domain else self.local


def parse(text: str) -> Address:
    """Read `local@domain` without brackets. Raises AddressError."""
    if plain := _PLAIN.match(text):
        local, domain = plain.groups()
        if len(local) <= MAX_LOCAL_OCTETS and len(domain) <= MAX_DOMAIN_OCTETS:
            return Address(local, domain, domain.lower())
    return _parse_rare(text)


def parse_path(text: str) -> Address | None:
    """Read what stands between the angle brackets; empty is the null reverse-path (None).

    A source route is recognised and dropped (RFC 5321 §4.1.1.3 and appendix C), so that the
    final address is the one that every rule sees.
    """
    if not text:
        return None
    if text[0] == "@":
        route = _ROUTE.match(text)
        if not route:
            raise AddressError("malformed source route")
        text = text[route.end() :]
    if text.lower() == "postmaster":
        return Address(text, "", "")
    return parse(text)


def domain_key(domain: str) -> str:
    """The form of a domain to compare and to ask the DNS for. Raises AddressError."""
    if domain.isascii():
        if len(domain) > MAX_DOMAIN_OCTETS or not _DOMAIN.match(domain):
            raise AddressError("malformed domain")
        return domain.lower()
    if _UNSEEN.search(domain):
        raise AddressError("malformed domain")
    try:
        return domain_key(domains.normalise_hostname(domain))
    except ValueError as error:
        raise AddressError("malformed international domain") from error


def _parse_rare(text: str) -> Address:
    """Quoted local parts, address literals, international addresses, and all that is wrong."""
    if len(text.encode("utf-8", "surrogatepass")) > MAX_PATH_OCTETS:
        raise AddressError("address too long")
    local, at, domain = _split(text)
    if not at or not domain:
        raise AddressError("address without a domain")
    if not _LOCAL.match(local) or _UNSEEN.search(local):
        raise AddressError("malformed local part")
    longest = MAX_SRS_LOCAL_OCTETS if _SRS.match(local) else MAX_LOCAL_OCTETS
    if len(local.encode()) > longest:
        raise AddressError("local part too long")
    if domain[0] == "[":
        return Address(local, domain, _literal(domain))
    return Address(local, domain, domain_key(domain))


def _split(text: str) -> tuple[str, str, str]:
    """Cut at the @ that ends the local part; a quoted local part may contain others."""
    if text.startswith('"'):
        end = 1
        while end < len(text) and text[end] != '"':
            end += 2 if text[end] == "\\" else 1
        at = "@" if text[end + 1 : end + 2] == "@" else ""
        return text[: end + 1], at, text[end + 2 :]
    return text.partition("@")


def _literal(domain: str) -> str:
    """Check `[192.0.2.1]` or `[IPv6:2001:db8::1]` (RFC 5321 §4.1.3)."""
    inner = domain[1:-1]
    try:
        if not domain.endswith("]"):
            raise ValueError
        if inner[:5].lower() == "ipv6:":
            if "%" in inner:
                raise ValueError
            return f"[ipv6:{ipaddress.IPv6Address(inner[5:]).compressed}]"
        return f"[{ipaddress.IPv4Address(inner)}]"
    except ValueError as error:
        raise AddressError("malformed address literal") from error
