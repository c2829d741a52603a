"""Has messages signed by the process beside us (`signer`), while there is one that answers.

It is a help, not a need: whoever asks gets None when it has not started yet, has died or has
too much to do, and signs in place. After a death the next message starts it again, after a while.
"""

import asyncio
import contextlib
import logging
import os
import socket
import sys
from collections import deque
from collections.abc import Sequence

from appliance.base import run
from appliance.base.clock import Clock
from appliance.policy.dkim import SigningKey
from appliance.relay import signer
from appliance.relay.signer import ANSWER, Keys, keys_frame, request_frame

MOST_WAITING = 64
SECONDS_BETWEEN_STARTS = 30.0
PATIENCE_SECONDS = 5.0  # without any answer; an answer takes a millisecond
_log = logging.getLogger(__name__)


class SigningDesk:
    """One process, or none: `take_keys` starts it, where there is a second core for it."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._keys: Keys = {}
        self._line: _Line | None = None
        self._started_at = -SECONDS_BETWEEN_STARTS

    @property
    def pid(self) -> int | None:
        """The process's number, if there is one."""
        return self._line.child.pid if self._line is not None else None

    async def take_keys(self, keys: Keys) -> None:
        """Sign with these from now on; with none there is no process."""
        is_same = self._line is not None and keys_frame(keys) == keys_frame(self._keys)
        if not is_same:
            await self.close()
        self._keys = keys
        if is_same:
            return
        if keys and len(os.sched_getaffinity(0)) > 1:
            await self._start()

    async def close(self) -> None:
        """End the process; what it still had to do is signed in place."""
        line, self._line, self._keys = self._line, None, {}
        if line is not None:
            line.hang_up()
            await asyncio.to_thread(line.child.end)

    async def sign(
        self, head: bytes, body: bytes, keys: Sequence[SigningKey], at: float
    ) -> bytes | None:
        """The signature fields, made at `at` (seconds since 1970); None when it cannot help."""
        line = self._line
        if line is not None and line.is_lost:
            await self._restart()
            return None
        if line is None or not line.is_ready or len(line.waiting) >= MOST_WAITING:
            return None
        if tuple(keys) != tuple(self._keys.get(keys[0].domain, ())):
            return None  # others than it was given
        return await line.ask(request_frame(keys[0].domain, head, body, at))

    async def _restart(self) -> None:
        if self._clock.monotonic() - self._started_at >= SECONDS_BETWEEN_STARTS:
            keys = self._keys
            await self.close()
            await self.take_keys(keys)

    async def _start(self) -> None:
        self._started_at = self._clock.monotonic()
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                child = run.begin([sys.executable, "-P", "-m", signer.__name__], stdin=theirs)
        except OSError as error:
            ours.close()
            _log.warning("signatures are made in place: %s", error)
            return
        self._line = line = _Line(child)
        await asyncio.get_running_loop().create_unix_connection(lambda: line, sock=ours)
        line.send(keys_frame(self._keys))


class _Line(asyncio.Protocol):
    """The connection to the process: answers come in the order of the questions."""

    def __init__(self, child: run.Child) -> None:
        self.child = child
        self.waiting: deque[asyncio.Future[bytes | None]] = deque()
        self.is_ready = self.is_lost = False
        self._transport: asyncio.Transport | None = None
        self._come = bytearray()
        self._answers = 0
        self._watch: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]

    def send(self, frame: bytes) -> None:
        """Send what needs no future."""
        if self._transport is not None:
            self._transport.write(frame)

    def ask(self, frame: bytes) -> "asyncio.Future[bytes | None]":
        """Send a question; its answer, or None when the process dies."""
        future: asyncio.Future[bytes | None] = asyncio.get_running_loop().create_future()
        self.waiting.append(future)
        self.send(frame)
        if self._watch is None:
            self._look_later()
        return future

    def _look_later(self) -> None:
        loop = asyncio.get_running_loop()
        self._watch = loop.call_later(PATIENCE_SECONDS, self._look, self._answers)

    def _look(self, answers: int) -> None:
        """Nobody's message may wait for a process that is stuck."""
        self._watch = None
        if self.waiting and self._answers == answers:
            self.hang_up()
        elif self.waiting:
            self._look_later()

    def hang_up(self) -> None:
        """That ends the process as well."""
        self._lose()
        if self._transport is not None:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        self._come += data
        at = 0
        while len(self._come) - at >= ANSWER.size:
            (size,) = ANSWER.unpack_from(self._come, at)
            end = at + ANSWER.size + size
            if end > len(self._come):
                break
            self._take(bytes(self._come[at + ANSWER.size : end]))
            at = end
        del self._come[:at]

    def _take(self, answer: bytes) -> None:
        if not self.is_ready:
            self.is_ready = True
        elif self.waiting:
            self._answers += 1
            future = self.waiting.popleft()
            if not future.done():
                future.set_result(answer)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.is_lost:
            _log.warning("the process that signs has ended; signatures are made in place")
        self._lose()

    def _lose(self) -> None:
        self.is_lost, self.is_ready = True, False
        while self.waiting:
            with contextlib.suppress(asyncio.InvalidStateError):
                self.waiting.popleft().set_result(None)
