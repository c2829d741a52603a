"""systemd's two small protocols: readiness (sd_notify) and socket activation (LISTEN_FDS)."""

from __future__ import annotations

import os
import socket

_FIRST_FD = 3  # sd_listen_fds(3): SD_LISTEN_FDS_START


def notify(state: str) -> None:
    """Tell the service manager `state` ("READY=1", "STATUS=..."); silent when there is none."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
        sock.sendto(state.encode(), address)


def listen_fds() -> dict[str, list[socket.socket]]:
    """The sockets that systemd passed, by FileDescriptorName; empty when started by hand."""
    if os.environ.get("LISTEN_PID") != str(os.getpid()):
        return {}
    count = int(os.environ.get("LISTEN_FDS", "0"))
    names = os.environ.get("LISTEN_FDNAMES", "").split(":")
    sockets: dict[str, list[socket.socket]] = {}
    for index in range(count):
        fd = _FIRST_FD + index
        os.set_inheritable(fd, False)
        name = names[index] if index < len(names) and names[index] else "unknown"
        sockets.setdefault(name, []).append(socket.socket(fileno=fd))
    return sockets
