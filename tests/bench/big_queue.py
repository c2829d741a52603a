"""The queue with 100,000 messages: start, pages, search, orders, and accepting beside it.

    scripts/bench --queue                   all of it, about three minutes
    scripts/bench --queue --messages 10000  a quick look

The store is made by the product's own `put`. Then a relay (delivery off, so that the queue stays)
is started on it and asked through its control socket and through the pages.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

from appliance.base.clock import SystemClock
from appliance.base.control import call
from appliance.mail.address import parse
from appliance.mail.envelope import Envelope, Recipient
from appliance.spool.model import NewMessage, Outcome, State
from appliance.spool.store import Spool
from tests.bench.servers import PATH, Ours, pss_mib
from tests.support.smtp_client import SmtpClient
from tests.support.web_box import WebBox

BODY = b"Subject: a letter in a long queue\r\n\r\n" + b"0123456789abcdef" * 126 + b"\r\n"
BATCH = 500
ROUNDS = 11
START_SECONDS, PAGE_SECONDS, ORDER_SECONDS, RATIO = 1.0, 1.0, 30.0, 0.95
LETTER = b"Subject: an honest letter\r\n\r\nhello\r\n"


def letter(number: int, clock: SystemClock) -> NewMessage:
    """One of many: 500 senders, 300 domains."""
    to = parse(f"person{number}@office{number % 300}.example.test")
    return NewMessage(
        queue_id=f"BIG{number:09d}",
        envelope=Envelope(parse(f"anna{number % 500}@example.com"), (Recipient(to),)),
        received_at=clock.now() - timedelta(seconds=number % 86_400),
        size=len(BODY),
        trace=b"Received: from a bench\r\n",
        body=BODY,
        client="192.0.2.7",
        helo="client.example",
    )


async def fill(folder: Path, messages: int) -> None:
    """Put them in, each tried once and put off."""
    clock = SystemClock()
    spool = await Spool.open(folder, clock=clock)
    later = clock.now() + timedelta(days=1)
    for start in range(0, messages, BATCH):
        queued = await spool.put(*[letter(n, clock) for n in range(start, start + BATCH)])
        tried = (
            spool.record(
                message,
                [
                    Outcome(
                        recipient_id=message.recipients[0].id,
                        state=State.DEFERRED,
                        say="The next mail server is busy or going down.",
                        reply="421 4.3.2 Service not available",
                        host="mx.example.test[192.0.2.1]:25",
                        route="direct",
                        next_attempt_at=later,
                    )
                ],
            )
            for message in queued
        )
        await asyncio.gather(*tried)
    await spool.close()


class Bench:
    """Prints figures; remembers whether all of them hold."""

    def __init__(self) -> None:
        self.held = True

    def report(self, what: str, value: float, limit: float, unit: str = "s") -> None:
        """One line. A ratio must be at least its limit, a time at most."""
        held = value >= limit if unit == "x" else value <= limit
        self.held = self.held and held
        print(f"{what:<44} {value:8.2f} {unit}  limit {limit}: {'reached' if held else 'MISSED'}")
        sys.stdout.flush()

    def time(self, what: str, limit: float, work: Callable[[], Any], rounds: int = 3) -> Any:
        """The median of some rounds; what the last one returned."""
        took, found = [], None
        for _ in range(rounds):
            began = time.monotonic()
            found = work()
            took.append(time.monotonic() - began)
        self.report(what, statistics.median(took), limit)
        return found


def rate(port: int, messages: int = 2_000) -> float:
    """2 KB messages a second, 50 sessions, many a session."""
    command = ["smtp-source", "-d", "-s", "50", "-m", str(messages), "-l", "2048",
               "-f", "a@src.test", "-t", "b@example.test", f"127.0.0.1:{port}"]  # fmt: skip
    began = time.monotonic()
    subprocess.run(command, check=True, timeout=600, env={**os.environ, "PATH": PATH})
    return messages / (time.monotonic() - began)


def cpu_seconds(pid: int) -> float:
    """Time that a process has used, in all its threads, in the kernel too."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def accepting(bench: Bench, full: Ours, empty: Ours) -> None:
    """The two take turns, each round in the other order; the median of the rounds' ratios."""
    if not shutil.which("smtp-source", path=PATH):
        print("smtp-source is not installed: accepting is not measured")
        return
    rates: dict[str, list[float]] = {"full": [], "empty": []}
    spent = {"full": 0.0, "empty": 0.0}
    for number in range(ROUNDS):
        turns = [("empty", empty), ("full", full)]
        for name, server in turns if number % 2 else turns[::-1]:
            before = cpu_seconds(server.pid)
            rates[name].append(rate(server.port))
            spent[name] += cpu_seconds(server.pid) - before
    ratios = [a / b for a, b in zip(rates["full"], rates["empty"], strict=True)]
    middle = {name: statistics.median(found) for name, found in rates.items()}
    print(
        f"accepts: empty {middle['empty']:.0f}/s, full {middle['full']:.0f}/s;"
        f" ratios {min(ratios):.2f} to {max(ratios):.2f}"
    )
    # Not disturbed by who else uses the machine
    print(f"the relay's own time: empty {spent['empty']:.2f} s, full {spent['full']:.2f} s")
    bench.report("accepting, full to empty", statistics.median(ratios), RATIO, "x")


def start(bench: Bench, server: Ours, empty: Ours) -> None:
    """Start to the first 220, beside that of an empty queue (the interpreter's own time)."""
    took: dict[str, list[float]] = {"full": [], "empty": []}
    for _ in range(3):
        for name, each in (("empty", empty), ("full", server)):
            began = time.monotonic()
            each.process.start()
            took[name].append(time.monotonic() - began)
            each.process.stop()
    full, none = (statistics.median(took[name]) for name in ("full", "empty"))
    print(f"start to first 220: empty {none:.2f} s, full {full:.2f} s (warm, median of 3)")
    bench.report("start to first 220, more than empty", full - none, START_SECONDS)


def pages(bench: Bench, folder: Path, socket: Path) -> None:
    """The queue's pages over the control socket of the relay that runs."""
    with WebBox(folder) as box:
        visitor = box.set_up()
        box.stop("relay")
        (box.place.run / "relay.sock").symlink_to(socket)
        for name, address in (
            ("newest first", "/queue/"),
            ("largest first", "/queue/?sort=-size"),
            ("next try first", "/queue/?sort=next_attempt_at"),
            ("held only", "/queue/?state=held"),
            ("search", "/queue/?search=anna17@"),
            ("search, nothing found", "/queue/?search=nobody-at-all"),
            ("a letter", "/queue/letter/BIG000000777"),
            ("home", "/"),
            ("confirm deleting all", "/queue/delete?which=all"),
            ("where is my mail?", "/trace/?who=anna17@"),
        ):
            page = bench.time(f"page: {name}", PAGE_SECONDS, partial(visitor.get, address))
            if page.status_code != 200:
                raise RuntimeError(f"{address}: {page.status_code}")


class Honest:
    """A client that sends a letter again and again, and how long it waited at most."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._stop = threading.Event()
        self.worst = 0.0
        self.sent = 0
        self._thread = threading.Thread(target=self._work)

    def __enter__(self) -> Honest:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(60)

    def _work(self) -> None:
        with SmtpClient("127.0.0.1", self._port) as client:
            client.hello()
            while not self._stop.is_set():
                began = time.monotonic()
                client.send_message("a@src.test", ["b@example.test"], LETTER)
                self.worst = max(self.worst, time.monotonic() - began)
                self.sent += 1
                self._stop.wait(0.02)


def orders(bench: Bench, server: Ours, messages: int) -> None:
    """Hold, release, send, delete: all of them, while somebody sends."""
    socket = server.process.socket_path

    def ask(verb: str, **args: Any) -> Any:
        return call(socket, verb, args, timeout_seconds=300)

    with Honest(server.port) as honest:
        for verb in ("queue.hold", "queue.release", "queue.send"):
            done = bench.time(f"{verb} all", ORDER_SECONDS, partial(ask, verb, all=True), 1)
            if done["count"] < messages:
                raise RuntimeError(f"{verb}: {done}")
        bench.time(
            "delete, matching", ORDER_SECONDS, lambda: ask("queue.delete", search="anna17@"), 1
        )
        bench.time("delete --all", ORDER_SECONDS, lambda: ask("queue.delete", all=True), 1)
    print(f"meanwhile an honest client sent {honest.sent} and waited {honest.worst:.2f} s at most")
    books = ask("ledger.reconcile")
    print(books["say"])
    bench.held = bench.held and bool(books["ok"])


def run(folder: Path, messages: int, *, quick: bool) -> bool:
    """All of it."""
    bench = Bench()
    full = Ours(folder, module="tests.bench.accept_only", sink=9)
    empty = Ours(folder, module="tests.bench.accept_only", sink=10)
    began = time.monotonic()
    asyncio.run(fill(full.folder / "spool", messages))
    print(f"{messages} x {len(BODY)} octets put and tried once in {time.monotonic() - began:.0f} s")
    start(bench, full, empty)
    with full, empty:
        socket = full.process.socket_path

        def ask(verb: str, **args: Any) -> Any:
            return call(socket, verb, args, timeout_seconds=300)

        print(f"memory (PSS): empty {pss_mib(empty.pid):.0f} MiB, full {pss_mib(full.pid):.0f} MiB")
        bench.time("queue.list, first 100", PAGE_SECONDS, lambda: ask("queue.list", limit=100))
        bench.time("queue.list, search", PAGE_SECONDS, lambda: ask("queue.list", search="anna17@"))
        bench.time("status", PAGE_SECONDS, lambda: ask("status"))
        bench.time("trace by address", PAGE_SECONDS, lambda: ask("trace", search="person777@"))
        bench.time("ledger.reconcile", ORDER_SECONDS, lambda: ask("ledger.reconcile"))
        if not quick:
            pages(bench, folder / "web", socket)
        accepting(bench, full, empty)
        orders(bench, full, messages)
        print(f"memory (PSS) afterwards: {pss_mib(full.pid):.0f} MiB")
    return bench.held


def main() -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--messages", type=int, default=100_000)
    parser.add_argument("--without-pages", action="store_true")
    parser.add_argument("--gate", action="store_true", help="fail when a limit is missed")
    arguments = parser.parse_args()
    print(f"{os.cpu_count()} cores, load {', '.join(f'{v:.1f}' for v in os.getloadavg())}")
    Path("build").mkdir(exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="bench-", dir="build")).resolve()
    try:
        held = run(folder, arguments.messages, quick=arguments.without_pages)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return 0 if held or not arguments.gate else 1


if __name__ == "__main__":
    sys.exit(main())
