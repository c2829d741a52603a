"""The `Received:` field (RFC 5321 §4.4) and what it is safe to write into one.

Any text from outside goes through `clean`: exactly one field comes out whatever went in.
"""

import ipaddress
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache

_UNSAFE = re.compile(r"[^A-Za-z0-9.\-_:\[\]]")
_PLAIN = re.compile(r"[!-:=?-~]+\Z")  # printable ASCII without ; < >
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = (
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Hop:
    """What is known of the hop that brought the message."""

    helo: str
    client: str  # IP address
    hostname: str  # ours
    queue_id: str
    extended: bool = True
    tls_version: str = ""
    tls_cipher: str = ""
    authenticated: bool = False
    smtputf8: bool = False
    only_recipient: str = ""  # RFC 5321 §7.6: named only when there is one


def received(hop: Hop, at: datetime) -> bytes:
    """The field with its final CRLF, folded."""
    recipient = f" for <{_one_line(hop.only_recipient)}>" if hop.only_recipient else ""
    return (
        f"Received: from {_from(hop.helo, hop.client)}\r\n"
        f"\tby {clean(hop.hostname)} with {protocol(hop)}{_tls(hop)}\r\n"
        f"\tid {_UNSAFE.sub('?', hop.queue_id)[:255]}{recipient};\r\n"
        f"\t{date(at)}\r\n"
    ).encode()


@lru_cache(1_000)
def _from(helo: str, client: str) -> str:
    return f"{clean(helo) or 'unknown'} ({literal(client)})"


def _tls(hop: Hop) -> str:
    return f" ({clean(hop.tls_version)} {clean(hop.tls_cipher)})" if hop.tls_version else ""


def protocol(hop: Hop) -> str:
    """The `with` word (RFC 3848, RFC 6531 §4.3)."""
    if not hop.extended:
        return "SMTP"
    base = "UTF8SMTP" if hop.smtputf8 else "ESMTP"
    return base + ("S" if hop.tls_version else "") + ("A" if hop.authenticated else "")


def literal(address: str) -> str:
    """An IP address as an address literal (RFC 5321 §4.1.3)."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return "[0.0.0.0]"
    return f"[IPv6:{ip}]" if ip.version == 6 else f"[{ip}]"


def date(at: datetime) -> str:
    """RFC 5322 §3.3, in English whatever the locale, with the offset of `at`."""
    if at.tzinfo is UTC:
        return _date_in_utc(int(at.timestamp()))
    return _date(at)


@lru_cache(16)
def _date_in_utc(seconds: int) -> str:
    return _date(datetime.fromtimestamp(seconds, UTC))


def _date(at: datetime) -> str:
    offset = "+0000" if at.tzinfo is UTC else at.strftime("%z") or "+0000"
    return (
        f"{_DAYS[at.weekday()]}, {at.day} {_MONTHS[at.month - 1]} {at.year}"
        f" {at.hour:02}:{at.minute:02}:{at.second:02} {offset[:5]}"
    )


@lru_cache(1_000)
def clean(text: str) -> str:
    """Host names, ids and the like: what is not plainly one is replaced."""
    return _UNSAFE.sub("?", text)[:255]


def _one_line(text: str) -> str:
    """An address in a comment-free place: printable, without what ends the clause."""
    if _PLAIN.match(text):
        return text[:320]
    return "".join(c if c.isprintable() and c not in "<>;" else "?" for c in text)[:320]
