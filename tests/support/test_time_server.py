"""The tests' own time server, read as RFC 5905 lays the datagram out."""

from __future__ import annotations

import socket
import struct
import time

from tests.support.time_server import TimeServer


def test_it_tells_the_time_and_echoes_what_the_client_sent() -> None:
    with TimeServer(port=0, offset_seconds=3600) as server:
        request = bytes([0x23]) + bytes(39) + b"ABCDEFGH"
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.settimeout(5)
            client.sendto(request, ("127.0.0.1", server.port))
            answer = client.recv(100)
    mode, stratum = answer[0] & 7, answer[1]
    (seconds,) = struct.unpack("!I", answer[40:44])
    assert (mode, stratum, answer[24:32]) == (4, 2, b"ABCDEFGH")
    assert abs(seconds - 2_208_988_800 - 3600 - time.time()) < 2
