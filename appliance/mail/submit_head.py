"""The header of mail as a person's program handed it in, made fit to travel (RFC 6409 §8).

Bcc goes, for it names the people whom the others are not to know of; Date and Message-ID come,
where they are missing. Nothing else changes by an octet. Pure.
"""

import re
from dataclasses import dataclass
from datetime import datetime

from appliance.mail import trace

_NAME = re.compile(rb"([!-9;-~]+)[ \t]*:")
_HIDDEN = frozenset((b"bcc", b"resent-bcc"))


@dataclass(frozen=True, slots=True)
class Fit:
    """The header as it goes on, and what was done to it, in words; nothing done is no words."""

    head: bytes
    done: tuple[str, ...]


def fit(head: bytes, *, at: datetime, message_id: str) -> Fit:
    """`head` has CRLF line ends, the last one included; `message_id` goes without brackets."""
    kept, names = [], set()
    hidden = False
    for field in _blocks(head):
        name = _name(field)
        if name in _HIDDEN:
            hidden = True
        else:
            kept.append(field)
            names.add(name)
    added = []
    if b"date" not in names:
        added.append(("Date", trace.date(at)))
    if b"message-id" not in names:
        added.append(("Message-ID", f"<{message_id}>"))
    # In front: what stands at the end of a broken header may be no header for others.
    lines = "".join(f"{name}: {value}\r\n" for name, value in added).encode()
    done = [f"{name} added" for name, _ in added] + ["Bcc removed"] * hidden
    return Fit(lines + b"".join(kept), tuple(done))


def _blocks(head: bytes) -> list[bytes]:
    """The header cut into fields; joined, they are the header again."""
    blocks: list[list[bytes]] = []
    for line in head.split(b"\n"):
        if line[:1] in (b" ", b"\t") and blocks:
            blocks[-1].append(line)
        else:
            blocks.append([line])
    # The LF that split them goes back to each line's end; the last piece had none.
    return [b"\n".join(block) + b"\n" for block in blocks[:-1]] + [b"\n".join(blocks[-1])]


def _name(field: bytes) -> bytes:
    found = _NAME.match(field)
    return found[1].lower() if found else b""
