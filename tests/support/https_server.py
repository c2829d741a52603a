"""A small HTTPS server on loopback that gives one answer, whatever the path."""

from __future__ import annotations

import socket
import ssl
import threading
from typing import Self


class HttpsServer:
    """`answer` is the whole response as octets; it may be changed while the server runs."""

    def __init__(self, context: ssl.SSLContext, answer: bytes = b"") -> None:
        self.answer, self._context = answer, context
        self.requests: list[bytes] = []
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def give(self, body: bytes, *, head: str = "200 OK\r\nContent-Type: text/plain") -> None:
        """Answer with this body from now on."""
        length = f"\r\nContent-Length: {len(body)}"
        self.answer = f"HTTP/1.1 {head}{length}\r\n\r\n".encode() + body

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join(10)

    def _serve(self) -> None:
        while True:
            try:
                plain, _ = self._socket.accept()
            except OSError:
                return
            try:
                plain.settimeout(5)
                with self._context.wrap_socket(plain, server_side=True) as sock:
                    self.requests.append(sock.recv(4096))
                    sock.sendall(self.answer)
            except OSError:
                plain.close()
