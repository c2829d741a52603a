"""The relay as a process of its own, to be killed and started again."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.support.ports import free_port
from tests.support.relay_box import BASE
from tests.support.wait import wait_until

ROOT = Path(__file__).resolve().parents[2]


class RelayEnded(AssertionError):
    """It ended instead of greeting."""


class RelayProcess:
    """`start`, `kill` (SIGKILL) and `stop` (SIGTERM), as often as one likes, over one folder.

    `module` is another entry point: the broken relays of the negative controls. `before` are
    words before the command, such as strace's.
    """

    def __init__(
        self,
        folder: Path,
        settings: Mapping[str, Any] | None = None,
        *,
        module: str = "appliance.relay.main",
        before: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
        certificate: Path | None = None,
        facts: Mapping[str, Any] | None = None,
        resolver: str = "",
    ) -> None:
        self.folder, self.module, self.before = folder, module, list(before)
        self.code = ROOT  # another folder with `appliance` in it is another version
        self.resolver = resolver  # ADDRESS:PORT
        self.environment = dict(environment or {})
        self.port = free_port()
        self.submissions_port = free_port()
        self._run = folder / "run"
        self._process: subprocess.Popen[bytes] | None = None
        (self._run / "rendered").mkdir(parents=True, exist_ok=True)
        rendered: dict[str, Any] = {"revision": 1, "settings": {**BASE, **(settings or {})}}
        rendered["facts"] = {"claimed": True, **(facts or {})}
        if certificate is not None:
            rendered["facts"] |= {"tls_certificate": str(certificate), "tls_key": str(certificate)}
        (self._run / "rendered" / "relay.json").write_text(json.dumps(rendered))

    @property
    def socket_path(self) -> Path:
        return self._run / "relay.sock"

    def start(self) -> None:
        """Start it and wait until it greets. Raises RelayEnded."""
        ours = ["--data", str(self.folder), "--run", str(self._run), "--smtp", str(self.port)]
        ours += ["--submissions", str(self.submissions_port)]
        ours += ["--resolver", self.resolver] if self.resolver else []
        with (self.folder / "output").open("ab") as output:
            self._process = subprocess.Popen(
                [*self.before, sys.executable, "-m", self.module, *ours],
                cwd=self.code,
                env={**os.environ, "PYTHONPATH": str(self.code), **self.environment},
                stdout=output,
                stderr=output,
            )
        wait_until(self._greets, what="a greeting", timeout_seconds=60)

    def kill(self) -> None:
        """As a power cut would, for the process."""
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        """Ask it to end; its exit code."""
        return self._end(signal.SIGTERM)

    def _end(self, number: signal.Signals) -> int:
        process, self._process = self._process, None
        if process is None:
            return 0
        pid = process.pid
        if self.before:  # the relay is the child of what stands before it
            pid = int((self._run / "relay.pid").read_text())
        os.kill(pid, number)
        return process.wait(timeout=60)

    def _greets(self) -> bool:
        if self._process is not None and self._process.poll() is not None:
            code = self._process.returncode
            self._process = None
            raise RelayEnded(f"{code}: {(self.folder / 'output').read_text()[-2000:]}")
        try:
            with socket.create_connection(("127.0.0.1", self.port), 2) as sock:
                sock.settimeout(5)
                return sock.recv(100).startswith(b"220 ")
        except OSError:
            return False
