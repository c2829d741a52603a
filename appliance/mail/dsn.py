"""Delivery status notifications (RFC 3464, RFC 3461 §6).

A report is a `multipart/report` of three parts: words for a person, fields for a program, and
the message or its header. It goes out with the null reverse-path and is never reported on.
"""

import re
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from appliance.mail import message, trace
from appliance.mail.envelope import Envelope, Recipient

MAX_RETURNED_BYTES = 65_536  # the whole message goes back only below this size


class Kind(StrEnum):
    """The action of a report (RFC 3464 §2.3.3)."""

    FAILED = "failed"
    DELAYED = "delayed"
    RELAYED = "relayed"
    EXPANDED = "expanded"
    DELIVERED = "delivered"


@dataclass(frozen=True, slots=True)
class Fate:
    """What became of one recipient, for the report."""

    recipient: Recipient
    status: str  # enhanced status code, `5.1.1`
    say: str  # plain words
    reply: str = ""  # the other server's own words
    host: str = ""  # the other server


@dataclass(frozen=True, slots=True)
class Original:
    """The message a report is about. `head` ends with CRLF; `content` may be empty if too big."""

    envelope: Envelope
    queue_id: str
    arrived_at: datetime
    head: bytes
    content: bytes = b""


_SUBJECTS = {
    Kind.FAILED: "Undelivered: your message could not be delivered",
    Kind.DELAYED: "Delayed: your message has not been delivered yet",
    Kind.RELAYED: "Passed on: your message was handed to the next mail server",
    Kind.EXPANDED: "Passed on: your message was sent to everybody behind an address",
    Kind.DELIVERED: "Delivered: your message has arrived",
}
_OPENINGS = {
    Kind.FAILED: "Your message could not be delivered to the recipients below.\r\n"
    "It will not be tried again.",
    Kind.DELAYED: "Your message has not reached the recipients below yet.\r\n"
    "You need not send it again: it will be tried further{until}.",
    Kind.RELAYED: "Your message was passed on to a mail server that does not confirm delivery.\r\n"
    "You will hear nothing further unless it fails there.",
    Kind.EXPANDED: "Your message has arrived at an address that stands for several people.\r\n"
    "It was sent on to each of them. You will hear nothing further unless that fails.",
    Kind.DELIVERED: "Your message was put into the mailboxes of the recipients below.",
}


def build(
    kind: Kind,
    original: Original,
    fates: tuple[Fate, ...],
    *,
    hostname: str,
    report_id: str,
    now: datetime,
    final_try_at: datetime | None = None,
) -> bytes:
    """The whole report with CRLF line ends, ready for the queue."""
    boundary = f"=_{report_id}_{trace.clean(hostname)[:30]}"
    returned, returned_type = _returned(kind, original)
    while boundary.encode() in returned:
        boundary += "x"
    until = f" until {trace.date(final_try_at)}" if final_try_at else ""
    human = _human(kind, original, fates, hostname, until)
    header = _header(kind, original, hostname, report_id, now, boundary)
    parts = (
        _part(boundary, "text/plain; charset=utf-8", human.encode()),
        _part(boundary, "message/delivery-status", _fields(kind, original, fates, hostname)),
        _part(boundary, returned_type, returned),
    )
    return header + b"".join(parts) + f"--{boundary}--\r\n".encode()


def _header(
    kind: Kind, original: Original, hostname: str, report_id: str, now: datetime, boundary: str
) -> bytes:
    lines = (
        f"Date: {trace.date(now)}",
        f"From: Mail delivery <postmaster@{hostname}>",
        f"To: <{_line(original.envelope.sender)}>",
        f"Subject: {_SUBJECTS[kind]}",
        f"Message-ID: <{report_id}@{hostname}>",
        "Auto-Submitted: auto-replied",  # RFC 3834 §5
        "MIME-Version: 1.0",
        "Content-Type: multipart/report; report-type=delivery-status;",
        f'\tboundary="{boundary}"',
        "Content-Transfer-Encoding: 8bit",
        "",
        "This is a report in MIME format.",
        "",
    )
    return "\r\n".join(lines).encode() + b"\r\n"


def _human(
    kind: Kind, original: Original, fates: tuple[Fate, ...], hostname: str, until: str
) -> str:
    subjects = message.field_values(original.head, "Subject")
    lines = [f"This is the mail server {hostname}.", "", _OPENINGS[kind].format(until=until), ""]
    if subjects:
        lines += [f"Subject: {_line(subjects[0])[:200]}", ""]
    for fate in fates:
        lines.append(f"  {_line(str(fate.recipient.address))}")
        lines.append(f"    {_line(fate.say)}")
        if fate.reply:
            origin = f"{fate.host} said: " if fate.host else "The other server said: "
            lines.append(f"    {_line(origin + fate.reply)[:900]}")
        lines.append("")
    return "\r\n".join(lines) + "\r\n"


def _fields(kind: Kind, original: Original, fates: tuple[Fate, ...], hostname: str) -> bytes:
    lines = [f"Reporting-MTA: dns; {hostname}"]
    if original.envelope.envid:
        lines.append(f"Original-Envelope-Id: {decode_xtext(original.envelope.envid)}")
    lines.append(f"X-Pennypost-Queue-ID: {trace.clean(original.queue_id)}")
    lines.append(f"Arrival-Date: {trace.date(original.arrived_at)}")
    for fate in fates:
        lines.append("")
        if fate.recipient.orcpt:
            kind_of, _, name = fate.recipient.orcpt.partition(";")
            lines.append(f"Original-Recipient: {_line(kind_of)};{_ascii(decode_xtext(name))}")
        lines.append(f"Final-Recipient: {_typed(str(fate.recipient.address))}")
        lines.append(f"Action: {kind.value}")
        lines.append(f"Status: {trace.clean(fate.status)}")
        if fate.host:
            lines.append(f"Remote-MTA: dns; {trace.clean(fate.host)}")
        if fate.reply:
            lines.append(f"Diagnostic-Code: smtp; {_ascii(_line(fate.reply))[:900]}")
    return ("\r\n".join(lines) + "\r\n").encode()


def _returned(kind: Kind, original: Original) -> tuple[bytes, str]:
    """RFC 3461 §6.2: the message when RET=FULL and it failed, else the header alone."""
    whole = kind is Kind.FAILED and original.envelope.ret == "FULL"
    if whole and original.content and len(original.content) <= MAX_RETURNED_BYTES:
        return original.content, "message/rfc822"
    return original.head[:MAX_RETURNED_BYTES], "text/rfc822-headers"


def _part(boundary: str, content_type: str, content: bytes) -> bytes:
    head = f"--{boundary}\r\nContent-Type: {content_type}\r\nContent-Transfer-Encoding: 8bit\r\n"
    if content_type == "message/delivery-status":
        head = f"--{boundary}\r\nContent-Type: {content_type}\r\n"
    return head.encode() + b"\r\n" + content + (b"" if content.endswith(b"\r\n") else b"\r\n")


def encode_xtext(text: str) -> str:
    """ASCII text as xtext (RFC 3461 §4)."""
    return re.sub(r"[^!-*,-<>-~]", lambda match: f"+{ord(match[0]):02X}", text)


def decode_xtext(text: str) -> str:
    """xtext back to text, controls shown as ? (RFC 3461 §4)."""
    plain = re.sub(r"\+([0-9A-F]{2})", lambda match: chr(int(match[1], 16)), text)
    return _line(plain)


def _typed(address: str) -> str:
    """RFC 6533 §3: an international address has its own type and is written in ASCII."""
    return f"rfc822; {address}" if address.isascii() else f"utf-8; {_ascii(address)}"


def _ascii(text: str) -> str:
    return "".join(c if c.isascii() else f"\\x{{{ord(c):X}}}" for c in text)


def _line(text: str) -> str:
    """One line of printable text, whatever came in."""
    return "".join(c if c.isprintable() else "?" for c in text)
