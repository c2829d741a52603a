"""A time server on loopback: SNTP (RFC 5905 §14), one datagram in, one out."""

from __future__ import annotations

import socketserver
import struct
import threading
import time
from typing import Self

_FROM_1900_TO_1970_SECONDS = 2_208_988_800


class TimeServer:
    """Answers with the host's time plus `offset_seconds`. NTP clients insist on port 123."""

    def __init__(
        self, *, host: str = "127.0.0.1", port: int = 123, offset_seconds: float = 0.0
    ) -> None:
        self.offset_seconds = offset_seconds
        self.asked = 0
        owner = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                request, sock = self.request
                if len(request) >= 48:
                    owner.asked += 1
                    sock.sendto(owner._answer(request), self.client_address)

        self._server = socketserver.UDPServer((host, port), Handler)
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
        )

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _answer(self, request: bytes) -> bytes:
        now = time.time() + self.offset_seconds + _FROM_1900_TO_1970_SECONDS
        stamp = struct.pack("!II", int(now), int((now % 1) * (1 << 32)))
        head = struct.pack("!BBbb II", 0x24, 2, 6, -20, 0, 0) + b"\x7f\x00\x00\x01"
        return head + stamp + request[40:48] + stamp + stamp
