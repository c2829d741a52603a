"""Reading DATA in blocks (RFC 5321 §4.1.1.4, §4.5.2).

Only CR LF . CR LF ends a message. A CR or LF that stands alone, or a NUL, makes the message
refusable: let through, it could end a message early at a laxer server further on ("SMTP
smuggling"). Memory stays flat: above a threshold the content goes to a file as it comes.
"""

import io
from collections.abc import Callable, Iterator

from appliance.mail import message
from appliance.relay.block_reader import BlockReader
from appliance.spool.bodies import BodyFile

END = b"\r\n.\r\n"
GATHER_OCTETS = 16_384  # smaller blocks are put together: a dripped message is no heap of crumbs


class Unstuffer:
    """Takes the dots back out, block by block. The stream begins with a CRLF that is not content:
    with it, an empty message and a dot on the first line are ordinary cases. Pure.
    """

    __slots__ = ("_held", "_newlines", "_to_skip", "bare_newline", "has_nul")

    def __init__(self) -> None:
        self._held = b""  # a CRLF, or half of one, at a block's end: a dot may follow
        self._to_skip = 2
        # The fastest way to see each kind of line end that occurs, across blocks too
        self._newlines = io.IncrementalNewlineDecoder(None, translate=False)
        self.bare_newline = False
        self.has_nul = False

    def feed(self, block: bytes, *, last: bool = False) -> bytes:
        """The content of a block. With `last`, nothing is held back."""
        self._newlines.decode(block.decode("latin-1"), final=last)
        if self._newlines.newlines not in (None, "\r\n"):
            self.bare_newline = True
        if self._held:
            block = self._held + block
        self._held = b""
        if not last:
            keep = 2 if block.endswith(b"\r\n") else 1 if block.endswith(b"\r") else 0
            if keep:
                block, self._held = block[:-keep], block[-keep:]
        if b"\0" in block:
            self.has_nul = True
        if b"." in block and b"\r\n." in block:  # the first is far cheaper, and often enough
            block = block.replace(b"\r\n.", b"\r\n")
        if self._to_skip and block:
            skipped = min(self._to_skip, len(block))
            self._to_skip -= skipped
            block = block[skipped:]
        return block


class Content:
    """A message's content on its way in: in memory, above `threshold` in a file."""

    def __init__(self, *, threshold: int, limit: int, begin_file: Callable[[], BodyFile]) -> None:
        self.size = 0
        self.head = b""  # the header, with the CRLF of its last line
        self.head_too_big = False
        self.file: BodyFile | None = None
        self.trouble: OSError | None = None
        self.unstuffer = Unstuffer()
        self._threshold = threshold
        self._limit = limit
        self._begin_file = begin_file
        self._blocks: list[bytes] = []
        self._head_open = True

    @property
    def is_wanted(self) -> bool:
        """False when it will be refused whatever else comes: it is then only counted."""
        return not (
            self.size > self._limit
            or self.head_too_big
            or self.trouble
            or self.unstuffer.bare_newline
            or self.unstuffer.has_nul
        )

    def take(self, raw: bytes, *, last: bool = False) -> None:
        """Add a raw block from the wire."""
        block = self.unstuffer.feed(raw, last=last)
        self.size += len(block)
        if self._head_open:
            self._look_for_head(block, last)
        if not self.is_wanted:
            self.discard()
            return
        try:
            self._keep(block)
        except OSError as error:
            self.trouble = error
            self.discard()

    def body(self) -> bytes | None:
        """The content when it was kept in memory; None when it is in the file."""
        if self.file is not None:
            return None
        return self._blocks[0] if len(self._blocks) == 1 else b"".join(self._blocks)

    def read(self) -> bytes:
        """All of the content, for the checks that must see it. Raises OSError."""
        if self.file is None:
            return self.body() or b""
        return self.file.read_back()

    def body_blocks(self) -> Iterator[bytes]:
        """What stands behind the header's empty line. Raises OSError."""
        start = len(self.head) + 2
        if self.file is None:
            yield (self.body() or b"")[start:]
        else:
            yield from self.file.blocks_so_far(start)

    def hand_over(self) -> BodyFile | None:
        """Give the file away; it is the spool's to look after from now on."""
        file, self.file = self.file, None
        return file

    def discard(self) -> None:
        """Drop what was kept."""
        self._blocks.clear()
        if self.file is not None:
            self.file.discard()
            self.file = None

    def _keep(self, block: bytes) -> None:
        if self.file is None and self.size > self._threshold:
            self.file = self._begin_file()
            for earlier in self._blocks:
                self.file.write(earlier)
            self._blocks.clear()
        if self.file is not None:
            self.file.write(block)
        else:
            self._blocks.append(block)

    def _look_for_head(self, block: bytes, last: bool) -> None:
        searched = max(0, len(self.head) - 3)
        self.head += block[: message.MAX_HEADER_BYTES + 4 - len(self.head)]
        if self.head.startswith(b"\r\n"):
            self.head, self._head_open = b"", False
            return
        end = self.head.find(b"\r\n\r\n", searched)
        if end >= 0:
            self.head, self._head_open = self.head[: end + 2], False
        elif last:
            self._head_open = False
        if len(self.head) > message.MAX_HEADER_BYTES:
            self.head_too_big, self._head_open = True, False


async def read(reader: BlockReader, content: Content, touch: Callable[[], None]) -> None:
    """Read until the final dot. `touch` is called for each block, to put the time-out off.

    The content begins after a CRLF that was read already, with the command. Raises
    IncompleteReadError when the client hangs up.
    """
    held, searched = b"\r\n", 0
    reader.begin_blocks()
    try:
        while True:
            held += await reader.block()
            touch()
            end = held.find(END, searched) if b"." in held else -1
            if end >= 0:
                break
            if len(held) >= GATHER_OCTETS:
                content.take(held[:-4])
                held = held[-4:]
            searched = max(0, len(held) - 4)
        content.take(held[: end + 2], last=True)
        held = held[end + len(END) :]
    finally:
        reader.end_blocks(held)
