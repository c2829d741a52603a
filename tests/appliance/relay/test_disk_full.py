"""A disk that is full to within half a megabyte: 452 or 451, nothing lost, and it passes by itself.

The data are on a small tmpfs of their own (root only). Without the reserve that is kept free
(`queue.reserve_bytes`) the relay writes until the disk says no.
"""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from appliance.base import control
from tests.support.relay_process import RelayProcess
from tests.support.smtp_client import SmtpClient
from tests.support.smtp_sink import Plan, SmtpSink
from tests.support.wait import TimedOut, wait_until

KIB = 1024
LEVELS = [0, 16, 64, 128, 512]
ALL_LEVELS = range(0, 513, 8)
RECOVERS_SECONDS = 5.0


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small disk")
    options = ["-t", "tmpfs", "-o", "size=24m"]
    if subprocess.run(["mount", *options, "tmpfs", str(disk)], check=False).returncode:
        pytest.skip("a tmpfs cannot be mounted here")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


class Full:
    """A relay on a small disk, and what was promised to whom."""

    def __init__(self, disk: Path, sink: SmtpSink, broken: str) -> None:
        settings = {
            "mail.relay_domains": [f"example.org | {sink.address}"],
            "outbound.route_overrides": [f"client.example|{sink.address}"],
            "queue.retry_seconds": [1],
        }
        self.disk, self.sink = disk, sink
        self.relay = RelayProcess(
            disk, settings, module="tests.support.broken_relay", environment={"BROKEN": broken}
        )
        self.acknowledged: set[str] = set()
        self.returned: set[str] = set()
        self.codes: Counter[int] = Counter()
        self.count = 0
        self.told = 0

    def fill(self, free: int) -> None:
        """Leave so many octets."""
        with (self.disk / "ballast").open("wb", buffering=0) as file:
            for _ in range(10_000):
                found = os.statvfs(self.disk)
                most = found.f_bavail * found.f_frsize - free
                if most <= 0:
                    return
                try:
                    file.write(bytes(min(most, 1 << 20)))
                except OSError:
                    return  # the relay took the rest meanwhile

    def give_room(self) -> None:
        (self.disk / "ballast").unlink()

    def send(self, name: str, size: int = 10) -> int:
        self.count += 1
        number = f"m{self.count}"
        body = f"Message-ID: <{number}@client.example>\r\n\r\n".encode() + b"x" * size + b"\r\n"
        with SmtpClient("127.0.0.1", self.relay.port, timeout_seconds=30) as client:
            answer = client.send_message("a@client.example", [f"{name}@example.org"], body)
        if answer.code == 250:
            (self.returned if name == "nobody" else self.acknowledged).add(number)
        return answer.code

    def status(self) -> Any:
        return control.call(self.relay.socket_path, "status")

    def at(self, level: int) -> None:
        """Accept, try again, return: all with so little room. Then room, and all is well."""
        self.sink.plan = Plan(
            recipients={
                "later@example.org": "450 4.2.0 come back later",
                "nobody@example.org": "550 5.1.1 no such user",
            }
        )
        for name in ("later", "later"):
            assert self.send(name) == 250
        self.fill(level)
        for size in (10, 3_000, 100_000, 300_000):
            for name in ("b", "nobody", "later"):
                self.codes[self.send(name, size)] += 1
        self.sink.plan = Plan(recipients={"nobody@example.org": "550 5.1.1 no such user"})
        status = self.status()
        self.told += not status["accepting"]
        assert status["accepting"] or status["why"]
        before = len(self.sink.messages)
        wait_until(  # the retries come in that time, and what they find is recorded, or is not
            lambda: len(self.sink.messages) > before, what="a retry", timeout_seconds=20
        )
        begun = time.monotonic()
        self.give_room()
        wait_until(
            lambda: self.send("b") == 250,
            what="mail is taken again",
            timeout_seconds=RECOVERS_SECONDS + 5,
        )
        assert time.monotonic() - begun < RECOVERS_SECONDS
        wait_until(lambda: self.status()["accepting"], what="the status says so")

    def arrived(self) -> Counter[str]:
        return Counter(
            found[1].decode()
            for one in list(self.sink.messages)
            if one.mail_from and (found := re.search(rb"Message-ID: <(.*?)@", one.data))
        )

    def reported(self) -> set[str]:
        return {
            found.decode()
            for one in list(self.sink.messages)
            if not one.mail_from
            for found in re.findall(rb"Message-ID: <(m\d+)@", one.data)
        }


def sweep(disk: Path, levels: list[int], broken: str) -> Full:
    with SmtpSink() as sink:
        full = Full(disk, sink, broken)
        full.relay.start()
        try:
            for level in levels:
                full.at(level * KIB)
            wait_until(
                lambda: full.acknowledged <= full.arrived().keys(),
                what="all that was acknowledged",
            )
            wait_until(lambda: full.returned <= full.reported(), what="all reports")
            wait_until(lambda: not full.status()["queue"]["messages"], what="an empty queue")
        finally:
            full.relay.stop()
        doubled = sum(full.arrived().values()) - len(full.arrived())
        print(
            f"{broken}: {len(levels)} levels, replies {dict(full.codes)}, "
            f"{len(full.acknowledged) + len(full.returned)} acknowledged, 0 lost, "
            f"{doubled} doubled; the status said so {full.told} times"
        )
        assert not doubled
    assert set(full.codes) <= {250, 451, 452}
    return full


@pytest.mark.full
@pytest.mark.parametrize("broken", ["none", "no-reserve"])
def test_a_full_disk_loses_nothing_and_passes_by_itself(small_disk: Path, broken: str) -> None:
    levels = LEVELS if broken == "no-reserve" else LEVELS[::2]
    full = sweep(small_disk, levels, broken)
    assert full.codes[452] + full.codes[451] > len(levels)
    assert full.told


@pytest.mark.soak
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("broken", ["none", "no-reserve"])
def test_a_disk_at_any_level_loses_nothing(small_disk: Path, broken: str) -> None:
    sweep(small_disk, list(ALL_LEVELS), broken)


@pytest.mark.full
def test_the_sweep_sees_a_relay_that_says_250_to_a_full_disk(small_disk: Path) -> None:
    with SmtpSink() as sink:
        full = Full(small_disk, sink, "early-250,no-reserve")
        full.relay.start()
        try:
            full.fill(0)
            for _ in range(10):
                full.send("b", 30_000)
            full.give_room()
            with pytest.raises(TimedOut):
                wait_until(
                    lambda: full.acknowledged <= full.arrived().keys(),
                    what="all that was acknowledged",
                    timeout_seconds=4,
                )
        finally:
            full.relay.kill()
    assert full.acknowledged
