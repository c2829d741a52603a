"""Messages are bytes (RFC 5322). Nothing here parses and writes again: fields are counted
and found in place, and trace fields are put in front.
"""

import re

MAX_HEADER_BYTES = 262_144
MAX_HEADER_FIELDS = 1_000

_RECEIVED = re.compile(rb"^received[ \t]*:", re.IGNORECASE | re.MULTILINE)
_FIELD_START = re.compile(rb"^[^ \t\r\n]", re.MULTILINE)
_UNFOLD = re.compile(rb"\r\n(?=[ \t])")


def split_head(content: bytes) -> tuple[bytes, bytes]:
    """Cut at the empty line; the head keeps its last CRLF, the rest begins after the empty line.

    A message without an empty line is all head.
    """
    if content.startswith(b"\r\n"):
        return b"", content[2:]
    end = content.find(b"\r\n\r\n")
    if end < 0:
        return content, b""
    return content[: end + 2], content[end + 4 :]


def count_received(head: bytes) -> int:
    """How many hops the message has behind it."""
    return len(_RECEIVED.findall(head))


def count_fields(head: bytes) -> int:
    """How many header fields there are; folded lines do not count."""
    return len(_FIELD_START.findall(head))


def field_values(head: bytes, name: str) -> list[str]:
    """The unfolded values of a field, as text fit for a page; order as in the message."""
    wanted = name.lower().encode("ascii") + b":"
    lines = _UNFOLD.sub(b"", head).split(b"\r\n")
    return [
        line[len(wanted) :].strip().decode("utf-8", "replace")
        for line in lines
        if line[: len(wanted)].lower() == wanted
    ]


def has_only_crlf(block: bytes) -> bool:
    """Whether each CR and each LF in the block is half of a pair."""
    pairs = block.count(b"\r\n")
    return block.count(b"\n") == pairs and block.count(b"\r") == pairs
