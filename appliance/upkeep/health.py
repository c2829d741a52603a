"""Is this box well enough to keep the slot it runs from?

Looks at what a start from a bad slot would break: units that failed, the data partition, the
pages, the mail ports when mail is on. The looking (`look`) and the judging (`findings`) are
apart, so that every case is tested without a box.
"""

import contextlib
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from appliance.base.finding import Finding, PennypostError, Result
from appliance.base.run import run

DATA = Path("/data")
RENDERED = Path("/run/pennypost/rendered")
DATA_FAILED = Path("/run/pennypost-data-failed")
SYSTEMCTL = "/usr/bin/systemctl"
WEB_PORTS = (80, 443)
MAIL_PORTS = (25, 465, 587)
PAGE = b"GET / HTTP/1.0\r\nHost: localhost\r\n\r\n"
ANSWER_TIMEOUT_SECONDS = 20
SYSTEMCTL_TIMEOUT_SECONDS = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What was found on the box. `answers`: port to whether something sensible came back."""

    failed_units: tuple[str, ...]
    data_is_writable: bool
    mail_is_on: bool
    answers: Mapping[int, bool]


def findings(seen: Seen) -> list[Finding]:
    """What is wrong; empty when all is well."""
    found = []
    if not seen.data_is_writable:
        found.append(_bad("data", "The data partition cannot be written."))
    if seen.failed_units:
        found.append(_bad("units", "Failed: " + ", ".join(sorted(seen.failed_units)) + "."))
    wanted = (*WEB_PORTS, *(MAIL_PORTS if seen.mail_is_on else ()))
    silent = [str(port) for port in wanted if not seen.answers.get(port)]
    if silent:
        found.append(_bad("ports", "No answer on port " + ", ".join(silent) + "."))
    return found


def look() -> Seen:
    """Look at the box we run on."""
    mail = (RENDERED / "mail.on").exists()
    answers = {80: greets(80, b"HTTP/", say=PAGE), 443: connects(443)}
    if mail:
        answers |= {25: greets(25, b"220"), 465: connects(465), 587: greets(587, b"220")}
    return Seen(
        failed_units=failed_units(),
        data_is_writable=is_writable(DATA),
        mail_is_on=mail,
        answers=answers,
    )


def failed_units() -> tuple[str, ...]:
    """The units systemd counts as failed."""
    argv = (SYSTEMCTL, "list-units", "--failed", "--no-legend", "--plain", "--full")
    try:
        shown = run(argv, timeout_seconds=SYSTEMCTL_TIMEOUT_SECONDS).stdout.decode()
    except PennypostError:
        return ("systemd itself",)
    return tuple(line.split()[0] for line in shown.splitlines() if line.split())


def is_writable(data: Path) -> bool:
    """Whether `data` is a mounted file system that takes a file (errors make it read-only)."""
    if DATA_FAILED.exists() or not data.is_mount():
        return False
    probe = data / ".health"
    with contextlib.suppress(OSError):
        fd = os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            os.write(fd, b"x")
            os.fsync(fd)
        finally:
            os.close(fd)
            probe.unlink()
        return True
    return False


def connects(port: int, host: str = "127.0.0.1") -> bool:
    """Whether somebody takes connections at `port`."""
    with contextlib.suppress(OSError), _connection(host, port):
        return True
    return False


def greets(port: int, beginning: bytes, *, say: bytes = b"", host: str = "127.0.0.1") -> bool:
    """Whether the first bytes from `port` (after `say`) are `beginning`."""
    with contextlib.suppress(OSError), _connection(host, port) as connection:
        connection.sendall(say)
        got = b""
        while len(got) < len(beginning) and (more := connection.recv(512)):
            got += more
        return got.startswith(beginning) and b" 502 " not in got[:16]
    return False


def _connection(host: str, port: int) -> socket.socket:
    return socket.create_connection((host, port), ANSWER_TIMEOUT_SECONDS)


def _bad(what: str, say: str) -> Finding:
    return Finding(check=f"health.{what}", result=Result.BAD, say=say)
