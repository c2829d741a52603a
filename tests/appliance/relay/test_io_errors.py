"""A file call that fails (EIO, ENOSPC) costs no message: 451 or 452, no 250 for what is not there.

strace makes the calls fail, the Nth of a kind, in a relay that runs: at the start, and while it
accepts, tries again and removes. What was refused must not be delivered later either.
"""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from appliance.base import control
from appliance.base.finding import Unreachable
from tests.support.relay_process import RelayEnded, RelayProcess
from tests.support.smtp_client import SmtpClient
from tests.support.smtp_sink import Plan, SmtpSink
from tests.support.wait import TimedOut, wait_until

ERRORS = ("EIO", "ENOSPC")
# The first two hundred: as many of a kind as one thread gets to in three rounds.
FIRST = {"pwrite64": 170, "fdatasync": 18, "fsync": 3, "openat": 3, "rename": 3, "unlink": 3}
RECOVERS_SECONDS = 5.0
ROUNDS = 3


class Failing:
    """A relay whose file calls can be made to fail, and what was promised."""

    def __init__(self, folder: Path, sink: SmtpSink, broken: str) -> None:
        settings = {
            "mail.relay_domains": [f"example.org | {sink.address}"],
            "queue.retry_seconds": [1],
        }
        self.sink, self.folder = sink, folder
        self.relay = RelayProcess(
            folder, settings, module="tests.support.broken_relay", environment={"BROKEN": broken}
        )
        self.acknowledged: set[str] = set()
        self.refused: set[str] = set()
        self.codes: Counter[int] = Counter()
        self.hit = self.missed = 0

    def send(self, name: str, size: int) -> int:
        number = f"m{len(self.acknowledged) + len(self.refused)}"
        body = f"Message-ID: <{number}@client.example>\r\n\r\n".encode() + b"x" * size + b"\r\n"
        with SmtpClient("127.0.0.1", self.relay.port, timeout_seconds=30) as client:
            answer = client.send_message("a@client.example", [f"{name}@example.org"], body)
        (self.acknowledged if answer.code == 250 else self.refused).add(number)
        self.codes[answer.code] += 1
        return answer.code

    @contextmanager
    def failing(self, kind: str, number: int, error: str) -> Iterator[Path]:
        """While inside, the `number`th call of `kind` of each thread fails."""
        log = self.folder / "injected"
        pid = (self.folder / "run" / "relay.pid").read_text().strip()
        log.unlink(missing_ok=True)
        strace = subprocess.Popen(
            ["strace", "-f", "-p", pid, "-e", f"trace={kind}", "-o", str(log),
             "-e", f"inject={kind}:error={error}:when={number}"],
            stderr=subprocess.PIPE,
        )  # fmt: skip
        assert strace.stderr is not None
        assert b"attached" in strace.stderr.readline()
        try:
            yield log
        finally:
            strace.send_signal(signal.SIGINT)
            strace.communicate(timeout=20)

    def at(self, kind: str, number: int, error: str) -> None:
        self.sink.plan = Plan(recipients={"later@example.org": "450 4.2.0 come back later"})
        with self.failing(kind, number, error) as log:
            for _ in range(ROUNDS):
                self.send("b", 10)
                self.send("later", 10)
                self.send("b", 80_000)
                self.sink.plan = Plan()
                if "INJECTED" in log.read_text():
                    break
            hit = "INJECTED" in log.read_text()
            self.hit, self.missed = self.hit + hit, self.missed + (not hit)
        begun = time.monotonic()
        wait_until(
            lambda: self.send("b", 10) == 250 and self.send("b", 80_000) == 250,
            what=f"mail is taken again after {error} at {kind} {number}",
            timeout_seconds=RECOVERS_SECONDS * 2,
        )
        assert time.monotonic() - begun < RECOVERS_SECONDS

    def judge(self, patience_seconds: float) -> None:
        """After a kill and a start: all that was acknowledged, once; nothing that was refused."""
        wait_until(
            lambda: self.acknowledged <= self.arrived().keys(),
            what="all that was acknowledged",
            timeout_seconds=patience_seconds,
        )
        wait_until(lambda: not self.waiting(), what="an empty queue")
        self.relay.kill()
        self.relay.start()
        arrived = self.arrived()
        assert not self.refused & arrived.keys()
        assert set(self.codes) <= {250, 451, 452}
        doubled = sum(arrived.values()) - len(arrived)
        print(
            f"{self.hit} calls failed ({self.missed} not reached), {len(self.acknowledged)} "
            f"acknowledged, 0 lost, {doubled} doubled; replies {dict(self.codes)}"
        )
        wait_until(  # it greets before it answers there
            lambda: not self.waiting(), what="an empty queue", ignore=(Unreachable,)
        )
        assert not doubled

    def waiting(self) -> int:
        status = control.call(self.relay.socket_path, "status")
        return int(status["queue"]["messages"])

    def arrived(self) -> Counter[str]:
        return Counter(
            found[1].decode()
            for one in list(self.sink.messages)
            if (found := re.search(rb"Message-ID: <(.*?)@", one.data))
        )


def sweep(
    folder: Path,
    cases: list[tuple[str, int, str]],
    *,
    broken: str = "none",
    patience_seconds: float = 60,
) -> Failing:
    if not shutil.which("strace"):
        pytest.fail("strace is needed: apt-get install strace")
    with SmtpSink() as sink:
        failing = Failing(folder, sink, broken)
        failing.relay.start()
        try:
            for case in cases:
                failing.at(*case)
            failing.judge(patience_seconds)
        finally:
            failing.relay.stop()
    return failing


@pytest.mark.full
@pytest.mark.timeout(900)
@pytest.mark.parametrize("error", ERRORS)
def test_no_failing_call_of_the_first_two_hundred_costs_a_message(
    tmp_path: Path, error: str
) -> None:
    cases = [(kind, n, error) for kind in FIRST for n in range(1, FIRST[kind] + 1)]
    failing = sweep(tmp_path, cases)
    assert failing.hit > len(cases) * 0.9
    assert failing.codes[451] + failing.codes[452] > len(cases) // 2


@pytest.mark.full
def test_the_sweep_sees_a_relay_that_says_250_whatever_fails(tmp_path: Path) -> None:
    with pytest.raises(TimedOut):
        sweep(tmp_path, [("fdatasync", 1, "EIO")], broken="early-250", patience_seconds=4)


def start_with(folder: Path, kind: str, number: int, error: str) -> str:
    """Start where one call fails; "runs" or "ended". It starts clean after that."""
    relay = RelayProcess(folder, {"queue.retry_seconds": [1]})
    relay.before = [
        "strace", "-f", "-qq", "-o", str(folder / "calls"), "-e", f"trace={kind}",
        "-P", str(folder / "spool"), "-P", str(folder / "spool" / "spool.db"),
        "-P", str(folder / "spool" / "spool.db-wal"), "-P", str(folder / "spool" / "bodies"),
        "-P", str(folder / "spool" / "spool.db-journal"),
        "-e", f"inject={kind}:error={error}:when={number}",
    ]  # fmt: skip
    how = "runs"
    try:
        relay.start()
        relay.stop()
    except RelayEnded:
        how = "ended"
    relay.before = []
    relay.start()
    with SmtpClient("127.0.0.1", relay.port) as client:
        body = b"Subject: x\r\n\r\nx\r\n"
        assert client.send_message("a@client.example", ["b@example.org"], body).code == 250
    relay.stop()
    return how


def starts(folder: Path, cases: list[tuple[str, int, str]]) -> Counter[str]:
    """Over a queue of its own each, made in the same start."""
    found: Counter[str] = Counter()
    for number, case in enumerate(cases):
        own = folder / str(number)
        own.mkdir()
        found[start_with(own, *case)] += 1
    print(f"{len(cases)} starts with a call that fails: {dict(found)}")
    return found


@pytest.mark.full
def test_a_call_that_fails_at_the_start_leaves_a_queue_that_opens(tmp_path: Path) -> None:
    cases = [("pwrite64", 4, "EIO"), ("fdatasync", 5, "ENOSPC"), ("fsync", 1, "EIO")]
    found = starts(tmp_path, cases)
    assert found["ended"]


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("error", ERRORS)
def test_no_failing_call_of_the_start_leaves_a_queue_that_does_not_open(
    tmp_path: Path, error: str
) -> None:
    most = {"pwrite64": 60, "fdatasync": 20, "fsync": 5, "openat": 15, "ftruncate": 3, "mkdir": 3}
    starts(tmp_path, [(kind, n, error) for kind in most for n in range(1, most[kind] + 1)])
