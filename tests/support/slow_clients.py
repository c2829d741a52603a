"""Many connections that get nowhere: silent ones, and ones that drip commands or a message.

They come from addresses of their own in 127/8. One thread keeps them all, a poll at a time.
"""

from __future__ import annotations

import contextlib
import resource
import selectors
import socket
import threading
import time
from dataclasses import dataclass, field
from typing import Self

OPENED_A_SECOND = 1_000
_SAID = (
    b"",
    b"EHLO slow.example\r\nNOOP ",
    b"EHLO slow.example\r\nMAIL FROM:<a@client.example>\r\nRCPT TO:<b@example.org>\r\n",
)


def raise_the_limit() -> None:
    """As many open files as we may have; a child that is started now has it as well."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


@dataclass
class _Slow:
    sock: socket.socket
    said: bytes
    greeted: bool = False
    received: bytes = b""
    begun: float = field(default_factory=time.monotonic)


class SlowClients:
    """`count` connections from `addresses` addresses; a thousand open a second."""

    def __init__(self, port: int, count: int, addresses: int) -> None:
        self._port, self._count, self._addresses = port, count, addresses
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._selector = selectors.DefaultSelector()
        self.opened = self.refused = self.cut = 0
        # Those that were let in and are still there. A connection that the kernel dropped from a
        # full backlog looks open from here for ever; nobody has greeted it.
        self.open = 0
        self.longest_seconds = 0.0  # that one of those who were let in was kept

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join(30)
        for key in list(self._selector.get_map().values()):
            key.data.sock.close()
        self._selector.close()

    def _work(self) -> None:
        begun = dripped_at = time.monotonic()
        while not self._stopping.is_set():
            due = min(self._count, int((time.monotonic() - begun) * OPENED_A_SECOND) + 1)
            while self.opened < due:
                self._open()
            for key, _ in self._selector.select(0.01):
                self._read(key.data)
            if time.monotonic() - dripped_at > 1:
                dripped_at = time.monotonic()
                for key in list(self._selector.get_map().values()):
                    self._drip(key.data)

    def _open(self) -> None:
        number = self.opened
        self.opened += 1
        address = number % self._addresses
        sock = socket.socket()
        try:
            sock.bind((f"127.1.{address // 250}.{address % 250 + 1}", 0))
            sock.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                sock.connect(("127.0.0.1", self._port))
            slow = _Slow(sock, _SAID[number % len(_SAID)])
            self._selector.register(sock, selectors.EVENT_READ, slow)
        except OSError:
            sock.close()
            self.refused += 1

    def _read(self, slow: _Slow) -> None:
        try:
            block = slow.sock.recv(4096)
            if block and not slow.greeted:
                slow.greeted = block.startswith(b"220")
                self.open += slow.greeted
                if slow.greeted and slow.said:
                    slow.sock.sendall(slow.said)
            elif b"250 2.1.5" in block:
                slow.sock.sendall(b"DATA\r\n")
        except OSError:
            block = b""
        if not block:
            self._over(slow)

    def _drip(self, slow: _Slow) -> None:
        if not slow.said or not slow.greeted:
            return
        try:
            slow.sock.send(b"x")
        except OSError:
            self._over(slow)

    def _over(self, slow: _Slow) -> None:
        self._selector.unregister(slow.sock)
        slow.sock.close()
        if slow.greeted:
            self.open -= 1
            self.cut += 1
            self.longest_seconds = max(self.longest_seconds, time.monotonic() - slow.begun)
        else:
            self.refused += 1
