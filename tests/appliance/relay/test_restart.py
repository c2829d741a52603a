"""A restart under load drops no transaction and refuses no connection.

The listening socket is held open beside the relay, as systemd does.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.support.relay_box import BASE
from tests.support.relay_process import ROOT
from tests.support.smtp_client import Closed, SmtpClient
from tests.support.wait import wait_until

CLIENTS = 4
LONGEST_DRAIN_SECONDS = 30


class HeldSocket:
    """A listening socket that outlives the relays that are started on it, as systemd's does."""

    def __init__(self, folder: Path, *, drain_seconds: int = 20) -> None:
        self.folder, self.drain_seconds = folder, drain_seconds
        self.sock = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.port: int = self.sock.getsockname()[1]
        (folder / "run" / "rendered").mkdir(parents=True)
        rendered = {"settings": BASE, "facts": {"claimed": True}}
        (folder / "run" / "rendered" / "relay.json").write_text(json.dumps(rendered))
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        number = self.sock.fileno()
        command = f'export LISTEN_PID=$$; exec "$@" 3<&{number} {number}<&-'
        relay = [sys.executable, "-m", "tests.support.broken_relay", "--data", str(self.folder)]
        relay += ["--run", str(self.folder / "run"), "--resolver", "127.0.0.1:1"]
        with (self.folder / "output").open("ab") as output:
            self.process = subprocess.Popen(
                ["bash", "-c", command, "bash", *relay],
                cwd=ROOT,
                env={**os.environ, "PYTHONPATH": str(ROOT), "LISTEN_FDS": "1",
                     "LISTEN_FDNAMES": "smtp",
                     "BROKEN": "none", "DRAIN_SECONDS": str(self.drain_seconds)},
                pass_fds=[number],
                stdout=output,
                stderr=output,
            )  # fmt: skip

    def stop(self, number: signal.Signals = signal.SIGTERM) -> float:
        """How many seconds it took to end."""
        assert self.process is not None
        begun = time.monotonic()
        self.process.send_signal(number)
        assert self.process.wait(60) == (0 if number == signal.SIGTERM else -number)
        return time.monotonic() - begun


class Load:
    """Clients that send without pause, and what became of each try."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.fates: Counter[str] = Counter()
        self._stopping = threading.Event()
        self._threads = [threading.Thread(target=self._work) for _ in range(CLIENTS)]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join(90)

    def _work(self) -> None:
        while not self._stopping.is_set():
            try:
                client = SmtpClient("127.0.0.1", self.port)
            except Closed:
                self.fates["hung up before the greeting"] += 1
                continue
            except OSError as error:
                self.fates[f"connect: {type(error).__name__}"] += 1
                continue
            with client:
                self._session(client)

    def _session(self, client: SmtpClient) -> None:
        begun = False
        try:
            answer = client.banner if client.banner.code != 220 else client.hello()
            for _ in range(20):
                if answer.code != 250 or self._stopping.is_set():
                    break
                answer = client.command("MAIL FROM:<a@client.example>")
                if answer.code != 250:
                    break
                begun = True
                assert client.command("RCPT TO:<b@example.org>").code == 250
                answer = client.data(b"Subject: x\r\n\r\nhello\r\n")
                assert answer.code == 250, answer
                self.fates["accepted"] += 1
                begun = False
            if answer.code == 421:
                self.fates["told to come back"] += 1
        except (OSError, AssertionError) as error:
            self.fates[f"dropped: {error!r}" if begun else "hung up between messages"] += 1


def restarts(folder: Path, count: int, *, number: signal.Signals = signal.SIGTERM) -> Counter[str]:
    held = HeldSocket(folder)
    held.start()
    longest = 0.0
    load = Load(held.port)

    def some_more() -> None:
        before = load.fates["accepted"]
        wait_until(lambda: load.fates["accepted"] > before + 20, what="messages accepted")

    try:
        for _ in range(count):
            some_more()
            longest = max(longest, held.stop(number))
            held.start()
        some_more()
    finally:
        load.stop()
        held.stop()
        held.sock.close()
    print(f"{count} restarts: {dict(load.fates)}; the longest took {longest:.1f} s")
    assert longest < LONGEST_DRAIN_SECONDS
    return load.fates


def judge(fates: Counter[str]) -> None:
    bad = {fate for fate in fates if fate.startswith(("dropped", "connect"))}
    assert not bad
    assert not fates["hung up before the greeting"]


@pytest.mark.full
def test_restarts_under_load_drop_nothing(tmp_path: Path) -> None:
    judge(restarts(tmp_path, 4))


@pytest.mark.soak
def test_twenty_restarts_under_load_drop_nothing(tmp_path: Path) -> None:
    judge(restarts(tmp_path, 20))


@pytest.mark.full
def test_the_load_sees_a_relay_that_just_ends(tmp_path: Path) -> None:
    fates = restarts(tmp_path, 3, number=signal.SIGKILL)
    assert any(fate.startswith(("dropped", "hung up")) for fate in fates)


@pytest.mark.full
def test_an_order_to_end_is_heard_from_the_first_greeting_on(tmp_path: Path) -> None:
    held = HeldSocket(tmp_path)
    try:
        for _ in range(5):
            held.start()
            with SmtpClient("127.0.0.1", held.port):
                held.stop()  # says whether it ended well
    finally:
        held.sock.close()


def drip(folder: Path, drain_seconds: int) -> float:
    held = HeldSocket(folder, drain_seconds=drain_seconds)
    held.start()
    try:
        with SmtpClient("127.0.0.1", held.port) as client:
            client.hello()
            client.envelope("a@client.example", ["b@example.org"])
            assert client.command("DATA").code == 354
            client.send(b"Subject: slow\r\n")
            seconds = held.stop()
            assert client.read_answer().code == 421
            return seconds
    finally:
        held.sock.close()


@pytest.mark.full
def test_a_message_that_drips_is_told_when_time_is_up(tmp_path: Path) -> None:
    assert 2 < drip(tmp_path, 2) < 10


@pytest.mark.soak
def test_a_message_that_drips_does_not_hold_up_a_restart(tmp_path: Path) -> None:
    assert 20 < drip(tmp_path, 20) < LONGEST_DRAIN_SECONDS
