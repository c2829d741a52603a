"""What the measurements share: our relay as a server to be measured, and its peer's form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from tests.support.dns_server import DnsServer
from tests.support.relay_process import RelayProcess

PATH = "/usr/sbin:/usr/bin:/bin"
# Stops only at flushes, so that nothing else is slowed down.
SLOW = (
    "strace", "-f", "-qq", "--seccomp-bpf", "-o", "/dev/null", "-e", "trace=fsync,fdatasync",
    "-e", "inject=fsync,fdatasync:delay_enter=5000",
)  # fmt: skip
# smtp-source's sender, so that every check of the policy has something to ask and to find
ZONES = {
    "src.test": {"MX": ["10 mx.src.test."], "TXT": ['"v=spf1 ip4:127.0.0.0/8 -all"']},
    "mx.src.test": {"A": ["127.0.0.1"]},
    "_dmarc.src.test": {"TXT": ['"v=DMARC1; p=none"']},
}


class Server(Protocol):
    """Something that takes mail on a port."""

    port: int


class Ours:
    """The relay, with mail for example.test going to `sink`."""

    def __init__(
        self,
        folder: Path,
        *,
        module: str = "appliance.relay.main",
        sink: int = 9,
        before: Sequence[str] = (),
        settings: Mapping[str, Any] | None = None,
        facts: Mapping[str, Any] | None = None,
    ) -> None:
        self.folder = folder / f"pennypost-{sink}-{len(settings or {})}"
        self._dns = DnsServer(ZONES)
        self.process = RelayProcess(
            self.folder,
            {
                "mail.relay_domains": [f"example.test | 127.0.0.1:{sink}"],
                "relay.connections_per_address": 1_000,
                "filter.check_sender_domain": True,
                "filter.check_spf": True,
                "filter.dmarc": "follow",
                **(settings or {}),
            },
            module=module,
            before=before,
            facts=facts,
            resolver=f"127.0.0.1:{self._dns.port}",
        )
        self.port = self.process.port

    @property
    def log(self) -> Path:
        """Its mail log."""
        return self.folder / "log" / "mail.log"

    @property
    def pid(self) -> int:
        """The relay's own process."""
        return int((self.folder / "run" / "relay.pid").read_text())

    def __enter__(self) -> Ours:
        self._dns.__enter__()
        self.process.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.process.stop()
        self._dns.__exit__(None, None, None)


def pss_mib(pid: int) -> float:
    """The process's proportional share of memory, in MiB."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
    raise ValueError(f"no Pss of {pid}")
