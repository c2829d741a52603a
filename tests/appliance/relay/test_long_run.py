"""A relay that works for long grows no fatter, keeps no files open, and loses nothing.

Twenty messages a second, some put off, some returned, some large, while the wall clock jumps an
hour both ways, twice. Ten minutes; PENNYPOST_LONG_MINUTES says otherwise.
"""

from __future__ import annotations

import os
import re
import statistics
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from appliance.base import control
from appliance.base.finding import Unreachable
from tests.support.relay_process import RelayProcess
from tests.support.smtp_client import SmtpClient
from tests.support.smtp_sink import Plan, SmtpSink
from tests.support.wait import wait_until

MINUTES = float(os.environ.get("PENNYPOST_LONG_MINUTES", "10"))
MESSAGES_A_SECOND, CLIENTS = 20, 4
JUMPS = ((0.2, 3600), (0.4, 0), (0.6, -3600), (0.8, 0))  # share of the time, seconds ahead
WARM_SHARE = 0.3  # of the time; then caches are filled
# What the allocator and the database's caches may still move by in so short a time. A day at the
# promised megabyte an hour is what `PENNYPOST_LONG_MINUTES=1440` holds it to.
PLAY_BYTES, BYTES_AN_HOUR = 4 << 20, 1 << 20


@dataclass(frozen=True, slots=True)
class Sample:
    at: float
    memory: int  # bytes of its own
    files: int  # open ones, sockets apart


class Meter:
    """Looks at a process again and again."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.samples: list[Sample] = []

    def look(self) -> Sample:
        text = Path(f"/proc/{self.pid}/smaps_rollup").read_text()
        memory = 1024 * sum(int(n) for n in re.findall(r"^(?:Pss|SwapPss): +(\d+) kB", text, re.M))
        found = Sample(time.monotonic(), memory, self._files())
        self.samples.append(found)
        return found

    def _files(self) -> int:
        names = []
        for link in Path(f"/proc/{self.pid}/fd").iterdir():
            try:
                names.append(str(link.readlink()))
            except FileNotFoundError:
                continue  # closed meanwhile
        return sum(not name.startswith("socket:") for name in names)


def grown(samples: Sequence[Sample]) -> tuple[float, int]:
    """Bytes that it grew by from the warm beginning to the end, and open files likewise."""
    begin, end = samples[0].at, samples[-1].at
    warm = [one for one in samples if one.at >= begin + (end - begin) * WARM_SHARE]
    part = max(1, len(warm) // 4)
    first, last = warm[:part], warm[-part:]
    more = statistics.median(one.memory for one in last)
    more -= statistics.median(one.memory for one in first)
    return more, min(one.files for one in last) - min(one.files for one in first)


class Load:
    """So many messages a second from a few clients, in sessions of ten."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.acknowledged: set[str] = set()
        self.codes: Counter[int] = Counter()
        self._stopping = threading.Event()
        self._threads = [threading.Thread(target=self._work, args=(n,)) for n in range(CLIENTS)]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join(60)

    def _work(self, number: int) -> None:
        count, due = 0, time.monotonic()
        while not self._stopping.is_set():
            with SmtpClient("127.0.0.1", self.port) as client:
                for _ in range(10):
                    due = max(due + CLIENTS / MESSAGES_A_SECOND, time.monotonic() - 1)
                    if self._stopping.wait(max(0.0, due - time.monotonic())):
                        return
                    count += 1
                    self._one(client, f"m{number}-{count}", count)

    def _one(self, client: SmtpClient, name: str, count: int) -> None:
        to = {3: "later", 13: "nobody"}.get(count % 20, "b")
        body = f"Message-ID: <{name}@client.example>\r\n\r\n".encode()
        body += b"y" * 80_000 + b"\r\n" if count % 20 == 7 else b"hello\r\n"
        answer = client.send_message("a@client.example", [f"{to}@example.org"], body)
        self.codes[answer.code] += 1
        if answer.code == 250 and to != "nobody":
            self.acknowledged.add(name)


@dataclass
class Run:
    """What came of it."""

    memory: float
    files: int
    lost: set[str]
    doubled: int


def run(folder: Path, minutes: float, *, broken: str = "none") -> Run:
    ahead = folder / "ahead"
    ahead.write_text("0")
    with SmtpSink() as sink:
        relay = RelayProcess(
            folder,
            {
                "mail.relay_domains": [f"example.org | {sink.address}"],
                "outbound.route_overrides": [f"client.example|{sink.address}"],
                "queue.retry_seconds": [10],
            },
            module="tests.support.broken_relay",
            environment={"BROKEN": broken, "CLOCK_AHEAD": str(ahead)},
        )
        relay.start()
        meter = Meter(int((folder / "run" / "relay.pid").read_text()))
        refused = {"nobody@example.org": "550 5.1.1 no such user"}
        later = {**refused, "later@example.org": "450 4.2.0 come back later"}
        load, begun = Load(relay.port), time.monotonic()
        jumps = list(JUMPS)

        def over() -> bool:
            meter.look()
            share = (time.monotonic() - begun) / (minutes * 60)
            while jumps and share > jumps[0][0]:
                _, seconds = jumps.pop(0)
                new = ahead.with_name("new")
                new.write_text(str(seconds))
                new.rename(ahead)
            sink.plan = Plan(recipients=refused if int(share * 20) % 2 else later)
            return share > 1

        try:
            wait_until(over, what="the time is over", timeout_seconds=minutes * 90, every_seconds=1)
        finally:
            load.stop()
        sink.plan = Plan(recipients=refused)

        def arrived() -> Counter[str]:
            return Counter(
                found[1].decode()
                for one in list(sink.messages)
                if one.mail_from and (found := re.search(rb"Message-ID: <(.*?)@", one.data))
            )

        wait_until(
            lambda: not control.call(relay.socket_path, "status")["queue"]["messages"],
            what="an empty queue",
            ignore=(Unreachable,),
            timeout_seconds=120,
        )
        relay.stop()
        there = arrived()
    memory, files = grown(meter.samples)
    found = Run(memory, files, load.acknowledged - there.keys(), there.total() - len(there))
    reached = meter.samples[-1]
    print(
        f"{minutes:g} minutes: replies {dict(load.codes)}, {len(found.lost)} lost, {found.doubled} "
        f"doubled; memory {reached.memory / 1e6:.1f} MB, grew by {memory / 1e6:+.2f} MB "
        f"({memory / 1e6 / (minutes / 60 * (1 - WARM_SHARE)):+.1f} MB an hour); "
        f"{reached.files} files open, {files:+d}"
    )
    assert set(load.codes) == {250}
    return found


@pytest.mark.soak
@pytest.mark.timeout(MINUTES * 60 * 2 + 600)
def test_a_long_run_costs_no_memory_no_file_and_no_message(tmp_path: Path) -> None:
    found = run(tmp_path, MINUTES)
    assert not found.lost
    assert not found.doubled
    assert found.files <= 0
    assert found.memory < PLAY_BYTES + BYTES_AN_HOUR * MINUTES / 60


@pytest.mark.soak
def test_the_long_run_sees_a_relay_that_leaks(tmp_path: Path) -> None:
    found = run(tmp_path, 1, broken="leaks")
    assert found.files > 100
    assert found.memory > PLAY_BYTES


def test_growth_is_seen_behind_the_noise_of_the_beginning() -> None:
    steady = [Sample(n, 50_000_000 if n > 20 else 10_000_000, 9 + n % 3) for n in range(100)]
    assert grown(steady) == (0, 0)
    fatter = [Sample(n, 50_000_000 + n * 100_000, 9 + n // 10) for n in range(100)]
    memory, files = grown(fatter)
    assert memory > PLAY_BYTES
    assert files > 0
