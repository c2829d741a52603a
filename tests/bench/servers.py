"""What the measurements share: our relay as a server to be measured, and its peer's form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from tests.support.relay_process import RelayProcess, _free_port

PATH = "/usr/sbin:/usr/bin:/bin"
# Stops only at flushes, so that nothing else is slowed down.
SLOW = (
    "strace", "-f", "-qq", "--seccomp-bpf", "-o", "/dev/null", "-e", "trace=fsync,fdatasync",
    "-e", "inject=fsync,fdatasync:delay_enter=5000",
)  # fmt: skip
free_port = _free_port


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
        self.process = RelayProcess(
            self.folder,
            {
                "mail.relay_domains": [f"example.test | 127.0.0.1:{sink}"],
                "relay.connections_per_address": 1_000,
                **(settings or {}),
            },
            module=module,
            before=before,
            facts=facts,
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
        self.process.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.process.stop()


def pss_mib(pid: int) -> float:
    """The process's proportional share of memory, in MiB."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
    raise ValueError(f"no Pss of {pid}")
