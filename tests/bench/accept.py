"""How fast mail is accepted, and goes through, beside Debian 13's Postfix, in one run on one disk.

    make bench                                     all of it, five rounds
    scripts/bench --rounds 1 --what accept --sizes 2     a quick look

The client is smtp-source, which shares the cores, for both. Servers take turns; the median of
the rounds counts. Trust the ratio, not the rate. Goals and floors are the project's.

    accept      messages are taken and held: accepting alone
    slow        the same with 5 ms added to each flush (strace), many messages a session
    through     taken, delivered to smtp-sink and gone from the queue; then the same signed
    memory      PSS of the relay: idle, with sessions, while taking large messages
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

from tests.bench import memory, postfix, postfix_tree, through
from tests.bench.servers import PATH, SLOW, Ours, Server, free_port

SIZES = {2: 2_048, 20: 20_480, 1024: 1_048_576}
SESSIONS = (1, 10, 50)
GOALS = {  # (KB, sessions, many messages a session): goal and floor as ratios to Postfix
    (2, 50, True): (4.0, 2.0),
    (2, 50, False): (2.5, 1.5),
    (2, 10, True): (2.5, 1.5),
    (2, 1, True): (1.2, 1.0),
    (20, 50, True): (2.5, 1.5),
    (1024, 10, True): (1.25, 0.9),
    (1024, 50, True): (1.25, 0.9),
}
SLOW_GOALS = {(2, 1, True): (1.0, 0.9), (2, 10, True): (0.9, 0.6), (2, 50, True): (1.8, 1.3)}


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


def run(cells: list[Cell], rounds: int, servers: tuple[Server, Server], *, slow: bool) -> bool:
    """Measure and print; whether all floors hold."""
    ours, theirs = servers
    goals, held = (SLOW_GOALS if slow else GOALS), True
    for cell in cells:
        rates: dict[str, list[float]] = {"ours": [], "theirs": []}
        for _ in range(rounds):
            rates["theirs"].append(measure(cell, theirs.port))
            rates["ours"].append(measure(cell, ours.port))
        goal = goals.get((cell.kilobytes, cell.sessions, cell.many))
        held = report(f"{'5 ms ' if slow else ''}{cell}", rates, goal) and held
    return held


def report(what: str, rates: dict[str, list[float]], goal: tuple[float, float] | None) -> bool:
    """One line; whether the floor, if there is one, holds."""
    ours, theirs = statistics.median(rates["ours"]), statistics.median(rates["theirs"])
    ratio = ours / theirs
    said = ""
    if goal is not None:
        reached = "reached" if ratio >= goal[0] else "floor" if ratio >= goal[1] else "MISSED"
        said = f"goal {goal[0]} floor {goal[1]}: {reached}"
    print(f"{what:<36} Postfix {theirs:6.0f}/s  Pennypost {ours:6.0f}/s  x{ratio:5.2f}  {said}")
    sys.stdout.flush()
    return goal is None or ratio >= goal[1]


def main() -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    everything = ("accept", "slow", "through", "memory")
    parser.add_argument("--what", nargs="+", choices=everything, default=list(everything))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--sizes", type=int, nargs="+", choices=SIZES, default=list(SIZES))
    parser.add_argument("--sessions", type=int, nargs="+", default=list(SESSIONS))
    parser.add_argument("--gate", action="store_true", help="fail when a floor is missed")
    arguments = parser.parse_args()
    if why := postfix.usable():
        print(f"bench: {why}; nothing to measure beside", file=sys.stderr)
        return 1
    tree = postfix_tree.make()
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    print(
        f"{os.cpu_count()} cores, load {load}, {arguments.rounds} rounds, median, "
        f"Postfix {postfix_tree.version(tree)}",
        flush=True,
    )
    folder = Path(tempfile.mkdtemp(prefix="bench-", dir="build")).resolve()
    folder.chmod(0o755)
    try:
        held = True
        for what in arguments.what:  # all of it, whatever the first part says
            held = measure_one(what, arguments, folder / what, tree) and held
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return 0 if held or not arguments.gate else 1


def measure_one(what: str, arguments: argparse.Namespace, folder: Path, tree: Path) -> bool:
    """One part of the run; whether its floors hold."""
    folder.mkdir()
    if what == "memory":
        return memory.run(folder)
    if what == "through":
        return through.run(folder, tree, arguments.rounds, report)
    before = SLOW if what == "slow" else ()
    ours = Ours(folder, module="tests.bench.accept_only", before=before)
    theirs = postfix.Postfix(tree, free_port(), before=before)
    sizes = [2] if what == "slow" else arguments.sizes
    cells = [
        Cell(size, sessions, many)
        for size in sizes
        for sessions in arguments.sessions
        for many in ((True,) if what == "slow" else (True, False))
    ]
    with ours, theirs:
        return run(cells, arguments.rounds, (ours, theirs), slow=what == "slow")


if __name__ == "__main__":
    sys.exit(main())
