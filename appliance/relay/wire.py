"""The client's side of SMTP on the wire: replies read within bounds, content sent in CRLF pairs.

What the other server says is data from a stranger: lines, their number and their length are
bounded, and controls do not reach the log.
"""

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass

from appliance.mail import message
from appliance.relay.reasons import DeliveryTrouble, Say

MAX_REPLY_LINES = 100
MAX_REPLY_LINE_BYTES = 8_192
MAX_KEPT_CHARACTERS = 1_000
FEW_UNSENT_OCTETS = 16_384  # below that, sending on waits for nobody
_REPLY_LINE = re.compile(rb"([2-5]\d\d)(?:([ -])(.*))?\Z", re.DOTALL)
_ONE_LINE_REPLY = re.compile(rb"\d\d\d(?:[ \r][^\n]*)?\n")


@dataclass(frozen=True, slots=True)
class ServerReply:
    """A whole reply; `text` is one line, cleaned."""

    code: int
    text: str
    lines: tuple[str, ...] = ()

    @property
    def is_good(self) -> bool:
        """2yz."""
        return 200 <= self.code < 300

    def __str__(self) -> str:
        return f"{self.code} {self.text}"


async def read_reply(reader: asyncio.StreamReader) -> ServerReply:
    """Read one reply (RFC 5321 §4.2). Raises DeliveryTrouble."""
    lines: list[str] = []
    code = 0
    while len(lines) < MAX_REPLY_LINES:
        try:
            raw = await reader.readuntil(b"\n")
        except asyncio.LimitOverrunError as error:
            raise DeliveryTrouble(Say.NOT_SMTP, status="4.5.0") from error
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            raise DeliveryTrouble(Say.LOST, status="4.4.2") from error
        matched = _REPLY_LINE.match(raw.rstrip(b"\r\n"))
        if not matched or (lines and int(matched[1]) != code):
            shown = clean(raw[:80].decode("utf-8", "replace"))
            raise DeliveryTrouble(Say.NOT_SMTP, status="4.5.0", reply=shown)
        code = int(matched[1])
        lines.append(clean((matched[3] or b"").decode("utf-8", "replace")))
        if matched[2] != b"-":
            return ServerReply(code, _joined(lines), tuple(lines))
    raise DeliveryTrouble(Say.NOT_SMTP, status="4.5.0", reply="too many lines")


def is_here(reader: asyncio.StreamReader) -> bool:
    """Whether a reply of one line has come already: reading it waits for nobody."""
    buffer: bytearray = reader._buffer  # type: ignore[attr-defined]
    return _ONE_LINE_REPLY.match(buffer) is not None


def unasked(reader: asyncio.StreamReader) -> DeliveryTrouble | None:
    """What is wrong when the server has spoken out of turn.

    Replies that came before their command would be taken for answers to it; so a server could
    "take" a message that it never saw.
    """
    buffer: bytearray = reader._buffer  # type: ignore[attr-defined]
    if not buffer:
        return None
    waiting = bytes(buffer[:80])
    shown = clean(waiting.split(b"\n")[0].decode("utf-8", "replace"))
    if waiting.startswith(b"421"):  # RFC 5321 §3.8: that it may say at any time, and closes
        return DeliveryTrouble(Say.LOST, status="4.4.2", reply=shown)
    return DeliveryTrouble(Say.NOT_SMTP, status="4.5.0", reply=shown)


def clean(text: str) -> str:
    """One printable line."""
    shown = text.rstrip("\r\n")[:MAX_KEPT_CHARACTERS]
    return shown if shown.isprintable() else "".join(c if c.isprintable() else "?" for c in shown)


def _joined(lines: list[str]) -> str:
    """Several lines as one; a repeated enhanced code is said once."""
    first = lines[0]
    if len(lines) == 1:
        return first
    status = re.match(r"[245]\.\d+\.\d+ ", first)
    rest = [line.removeprefix(status[0]) if status else line for line in lines[1:]]
    return " ".join([first, *rest])[:MAX_KEPT_CHARACTERS]


class Stuffer:
    """Puts the dots in, block by block (RFC 5321 §4.5.2). Pure."""

    def __init__(self) -> None:
        self._held = b""
        self._at_start = True
        self._empty = True

    def feed(self, block: bytes) -> bytes:
        """The next octets for the wire. Raises DeliveryTrouble for a CR or LF that is alone."""
        block = self._held + block if self._held else block
        keep = 2 if block.endswith(b"\r\n") else 1 if block.endswith(b"\r") else 0
        self._held = block[len(block) - keep :]
        return self._stuffed(block[: len(block) - keep])

    def finish(self) -> bytes:
        """The rest, and the dot that ends it all; a last line without its CRLF gets one."""
        rest, self._held = self._held, b""
        ended = rest == b"\r\n" or (self._empty and not rest)
        return self._stuffed(rest) + (b".\r\n" if ended else b"\r\n.\r\n")

    def _stuffed(self, block: bytes) -> bytes:
        if not message.has_only_crlf(block):
            raise DeliveryTrouble(Say.BAD_CONTENT, permanent=True, status="5.6.0")
        if not block:
            return b""
        self._empty = False
        stuffed = block.replace(b"\r\n.", b"\r\n..") if b"\r\n." in block else block
        if self._at_start and stuffed.startswith(b"."):
            stuffed = b"." + stuffed
        self._at_start = False
        return stuffed


async def send_content(
    writer: asyncio.StreamWriter, content: AsyncIterator[bytes], *, timeout_seconds: float
) -> bytes:
    """Send the content but for its end, which is returned: the last dot is the caller's to send.

    Raises DeliveryTrouble, ConnectionError, TimeoutError (per block).
    """
    stuffer = Stuffer()
    async for block in content:
        writer.write(stuffer.feed(block))
        if writer.transport.get_write_buffer_size() <= FEW_UNSENT_OCTETS:
            await writer.drain()  # only to hear of a lost connection
            continue
        async with asyncio.timeout(timeout_seconds):
            await writer.drain()
    return stuffer.finish()
