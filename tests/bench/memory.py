"""How much memory the relay holds: idle, busy with sessions, and while taking large messages."""

from __future__ import annotations

import os
import socket
import subprocess
import threading
from pathlib import Path

from tests.bench.servers import PATH, Ours, pss_mib

IDLE_MIB, BUSY_MIB, LARGE_MORE_MIB = 60, 80, 32
LARGE_BYTES, LARGE_SESSIONS = 25 * 1024 * 1024, 10


def run(folder: Path) -> bool:
    """Measure and print; whether the goals are reached."""
    with Ours(folder, module="tests.bench.accept_only") as ours:
        idle = pss_mib(ours.pid)
        guests = [socket.create_connection(("127.0.0.1", ours.port)) for _ in range(50)]
        busy = _highest(ours, 2_048, 4_000, 50)
        for guest in guests:
            guest.close()
    with Ours(folder / "large", module="tests.bench.accept_only") as ours:
        before = pss_mib(ours.pid)
        large = _highest(ours, LARGE_BYTES, LARGE_SESSIONS, LARGE_SESSIONS) - before
    figures = (("idle", idle, IDLE_MIB), ("50 sessions", busy, BUSY_MIB))
    figures += ((f"{LARGE_SESSIONS} x 25 MB, above idle", large, LARGE_MORE_MIB),)
    for what, found, goal in figures:
        said = "reached" if found <= goal else "MISSED"
        print(f"memory, {what:<24} {found:6.1f} MiB  goal {goal}: {said}", flush=True)
    return all(found <= goal for _, found, goal in figures)


def _highest(ours: Ours, size: int, messages: int, sessions: int) -> float:
    """The highest PSS seen while the load runs, in MiB."""
    command = ["smtp-source", "-d", "-s", str(sessions), "-m", str(messages), "-l", str(size)]
    command += ["-f", "a@src.test", "-t", "b@example.test", f"127.0.0.1:{ours.port}"]
    load = subprocess.Popen(command, env={**os.environ, "PATH": PATH})
    highest, pause = 0.0, threading.Event()
    while load.poll() is None:
        highest = max(highest, pss_mib(ours.pid))
        pause.wait(0.05)
    if load.returncode:
        raise RuntimeError(f"smtp-source ended with {load.returncode}")
    return highest
