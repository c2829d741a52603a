"""QEMU's machine protocol (QMP), as far as the tests speak it."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

from tests.support.wait import wait_until


class QmpError(AssertionError):
    """QEMU refused a command, or is gone."""


class Qmp:
    """A connection to a `-qmp unix:PATH,server=on,wait=off` socket.

    Events are skipped: the tests poll states, which survives a lost event.
    """

    def __init__(self, path: Path, *, timeout_seconds: float = 120.0) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(timeout_seconds)
        self._socket.connect(str(path))
        self._lines = self._socket.makefile("rb")
        self._lines.readline()  # the greeting
        self.command("qmp_capabilities")

    def close(self) -> None:
        self._lines.close()
        self._socket.close()

    def command(self, name: str, **arguments: Any) -> Any:
        """Run one command; underscores in argument names stand for dashes."""
        plain = {key.replace("_", "-"): value for key, value in arguments.items()}
        request = {"execute": name, "arguments": plain}
        try:
            self._socket.sendall(json.dumps(request).encode() + b"\n")
            while line := self._lines.readline():
                answer = json.loads(line)
                if "error" in answer:
                    raise QmpError(f"{name}: {answer['error']['desc']}")
                if "return" in answer:
                    return answer["return"]
        except OSError as error:
            raise QmpError(f"{name}: {error}") from error
        raise QmpError(f"{name}: QEMU closed the connection")

    def monitor(self, line: str) -> str:
        """A human monitor command (`info usernet` and the like)."""
        return str(self.command("human-monitor-command", **{"command-line": line}))

    def status(self) -> str:
        return str(self.command("query-status")["status"])

    def freeze(self, path: Path, *, timeout_seconds: float = 300.0) -> None:
        """Stop the machine and write its whole state to `path`.

        `exec:cat` and not `file:`, so that QEMU 7.2 (Debian 12) can do it too.
        """
        self.command("stop")
        self.command("migrate", uri=f"exec:cat > '{path}'")

        def done() -> bool:
            state = self.command("query-migrate").get("status")
            if state in ("failed", "cancelled"):
                raise QmpError(f"the machine could not be frozen: {state}")
            return bool(state == "completed")

        wait_until(done, what="the machine frozen", timeout_seconds=timeout_seconds)
