"""The doors: ports 25, 587 and 465, their sockets and TLS.

The sockets are systemd's (or dev ports) and stay open as long as we run; each server listens on
a duplicate, so that a door can be hung anew when a certificate comes or goes. Port 25 has a back
door, a socket in the file system: there the mailboxes hand in what people's filters send, and
whoever the file's owner lets in may send to anybody.
"""

import asyncio
import logging
import socket
import ssl
from pathlib import Path

from appliance.policy.verdict import Port
from appliance.relay.session import Session
from appliance.relay.shop import Shop

BACKLOG = 4_096  # what the kernel grants; a crowd waits there, not in a client's time-out
HANDSHAKE_SECONDS = 30
_log = logging.getLogger(__name__)


class Listener:
    """Opens and closes the doors."""

    def __init__(self, shop: Shop, sockets: dict[Port, list[socket.socket]]) -> None:
        self._shop = shop
        self._sockets = sockets
        self._servers: list[asyncio.Server] = []
        self._tls: ssl.SSLContext | None = None

    async def open(self, certificate: Path | None, key: Path | None) -> None:
        """Hang the doors with this certificate; also to do so again. Sessions go on."""
        self.close()
        self._tls = tls_context(certificate, key)
        for port, sockets in self._sockets.items():
            for sock in sockets:
                self._servers.append(await self._serve(port, sock))

    def close(self) -> None:
        """Take no new connections."""
        for server in self._servers:
            server.close()
        self._servers.clear()

    def describe(self) -> list[dict[str, object]]:
        """Where we listen, for the status page."""
        return [
            {"name": port.value, "address": _written(sock), "tls": self._tls is not None}
            for port, sockets in self._sockets.items()
            for sock in sockets
        ]

    async def _serve(self, port: Port, sock: socket.socket) -> asyncio.Server:
        at_home = sock.family == socket.AF_UNIX
        implicit = self._tls if port is Port.SUBMISSIONS else None
        starttls = None if port is Port.SUBMISSIONS or at_home else self._tls
        loop = asyncio.get_running_loop()
        return await loop.create_server(
            lambda: Session(self._shop, port, starttls, at_home=at_home),
            sock=sock.dup(),
            ssl=implicit,
            ssl_handshake_timeout=HANDSHAKE_SECONDS if implicit else None,
            backlog=BACKLOG,
        )


def tls_context(certificate: Path | None, key: Path | None) -> ssl.SSLContext | None:
    """A server context, TLS 1.2 and up; None when there is no usable certificate."""
    if certificate is None or key is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:
        _log.warning("no TLS: the certificate %s cannot be used: %s", certificate, error)
        return None
    return context


def loopback_socket(port: int, host: str = "127.0.0.1") -> socket.socket:
    """A listening socket for development. Raises OSError when the port is taken."""
    # The protocol is named because asyncio switches Nagle's delay off only where it reads "TCP".
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind((host, port))
    sock.listen(BACKLOG)
    sock.setblocking(False)
    return sock


def _written(sock: socket.socket) -> str:
    if sock.family == socket.AF_UNIX:
        return str(sock.getsockname())
    host, port = sock.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
