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
    _paused: bool
    _transport: Any
    _wait_for_data: Any
    _wakeup_waiter: Any

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
            super().feed_data(data)
            return
        self._blocks.append(bytes(data))
        self._waiting += len(data)
        self._wakeup_waiter()
        if self._waiting > self._high and not self._paused and self._transport is not None:
            self._transport.pause_reading()
            self._paused = True

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
            await self._wait_for_data("block")
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
