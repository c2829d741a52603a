"""Zones that are really signed, a server that has them, and a validating unbound that asks it.

Below `example.`, whose key the validator trusts; each zone is delegated with the digest of its
key, or, unsigned, without one, so that even "unsigned" is proved:

>>> with SignedZones(tmp_path, [Zone("good.example", ("@ MX 10 mx", "mx A 127.0.0.1"))]) as zones:
...     LiveResolver("127.0.0.1", zones.port)

The server is unbound with the zones in files; the validator reads what the box renders.
"""

import asyncio
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from appliance.dns.live import LiveResolver
from appliance.dns.resolver import DnsError
from appliance.render import unbound
from appliance.settings import schema
from tests.support.applied_box import facts_of
from tests.support.ports import free_ports
from tests.support.wait import wait_until

TOP = "example"
_DAY = 86_400
_START = """\
$ORIGIN {name}.
$TTL 60
@ IN SOA ns.example. hostmaster.example. 1 3600 600 86400 60
@ IN NS ns.example.
"""
_SERVER = """\
server:
    interface: 127.0.0.1@{port}
    access-control: 127.0.0.0/8 allow
    username: ""
    chroot: ""
    directory: ""
    pidfile: ""
    use-syslog: no
    do-daemonize: no
    num-threads: 1
    module-config: "iterator"
"""
_SERVED = """\
auth-zone:
    name: "{name}"
    zonefile: "{file}"
    for-downstream: yes
    for-upstream: no
"""
_ASKED = """\
stub-zone:
    name: "{name}"
    stub-addr: 127.0.0.1@{port}
"""


@dataclass(frozen=True, slots=True)
class Zone:
    """`records` are lines of a zone file. `after` is done to the file once it is signed."""

    name: str
    records: tuple[str, ...]
    is_signed: bool = True
    has_expired: bool = False
    after: Callable[[str], str] = lambda text: text


class SignedZones:
    """`port` is the validator's, on 127.0.0.1."""

    def __init__(self, folder: Path, zones: Sequence[Zone]) -> None:
        self.folder, self.zones = folder, zones
        self.port, self._server_port = free_ports(2)
        self._processes: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        names = [zone.name for zone in self.zones]
        delegations = [line for zone in self.zones for line in self._make(zone)]
        top = Zone(TOP, ("ns A 127.0.0.1", *delegations))
        (trusted,) = self._make(top)[1:]
        served = "".join(
            _SERVED.format(name=name, file=self.folder / f"{name}.zone") for name in (TOP, *names)
        )
        self._start("server", _SERVER.format(port=self._server_port) + served)
        asked = "".join(_ASKED.format(name=name, port=self._server_port) for name in (TOP, *names))
        self._start("validator", self._rendered(trusted) + asked)
        resolver = LiveResolver("127.0.0.1", self.port, lifetime_seconds=10, cache_size=1)
        wait_until(
            lambda: asyncio.run(resolver.query(f"ns.{TOP}", "A")).authenticated,
            what="the validator",
            ignore=(DnsError,),
        )
        return self

    def _rendered(self, trusted: str) -> str:
        """The box's own configuration, on our port, with one more key to trust."""
        text = unbound.render(schema.from_json({}), facts_of(self.folder))[unbound.FILE].decode()
        text = text.replace("interface: 127.0.0.1", f"interface: 127.0.0.1@{self.port}")
        text = text.replace('username: "unbound"', 'username: ""')
        return f'{text}    do-not-query-localhost: no\n    trust-anchor: "{trusted}"\n'

    def _make(self, zone: Zone) -> list[str]:
        """Write a zone's file; what its parent says of it: its server, and its key's digest."""
        source = self.folder / f"{zone.name}.source"
        file = self.folder / f"{zone.name}.zone"
        source.write_text(_START.format(name=zone.name) + "\n".join(zone.records) + "\n")
        server = f"{zone.name}. NS ns.example."
        if not zone.is_signed:
            file.write_text(zone.after(source.read_text()))
            return [server]
        key = self._run("ldns-keygen", "-k", "-a", "ECDSAP256SHA256", zone.name).strip()
        since, until = (-3, -1) if zone.has_expired else (-1, 30)
        first, last = (str(int(time.time()) + days * _DAY) for days in (since, until))
        self._run("ldns-signzone", "-i", first, "-e", last, "-f", str(file), str(source), key)
        file.write_text(zone.after(file.read_text()))
        return [server, (self.folder / f"{key}.ds").read_text().strip()]

    def _run(self, *words: str) -> str:
        done = subprocess.run(
            words, cwd=self.folder, check=True, capture_output=True, text=True, timeout=60
        )
        return done.stdout

    def _start(self, name: str, text: str) -> None:
        file = self.folder / f"{name}.conf"
        file.write_text(text)
        log = (self.folder / f"{name}.log").open("wb")
        command = ["unbound", "-d", "-p", "-c", str(file)]
        self._processes.append(subprocess.Popen(command, stdout=log, stderr=log))

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            process.terminate()
            process.wait(20)
