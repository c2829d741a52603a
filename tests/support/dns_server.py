"""An authoritative name server on loopback for the tests, UDP and TCP on one port.

Its zones are data literals; names outside them do not exist (NXDOMAIN), and
names in `silent` get no answer at all, names in `failing` a SERVFAIL:

>>> zones = {
...     "example.com": {"MX": ["10 mx.example.com."], "TXT": ['"v=spf1 mx -all"']},
...     "mx.example.com": {"A": ["192.0.2.1"]},
... }
>>> with DnsServer(zones) as server:
...     server.port
"""

from __future__ import annotations

import socket
import socketserver
import struct
import threading
from collections.abc import Iterable, Mapping
from typing import Any, Self

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset

Zones = Mapping[str, Mapping[str, Iterable[str]]]


class DnsServer:
    """Answers from `zones`: name -> type -> records in zone-file form."""

    def __init__(
        self,
        zones: Zones,
        *,
        failing: Iterable[str] = (),
        silent: Iterable[str] = (),
        host: str = "127.0.0.1",
        port: int = 0,
        ttl_seconds: int = 60,
    ) -> None:
        self.zones: dict[str, dict[str, list[str]]] = {}
        self.failing = {_plain(name) for name in failing}
        self.silent = {_plain(name) for name in silent}
        self.ttl_seconds = ttl_seconds
        self.questions: list[tuple[str, str]] = []
        for name, records in zones.items():
            self.set(name, records)
        self._udp, self._tcp = _bind_both(self, host, port)
        self.host, self.port = host, self._udp.server_address[1]
        self._threads = [
            threading.Thread(
                target=server.serve_forever, kwargs={"poll_interval": 0.05}, name="dns", daemon=True
            )
            for server in (self._udp, self._tcp)
        ]

    def set(self, name: str, records: Mapping[str, Iterable[str]]) -> None:
        """Replace all records of a name; works while the server runs."""
        self.zones[_plain(name)] = {kind: list(values) for kind, values in records.items()}

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        for server in (self._udp, self._tcp):
            server.shutdown()
            server.server_close()

    @property
    def address(self) -> str:
        return f"{self.host}:{self.port}"

    def respond(self, wire: bytes, *, tcp: bool) -> bytes | None:
        """The answer to one query in wire form; None: stay silent."""
        query = dns.message.from_wire(wire)
        question = query.question[0]
        name = _plain(question.name.to_text())
        kind = dns.rdatatype.to_text(question.rdtype)
        self.questions.append((name, kind))
        if name in self.silent:
            return None
        answer = dns.message.make_response(query)
        answer.flags |= dns.flags.AA
        if name in self.failing:
            answer.set_rcode(dns.rcode.SERVFAIL)
        else:
            self._fill(answer, question.name, name, kind)
        wire_out: bytes = answer.to_wire()
        if not tcp and len(wire_out) > max(512, query.payload):
            short = dns.message.make_response(query)
            short.flags |= dns.flags.TC | dns.flags.AA
            wire_out = short.to_wire()
        return wire_out

    def _fill(
        self, answer: dns.message.Message, owner: dns.name.Name, name: str, kind: str
    ) -> None:
        for _ in range(8):  # a chain of aliases, bounded
            records = self.zones.get(name)
            if records is None:
                if not any(known.endswith("." + name) for known in self.zones):
                    answer.set_rcode(dns.rcode.NXDOMAIN)
                return
            if kind in records:
                answer.answer.append(
                    dns.rrset.from_text_list(owner, self.ttl_seconds, "IN", kind, records[kind])
                )
                return
            if "CNAME" not in records:
                return
            alias = dns.rrset.from_text_list(
                owner, self.ttl_seconds, "IN", "CNAME", records["CNAME"]
            )
            answer.answer.append(alias)
            owner = dns.name.from_text(records["CNAME"][0])
            name = _plain(owner.to_text())


def _plain(name: str) -> str:
    return name.rstrip(".").lower()


class _Udp(socketserver.ThreadingUDPServer):
    allow_reuse_address = False
    daemon_threads = True


class _Tcp(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


def _bind_both(server: DnsServer, host: str, port: int) -> tuple[_Udp, _Tcp]:
    """UDP and TCP on the same port; a free one is looked for a few times."""

    class OnUdp(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            wire, sock = self.request
            answer = server.respond(wire, tcp=False)
            if answer is not None:
                sock.sendto(answer, self.client_address)

    class OnTcp(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            while header := _read(self.request, 2):
                (length,) = struct.unpack("!H", header)
                answer = server.respond(_read(self.request, length), tcp=True)
                if answer is None:
                    return
                self.request.sendall(struct.pack("!H", len(answer)) + answer)

    for attempt in range(20):
        udp = _Udp((host, port), OnUdp)
        try:
            return udp, _Tcp((host, udp.server_address[1]), OnTcp)
        except OSError:
            udp.server_close()
            if port or attempt == 19:
                raise
    raise AssertionError("not reached")


def _read(connection: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        got: Any = connection.recv(count - len(data))
        if not got:
            return b""
        data += got
    return data
