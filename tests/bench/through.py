"""From the sender to the next hop: accepted, delivered to smtp-sink, gone from the queue."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from tests.bench.postfix import Postfix
from tests.bench.servers import PATH, Ours, free_port

GOALS = {10: (3.0, 2.0), 50: (4.0, 2.0)}
SIGNED_GOAL = (2.0, 1.2)  # ours signed, against Postfix unsigned
MESSAGES = 1_500
LIMIT_SECONDS = 180

Report = Callable[[str, dict[str, list[float]], tuple[float, float] | None], bool]


class Sink:
    """smtp-sink on a port of its own."""

    def __init__(self) -> None:
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Sink:
        self._process = subprocess.Popen(
            ["smtp-sink", "-u", "nobody", f"127.0.0.1:{self.port}", "200"],
            env={**os.environ, "PATH": PATH},
        )
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(timeout=20)


class Log:
    """Counts what a mail log says was delivered."""

    def __init__(self, path: Path, word: bytes) -> None:
        self._path, self._word, self._at, self.count = path, word, 0, 0

    def look(self) -> int:
        """Deliveries so far."""
        if self._path.exists():
            with self._path.open("rb") as file:
                file.seek(self._at)
                text = file.read()
            cut = text.rfind(b"\n") + 1
            self._at += cut
            self.count += text[:cut].count(self._word)
        return self.count


def measure(port: int, log: Log, sessions: int) -> float:
    """Messages a second, from the first connection to the last delivery."""
    before = log.look()
    command = ["smtp-source", "-d", "-s", str(sessions), "-m", str(MESSAGES), "-l", "2048"]
    command += ["-f", "a@src.test", "-t", "b@example.test", f"127.0.0.1:{port}"]
    start = time.monotonic()
    subprocess.run(command, check=True, timeout=600, env={**os.environ, "PATH": PATH})
    while log.look() - before < MESSAGES:
        if time.monotonic() - start > LIMIT_SECONDS:
            raise RuntimeError(f"{log.count - before} of {MESSAGES} arrived in {LIMIT_SECONDS} s")
        time.sleep(0.01)
    return MESSAGES / (time.monotonic() - start)


def run(folder: Path, tree: Path, rounds: int, report: Report) -> bool:
    """Measure and print; whether all floors hold."""
    from tests.bench import signing

    held = True
    with Sink() as sink:
        plain = Ours(folder, sink=sink.port, settings={"signing.enabled": False})
        signed = Ours(folder, sink=sink.port, **signing.given(folder))
        theirs = Postfix(tree, free_port(), sink=sink.port)
        with plain, signed, theirs:
            logs = {
                "plain": Log(plain.log, b"event=delivered"),
                "signed": Log(signed.log, b"event=delivered"),
                "theirs": Log(theirs.log, b"status=sent"),
            }
            for sessions in GOALS:
                rates: dict[str, list[float]] = {name: [] for name in logs}
                for _ in range(rounds):
                    rates["theirs"].append(measure(theirs.port, logs["theirs"], sessions))
                    rates["plain"].append(measure(plain.port, logs["plain"], sessions))
                    rates["signed"].append(measure(signed.port, logs["signed"], sessions))
                pair = {"theirs": rates["theirs"], "ours": rates["plain"]}
                held = report(f" 2 KB x{sessions:<2} through", pair, GOALS[sessions]) and held
                pair = {"theirs": rates["theirs"], "ours": rates["signed"]}
                held = report(f" 2 KB x{sessions:<2} through, signed", pair, SIGNED_GOAL) and held
    return held
