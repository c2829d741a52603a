"""clamd on loopback: ClamAV's own with two signatures, and a stand-in for it."""

import hashlib
import shutil
import socket
import socketserver
import struct
import subprocess
import tempfile
import threading
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.support.ports import free_ports
from tests.support.wait import wait_until

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
    """The stand-in: the INSTREAM protocol and EICAR's signature. `address` is host:port."""

    def __init__(self) -> None:
        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Handler)
        self._server.daemon_threads = True
        host, port = self._server.server_address[:2]
        self.address = f"{host!s}:{port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


OWN_STRING = b"a string that only the tests' signature knows"
_CONFIGURATION = """\
Foreground yes
TCPSocket {port}
TCPAddr 127.0.0.1
DatabaseDirectory {folder}/signatures
TemporaryDirectory {folder}
OfficialDatabaseOnly no
ConcurrentDatabaseReload no
SelfCheck 0
MaxThreads 2
"""


class RealClamd:
    """ClamAV itself, with a database of two signatures: EICAR's (by digest), and OWN_STRING.

    `stop` and `start` as often as one likes; the address stays.
    """

    def __init__(self) -> None:
        (self._port,) = free_ports(1)
        self.address = f"127.0.0.1:{self._port}"
        self._folder = Path(tempfile.mkdtemp(prefix="clamd-"))
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        program = shutil.which("clamd") or "/usr/sbin/clamd"
        self._process = subprocess.Popen(
            [program, "-c", str(self._folder / "clamd.conf")],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        wait_until(self._answers, what="clamd", timeout_seconds=60)

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(30)
            self._process = None

    def __enter__(self) -> Self:
        signatures = self._folder / "signatures"
        signatures.mkdir()
        digest = hashlib.md5(EICAR, usedforsecurity=False).hexdigest()
        (signatures / "tests.hdb").write_text(f"{digest}:{len(EICAR)}:Tests.Eicar\n")
        (signatures / "tests.ndb").write_text(f"Tests.Own.String:0:*:{OWN_STRING.hex()}\n")
        text = _CONFIGURATION.format(port=self._port, folder=self._folder)
        (self._folder / "clamd.conf").write_text(text)
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
        shutil.rmtree(self._folder)

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self._port), timeout=5) as connection:
                connection.sendall(b"zPING\0")
                return connection.recv(16).startswith(b"PONG")
        except OSError:
            return False
