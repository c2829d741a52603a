"""Root commands on a machine in the tests, over its second serial line.

There is no way in built into the image, and the tests change nothing on its disk.
But who owns a (virtual) machine owns what runs on it: systemd takes extra units
from the firmware's SMBIOS strings (systemd.system-credentials(7)), and the
emulator hands it one, a root shell on the second serial port.
"""

from __future__ import annotations

import base64
import re
import secrets
import socket
import time
from dataclasses import dataclass
from pathlib import Path

from tests.support.wait import TimedOut

_SHELL = """\
[Unit]
Description=Root shell of the test bench
DefaultDependencies=no
Conflicts=shutdown.target
Before=shutdown.target
[Service]
Type=idle
Environment=TERM=dumb HOME=/root
ExecStart=/bin/bash --norc --noprofile -i
Restart=always
RestartSec=0
StandardInput=tty
StandardOutput=tty
StandardError=tty
TTYPath=/dev/{terminal}
TTYReset=yes
TTYVHangup=yes
IgnoreSIGPIPE=no
SendSIGHUP=yes
"""
_WANTED = "[Unit]\nWants=bench-console.service\n"


def root_console_argv(terminal: str = "ttyS1") -> list[str]:
    """QEMU arguments that make systemd start a root shell on `terminal`."""
    units = {
        "systemd.extra-unit.bench-console.service": _SHELL.format(terminal=terminal),
        "systemd.unit-dropin.sysinit.target": _WANTED,
    }
    values = [
        f"value=io.systemd.credential.binary:{name}={base64.b64encode(text.encode()).decode()}"
        for name, text in units.items()
    ]
    return ["-smbios", ",".join(["type=11", *values])]


class CommandFailed(AssertionError):
    """A command on the box ended with another code than 0."""


@dataclass(frozen=True, slots=True)
class Output:
    code: int
    text: str


class Console:
    """A root shell behind a unix socket. One command at a time."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(str(path))
        self._seen = b""
        self._ready = False

    def close(self) -> None:
        self._socket.close()

    def wait_until_ready(self, *, timeout_seconds: float = 300.0) -> None:
        """Knock until the shell answers; it starts early in the boot."""
        end = time.monotonic() + timeout_seconds
        while not self._ready:
            word = secrets.token_hex(8)
            # The echo of the line carries the word in two halves, the answer in one.
            line = f"stty -echo cols 250; PS1=; unset PROMPT_COMMAND; echo {word[:8]}''{word[8:]}\n"
            self._socket.sendall(line.encode())
            try:
                self._read_until(word.encode(), time.monotonic() + 3.0)
                self._ready = True
            except TimedOut:
                if time.monotonic() > end:
                    raise TimedOut(
                        f"no shell on the second serial line; it said {self._seen[-300:]!r}"
                    ) from None

    def ask(self, command: str, *, timeout_seconds: float = 120.0) -> Output:
        """Run a shell command as root; its code and what it printed (both streams)."""
        self.wait_until_ready()
        word = secrets.token_hex(8)
        packed = base64.b64encode(command.encode()).decode()
        if len(packed) > 3500:
            raise ValueError("this command is too long for a terminal line")
        self._seen = b""
        self._socket.sendall(
            f'echo {word[:8]}""{word[8:]}; sh -c "$(echo {packed} | base64 -d)" 2>&1 </dev/null; '
            f'printf "\\n{word[:8]}%s:%d:\\n" {word[8:]} $?\n'.encode()
        )
        end = time.monotonic() + timeout_seconds
        try:
            self._read_until(word.encode() + b"\r\n", end)
            text, code = self._read_match(rb"\r?\n" + word.encode() + rb":(\d+):", end)
        except TimedOut as error:
            self._ready = False
            raise TimedOut(f"{command!r} did not end: {error}") from None
        return Output(code=code, text=text.decode("utf-8", "replace").replace("\r", "").strip("\n"))

    def run(self, command: str, *, timeout_seconds: float = 120.0) -> str:
        """Like `ask`, for commands that must work; returns what was printed."""
        output = self.ask(command, timeout_seconds=timeout_seconds)
        if output.code != 0:
            raise CommandFailed(f"{command!r} ended with {output.code}: {output.text}")
        return output.text

    def _read_match(self, pattern: bytes, end: float) -> tuple[bytes, int]:
        while True:
            if found := re.search(pattern, self._seen):
                text = self._seen[: found.start()]
                self._seen = self._seen[found.end() :]
                return text, int(found[1])
            self._receive(end)

    def _read_until(self, mark: bytes, end: float) -> None:
        while mark not in self._seen:
            self._receive(end)
        self._seen = self._seen.split(mark, 1)[1]

    def _receive(self, end: float) -> None:
        left = end - time.monotonic()
        if left <= 0:
            raise TimedOut(f"seen so far: {self._seen[-500:]!r}")
        self._socket.settimeout(left)
        try:
            got = self._socket.recv(65536)
        except TimeoutError:
            return
        if not got:
            raise ConnectionError("the machine is gone")
        self._seen += got
