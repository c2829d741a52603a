"""How fast mail is accepted, beside Postfix, in one run on one disk.

    make bench                             all cells, three rounds
    scripts/bench --rounds 1 --sizes 2     a quick look

The client is smtp-source, which shares the cores, for both. Servers take turns; the median of
the rounds counts. Trust the ratio, not the rate. Floors are those of the project's goals.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from tests.bench import postfix
from tests.support.relay_process import RelayProcess, _free_port

SIZES = {2: 2_048, 20: 20_480, 1024: 1_048_576}
SESSIONS = (1, 10, 50)
FLOORS = {  # (KB, sessions, many messages a session): ratio to Postfix
    (2, 50, True): 2.0,
    (2, 50, False): 1.5,
    (2, 10, True): 1.5,
    (2, 1, True): 1.0,
    (20, 50, True): 1.5,
    (1024, 10, True): 0.9,
    (1024, 50, True): 0.9,
}


@dataclass(frozen=True)
class Cell:
    """One measurement: message size, sessions at a time, one or many messages a session."""

    kilobytes: int
    sessions: int
    many: bool

    @property
    def messages(self) -> int:
        full = {2: 2_000, 20: 1_500, 1024: 150}[self.kilobytes]
        return full if self.sessions > 1 else {2: 400, 20: 300, 1024: 50}[self.kilobytes]

    def __str__(self) -> str:
        size = f"{self.kilobytes} KB" if self.kilobytes < 1024 else "1 MB"
        kind = "many a session" if self.many else "one a session"
        return f"{size:>5} x{self.sessions:<2} {kind:<14}"


def measure(cell: Cell, port: int) -> float:
    """Messages a second."""
    command = [
        "smtp-source", "-s", str(cell.sessions), "-m", str(cell.messages),
        "-l", str(SIZES[cell.kilobytes]), "-f", "a@src.test", "-t", "b@example.test",
        *(["-d"] if cell.many else []), f"127.0.0.1:{port}",
    ]  # fmt: skip
    start = time.monotonic()
    subprocess.run(command, check=True, timeout=600, env={**os.environ, "PATH": PATH})
    return cell.messages / (time.monotonic() - start)


PATH = "/usr/sbin:/usr/bin:/bin"


def run(cells: list[Cell], rounds: int, folder: Path) -> bool:
    """Measure and print; whether all floors hold."""
    settings = {
        "mail.relay_domains": ["example.test | 127.0.0.1:9"],
        "relay.connections_per_address": 1_000,
    }
    ours = RelayProcess(folder / "pennypost", settings, module="tests.bench.accept_only")
    theirs = postfix.Postfix(folder / "postfix", _free_port())
    held = True
    ours.start()
    theirs.start()
    try:
        for cell in cells:
            rates: dict[str, list[float]] = {"ours": [], "theirs": []}
            for _ in range(rounds):
                rates["theirs"].append(measure(cell, theirs.port))
                rates["ours"].append(measure(cell, ours.port))
            held = report(cell, rates) and held
    finally:
        ours.stop()
        theirs.stop()
    return held


def report(cell: Cell, rates: dict[str, list[float]]) -> bool:
    """One line; whether the floor, if there is one, holds."""
    ours, theirs = statistics.median(rates["ours"]), statistics.median(rates["theirs"])
    ratio = ours / theirs
    floor = FLOORS.get((cell.kilobytes, cell.sessions, cell.many))
    said = "" if floor is None else f"floor {floor}: {'held' if ratio >= floor else 'MISSED'}"
    print(f"{cell}  Postfix {theirs:6.0f}/s  Pennypost {ours:6.0f}/s  x{ratio:4.1f}  {said}")
    sys.stdout.flush()
    return floor is None or ratio >= floor


def main() -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--sizes", type=int, nargs="+", choices=SIZES, default=list(SIZES))
    parser.add_argument("--sessions", type=int, nargs="+", default=list(SESSIONS))
    parser.add_argument("--gate", action="store_true", help="fail when a floor is missed")
    arguments = parser.parse_args()
    if why := postfix.usable():
        print(f"bench: {why}; nothing to measure beside", file=sys.stderr)
        return 1
    cells = [
        Cell(size, sessions, many)
        for size in arguments.sizes
        for sessions in arguments.sessions
        for many in (True, False)
    ]
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    print(f"{os.cpu_count()} cores, load {load}, {arguments.rounds} rounds, median")
    Path("build").mkdir(exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="bench-", dir="build")).resolve()
    folder.chmod(0o755)
    try:
        held = run(cells, arguments.rounds, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return 0 if held or not arguments.gate else 1


if __name__ == "__main__":
    sys.exit(main())
