"""A stand-in for clamd on loopback: the INSTREAM protocol, and one signature, EICAR's."""

import socketserver
import struct
import threading
from types import TracebackType
from typing import Self

EICAR = rb"X5O!P%@AP[4\PZX54(P^)7CC)7}$" + b"EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"


class _Handler(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        command = self._until_nul()
        if command != b"zINSTREAM":
            self.wfile.write(b"UNKNOWN COMMAND\0")
            return
        content = b""
        while True:
            (size,) = struct.unpack("!I", self.rfile.read(4))
            if not size:
                break
            content += self.rfile.read(size)
        found = EICAR in content
        self.wfile.write(b"stream: Eicar-Test-Signature FOUND\0" if found else b"stream: OK\0")

    def _until_nul(self) -> bytes:
        text = b""
        while (octet := self.rfile.read(1)) not in (b"\0", b"\n", b""):
            text += octet
        return text


class Clamd:
    """`address` is host:port."""

    def __init__(self) -> None:
        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Handler)
        self._server.daemon_threads = True
        host, port = self._server.server_address[:2]
        self.address = f"{host!s}:{port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
