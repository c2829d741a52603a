"""Nothing acknowledged is lost, whenever the relay is killed (FEATURES B1).

Clients note what got a 250; a real server notes what it took. In the end the bags are compared:
nothing may be missing, and doubled may be what was in flight at a kill, no more.
"""

from __future__ import annotations

import contextlib
import random
import re
import shutil
import threading
from collections import Counter
from pathlib import Path

import pytest

from tests.support.relay_process import RelayProcess
from tests.support.smtp_client import SmtpClient
from tests.support.smtp_sink import SmtpSink
from tests.support.wait import wait_until

CLIENTS = 4
LANES = 4


class Clients:
    """Send without pause; remember what was acknowledged and what stayed without an answer."""

    def __init__(self, port: int) -> None:
        self.acknowledged: list[str] = []
        self._port = port
        self._stopping = threading.Event()
        self._threads = [threading.Thread(target=self._send, args=(n,)) for n in range(CLIENTS)]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join(60)

    def _send(self, number: int) -> None:
        count = 0
        while not self._stopping.is_set():
            try:
                with SmtpClient("127.0.0.1", self._port, timeout_seconds=10) as client:
                    while not self._stopping.is_set():
                        count += 1
                        self._one(client, f"m{number}-{count}")
            except OSError:
                self._stopping.wait(0.05)  # down: come again

    def _one(self, client: SmtpClient, name: str) -> None:
        large = b"y" * 70_000 if random.random() < 0.1 else b""
        body = f"Message-ID: <{name}@client.example>\r\n\r\n".encode() + large + b"\r\n"
        answer = client.send_message("a@client.example", ["b@example.org"], body)
        if answer.code == 250:
            self.acknowledged.append(name)
        self._stopping.wait(0.005)


def sweep(folder: Path, kills: int, **broken: str) -> tuple[set[str], int, int]:
    """The acknowledged that never arrived, how many arrived more than once, how many there were."""
    with SmtpSink() as sink:
        settings = {
            "mail.relay_domains": [f"example.org | {sink.address}"],
            "outbound.connections_per_destination": LANES,
        }
        module = "tests.support.broken_relay" if broken else "appliance.relay.main"
        relay = RelayProcess(folder, settings, module=module, environment=broken)
        relay.start()
        clients = Clients(relay.port)
        pause = threading.Event()
        try:
            for _ in range(kills):
                pause.wait(random.uniform(0.3, 1.0))
                relay.kill()
                relay.start()
            pause.wait(0.3)
        finally:
            clients.stop()
        expected = set(clients.acknowledged)

        def arrived() -> Counter[str]:
            return Counter(
                found[1].decode()
                for one in list(sink.messages)
                if (found := re.search(rb"Message-ID: <(.*?)@", one.data))
            )

        with contextlib.suppress(AssertionError):  # judged by the caller
            wait_until(
                lambda: not expected - arrived().keys(),
                what="all that was acknowledged",
                timeout_seconds=5 if broken else 60,
            )
        relay.stop()
        counts = arrived()
    doubled = sum(count - 1 for count in counts.values())
    return expected - counts.keys(), doubled, len(expected)


def judge(folder: Path, kills: int) -> None:
    lost, doubled, total = sweep(folder, kills)
    print(f"{kills} kills: {total} acknowledged, {len(lost)} lost, {doubled} doubled")
    assert not lost
    assert doubled <= kills * LANES
    assert total > kills * 10
    assert not [p for p in (folder / "spool" / "bodies").iterdir() if p.suffix == ".part"]


def test_nothing_acknowledged_is_lost_in_two_kills(tmp_path: Path) -> None:
    judge(tmp_path, 2)


@pytest.mark.full
def test_nothing_acknowledged_is_lost_in_twenty_kills(tmp_path: Path) -> None:
    judge(tmp_path, 20)


@pytest.mark.soak
def test_nothing_acknowledged_is_lost_in_two_hundred_kills(tmp_path: Path) -> None:
    judge(tmp_path, 200)


@pytest.mark.full
def test_the_sweep_sees_a_relay_that_says_250_too_early(tmp_path: Path) -> None:
    lost, _, _ = sweep(tmp_path, 3, BROKEN="early-250")
    assert lost


@pytest.mark.full
@pytest.mark.parametrize("broken", ["", "no-flush"])
def test_the_flush_comes_before_the_250(tmp_path: Path, broken: str) -> None:
    """Seen from outside, in the system calls; the relay that does not flush is told apart."""
    if not shutil.which("strace"):
        pytest.fail("strace is needed: apt-get install strace")
    calls = tmp_path / "calls"
    relay = RelayProcess(
        tmp_path,
        module="tests.support.broken_relay" if broken else "appliance.relay.main",
        environment={"BROKEN": broken} if broken else {},
        before=[
            "strace", "-f", "-qq", "-s", "60", "-o", str(calls),
            "-e", "trace=fsync,fdatasync,write,writev,sendto,sendmsg",
        ],
    )  # fmt: skip
    relay.start()
    with SmtpClient("127.0.0.1", relay.port) as client:
        client.send_message("a@client.example", ["b@example.org"], b"Subject: x\r\n\r\nx\r\n")
    relay.stop()
    seen = calls.read_text(errors="replace").splitlines()
    begun = next(n for n, line in enumerate(seen) if "354 End data" in line)
    said = next(n for n, line in enumerate(seen) if "OK queued as" in line and "250" in line)
    flushed = any("fdatasync(" in line or "fsync(" in line for line in seen[begun:said])
    assert flushed is (not broken)
