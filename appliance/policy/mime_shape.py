"""The shape of a message: how deep, how many parts, how many addresses, and what files it names.

It is looked at before any content program sees the mail, so that none can be choked by it. Every
step is linear in the message, and no single call takes long: it runs in a thread, beside the
sessions. Where a message can be read in two ways, both count.
"""

import asyncio

from appliance.mail import message as messages
from appliance.mail import mime_names
from appliance.mail import reply as replies
from appliance.mail.reply import Reply
from appliance.policy.rules import Rules
from appliance.policy.tools import Tools
from appliance.policy.verdict import Facts, Part, Shape, Verdict, reject

MAX_ADDRESSES = 500  # in To and Cc
MAX_DEPTH = 100
MAX_PARTS = 1_000
MAX_PART_HEADER_BYTES = 65_536
MAX_DELIMITERS = 500_000  # lines that begin with -- whether or not they delimit
INLINE_BYTES = 65_536  # smaller messages are not worth a thread
_STEP = 1024 * 1024  # octets searched by one call

ADDRESSES, DEPTH, PARTS, HEADER, LINES = "addresses", "depth", "parts", "header", "delimiters"
_REPLIES: dict[str, Reply] = {
    ADDRESSES: replies.TOO_MANY_ADDRESSES,
    DEPTH: replies.TOO_DEEP,
    PARTS: replies.TOO_MANY_PARTS,
    HEADER: replies.HEADER_TOO_BIG,
    LINES: replies.TOO_MANY_PARTS,
}


async def look(facts: Facts, rules: Rules, tools: Tools) -> None:
    """Fill in `facts.shape`. A message that cannot be read has no shape; later stations see."""
    if facts.message is None:
        return
    if not needs_body(facts.message.head):
        facts.shape = of_text(facts.message.head)
        return
    if facts.size <= INLINE_BYTES:
        facts.shape = measure(facts.message.read())
        return
    async with tools.heavy:
        facts.shape = await asyncio.to_thread(_read_and_measure, facts)


def _read_and_measure(facts: Facts) -> Shape | None:
    try:
        return measure(facts.message.read()) if facts.message is not None else None
    except OSError:
        return None


def judge(facts: Facts, rules: Rules) -> Verdict | None:
    """Refuse what breaks a limit."""
    shape = facts.shape
    if shape is None or not shape.trouble:
        return None
    return reject("shape", _REPLIES[shape.trouble], f"over the limit: {shape.trouble}")


def needs_body(head: bytes) -> bool:
    """Whether the header promises anything but plain text without a name."""
    lower = head.lower()
    return b"multipart/" in lower or b"message/" in lower or b"name" in lower


def of_text(head: bytes) -> Shape:
    """The shape of a message that `needs_body` says no to: `measure`'s, without the walk."""
    return Shape(trouble=ADDRESSES) if count_addresses(head) > MAX_ADDRESSES else _TEXT


_TEXT = Shape((Part((), "", "", 0, 0),))  # one part, of which nobody asks more


def measure(content: bytes) -> Shape:
    """The shape of a whole message."""
    head, _ = messages.split_head(content)
    if count_addresses(head) > MAX_ADDRESSES:
        return Shape(trouble=ADDRESSES)
    walk = _Walk(content)
    walk.run(len(head))
    return Shape(tuple(walk.parts), walk.deepest, walk.trouble)


def count_addresses(head: bytes) -> int:
    """Addresses in To and Cc, counted by their @: quick, and never fewer than there are."""
    if head.count(b"@") <= MAX_ADDRESSES:
        return 0
    fields = (*messages.field_values(head, "To"), *messages.field_values(head, "Cc"))
    return sum(value.count("@") for value in fields)


class _Walk:
    """One pass over the delimiter lines; `_open` holds the open boundaries, outer first."""

    def __init__(self, content: bytes) -> None:
        self.parts: list[Part] = []
        self.deepest = 0
        self.trouble = ""
        self._content = content
        self._open: list[frozenset[bytes]] = []
        self._level: dict[bytes, int] = {}  # boundary to its place in `_open`
        self._wrapped = 0  # messages inside messages around the current place
        self._leaf: tuple[mime_names.PartHeader, int] | None = None

    def run(self, head_bytes: int) -> None:
        position = self._begin_part(0, head_bytes)
        for _ in range(MAX_DELIMITERS):
            if self.trouble or not self._open:
                break
            found = self._next_delimiter(position)
            if found < 0:
                break
            position = self._at_delimiter(found)
        else:
            self.trouble = self.trouble or LINES
        self._end_leaf(len(self._content))

    def _next_delimiter(self, position: int) -> int:
        """Where the next line that begins with -- begins; -1 when there is none."""
        content, size = self._content, len(self._content)
        position = max(position - 1, 0)  # the line feed before may just have been passed
        while position < size:
            found = content.find(b"\n--", position, position + _STEP + 2)
            if found >= 0:
                return found + 1
            position += _STEP
        return -1

    def _at_delimiter(self, start: int) -> int:
        """Look at the line that begins at `start`; where to go on."""
        end = self._content.find(b"\n", start, start + 1024)
        if end < 0:
            end = min(start + 1024, len(self._content))
        line = self._content[start + 2 : end].rstrip(b" \t\r")
        closes = line not in self._level and line.endswith(b"--") and line[:-2] in self._level
        boundary = line[:-2] if closes else line
        level = self._level.get(boundary)
        if level is None:
            return end
        self._end_leaf(start)
        self._close_above(level if closes else level + 1)
        if closes:
            return end
        head_end = self._content.find(b"\r\n\r\n", end - 1, end + MAX_PART_HEADER_BYTES)
        if self._content[end + 1 : end + 3] == b"\r\n":
            head_end = end - 1  # no header at all
        if head_end < 0:
            if len(self._content) - end > MAX_PART_HEADER_BYTES:
                self.trouble = HEADER
            head_end = len(self._content)
        return self._begin_part(end + 1, head_end + 2)

    def _begin_part(self, start: int, head_end: int) -> int:
        """A header from `start` to `head_end` (with its last CRLF); where the body begins."""
        self._wrapped = 0
        header = mime_names.part_header(self._content[start : max(start, head_end)])
        while header.is_message and not header.boundaries:
            self._wrapped += 1
            self._note_depth()
            if self.trouble:
                return head_end
            start = head_end + 2
            found = self._content.find(b"\r\n\r\n", start, start + MAX_PART_HEADER_BYTES)
            head_end = found + 2 if found >= 0 else min(start + 1024, len(self._content))
            self._add(header, start, start)
            header = mime_names.part_header(self._content[start:head_end])
        if header.boundaries:
            self._add(header, head_end, head_end)
            for boundary in header.boundaries:
                self._level[boundary] = len(self._open)
            self._open.append(header.boundaries)
            self._note_depth()
            return head_end
        self._leaf = (header, head_end + 2)
        return head_end

    def _note_depth(self) -> None:
        self.deepest = max(self.deepest, len(self._open) + self._wrapped)
        if self.deepest > MAX_DEPTH:
            self.trouble = DEPTH

    def _close_above(self, level: int) -> None:
        while len(self._open) > level:
            for boundary in self._open.pop():
                self._level.pop(boundary, None)

    def _end_leaf(self, end: int) -> None:
        if self._leaf is not None:
            header, start = self._leaf
            self._leaf = None
            self._add(header, start, max(start, end))

    def _add(self, header: mime_names.PartHeader, start: int, end: int) -> None:
        self.parts.append(Part(header.names, header.kind, header.encoding, start, end))
        if len(self.parts) > MAX_PARTS:
            self.trouble = self.trouble or PARTS
