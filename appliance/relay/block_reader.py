"""asyncio's stream reader, with a second way to read: blocks as they come, uncopied.

Commands are read as lines through the library's buffer. A message's content passes at the size
in which the transport hands it over; through the buffer each octet would be copied and searched
three times. `tests/appliance/relay/test_block_reader.py` pins what is used of the library.
"""

import asyncio
from collections import deque
from typing import Any


class BlockReader(asyncio.StreamReader):
    """Lines until `begin_blocks`, blocks until `end_blocks`."""

    # The library's own, which its type stubs do not show
    _buffer: bytearray
    _eof: bool
    _exception: Exception | None
    _limit: int
    _loop: asyncio.AbstractEventLoop
    _maybe_resume_transport: Any
    _paused: bool
    _transport: Any
    _waiter: "asyncio.Future[None] | None"

    def __init__(self, limit: int, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(limit=limit, loop=loop)
        self._blocks: deque[bytes] | None = None
        self._waiting = 0  # octets in the blocks
        self._high = 2 * limit
        self.received_octets = 0

    def feed_data(self, data: bytes) -> None:  # type: ignore[override]  # a transport's bytes
        """Called by the transport."""
        self.received_octets += len(data)
        if self._blocks is None:
            self._buffer += data
            waiting = len(self._buffer)
        else:
            self._blocks.append(bytes(data))
            self._waiting = waiting = self._waiting + len(data)
        if (waiter := self._waiter) is not None:
            self._waiter = None
            if not waiter.cancelled():
                waiter.set_result(None)
        if waiting > self._high and not self._paused and self._transport is not None:
            self._transport.pause_reading()
            self._paused = True

    async def line(self) -> bytes:
        """The next line with its LF. Raises LimitOverrunError, IncompleteReadError.

        As `readuntil`, which looks for any separator in any place and costs twice as much.
        """
        buffer, searched = self._buffer, 0
        while (end := buffer.find(b"\n", searched)) < 0 and len(buffer) <= self._limit:
            searched = len(buffer)
            if self._exception is not None:
                raise self._exception
            if self._eof:
                raise asyncio.IncompleteReadError(bytes(buffer), None)
            await self._more()
        if end < 0 or end > self._limit:
            raise asyncio.LimitOverrunError("the line is too long", max(end, self._limit))
        line = bytes(buffer[: end + 1])
        del buffer[: end + 1]
        if self._paused:
            self._maybe_resume_transport()
        return line

    async def _more(self) -> None:
        """Wait until something has come, or the end. One task at a time reads a connection."""
        if self._paused:
            self._paused = False
            self._transport.resume_reading()
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def begin_blocks(self) -> None:
        """From now on `block` gives what comes, beginning with what is in the buffer."""
        self._blocks = deque()
        self._waiting = 0
        if self._buffer:
            self._blocks.append(bytes(self._buffer))
            self._waiting = len(self._blocks[0])
            self._buffer.clear()

    async def block(self) -> bytes:
        """The next block, never empty. Raises IncompleteReadError when no more will come."""
        blocks = self._blocks
        if blocks is None:
            raise RuntimeError("block() outside of begin_blocks() and end_blocks()")
        while not blocks:
            if self._eof:
                raise asyncio.IncompleteReadError(b"", None)
            await self._more()
        block = blocks.popleft()
        self._waiting -= len(block)
        if self._paused and self._waiting <= self._high // 2 and self._transport is not None:
            self._paused = False
            self._transport.resume_reading()
        return block

    def end_blocks(self, rest: bytes = b"") -> None:
        """Back to lines; `rest` was read too far."""
        rest += b"".join(self._blocks or ())
        self._blocks = None
        if rest:
            self._buffer.extend(rest)
