"""A crowd of strangers keeps no honest sender out, and costs bounded memory and log."""

from __future__ import annotations

import base64
import contextlib
import re
import socket
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from appliance.accounts.users import Users
from appliance.base.clock import SystemClock
from appliance.relay.mail_log import LINES_A_MINUTE
from tests.support.relay_box import hash_of
from tests.support.relay_process import RelayProcess
from tests.support.slow_clients import SlowClients, raise_the_limit
from tests.support.smtp_client import SmtpClient
from tests.support.tls import self_signed
from tests.support.wait import wait_until

BODY = b"Subject: honest\r\n\r\nhello\r\n"


def memory_bytes(relay: RelayProcess) -> int:
    """Proportional set size, with what was swapped out."""
    pid = (relay.folder / "run" / "relay.pid").read_text().strip()
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return 1024 * sum(int(n) for n in re.findall(r"^(?:Pss|SwapPss): +(\d+) kB", text, re.M))


@dataclass
class Honest:
    """Sends a message about twice a second, from an address of its own."""

    port: int
    source: str = "127.9.9.9"
    seconds: list[float] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._work)

    def __enter__(self) -> Honest:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join(60)

    def _work(self) -> None:
        while not self._stopping.is_set():
            begun = time.monotonic()
            try:
                with SmtpClient("127.0.0.1", self.port, source=self.source) as client:
                    answer = client.send_message("a@client.example", ["b@example.org"], BODY)
                if answer.code != 250:
                    self.refused.append(str(answer))
            except (OSError, ValueError) as error:
                self.refused.append(repr(error))
            self.seconds.append(time.monotonic() - begun)
            self._stopping.wait(0.5)


def crowd(
    folder: Path, *, connections: int, addresses: int, places: int, deadline_seconds: int
) -> None:
    """Slow connections until all of those let in were cut, and honest mail meanwhile."""
    raise_the_limit()
    settings = {
        "relay.connections_total": places,
        "relay.command_timeout_seconds": max(5, deadline_seconds // 2),
        "relay.transaction_timeout_seconds": deadline_seconds,
        "queue.retry_seconds": [600],
    }
    relay = RelayProcess(folder, settings)
    relay.start()
    try:
        before = most = memory_bytes(relay)
        with Honest(relay.port) as honest, SlowClients(relay.port, connections, addresses) as slow:

            def all_cut() -> bool:
                nonlocal most
                most = max(most, memory_bytes(relay))
                return slow.opened == connections and not slow.open

            wait_until(
                all_cut,
                what="the slow ones cut",
                timeout_seconds=deadline_seconds * 2 + 60,
                every_seconds=0.3,
            )
        print(
            f"{connections} slow connections from {addresses} addresses, {places} places: "
            f"honest mail in {max(honest.seconds):.2f} s at most, {len(honest.seconds)} messages, "
            f"{len(honest.refused)} refused; memory {before / 1e6:.0f} to {most / 1e6:.0f} MB; "
            f"{slow.cut} cut, the last after {slow.longest_seconds:.0f} s, {slow.refused} refused"
        )
        assert not honest.refused
        assert max(honest.seconds) < 2
        assert most < 64e6 + 12_000 * min(connections, places)
        assert slow.longest_seconds < deadline_seconds + 10
        assert slow.cut > min(connections, places) // 2
    finally:
        relay.stop()


@pytest.mark.full
def test_a_thousand_slow_connections_keep_nobody_out(tmp_path: Path) -> None:
    crowd(tmp_path, connections=1_000, addresses=40, places=400, deadline_seconds=10)


@pytest.mark.soak
@pytest.mark.timeout(900)
@pytest.mark.parametrize("places", [1_000, 12_000])
def test_ten_thousand_slow_connections_keep_nobody_out(tmp_path: Path, places: int) -> None:
    crowd(tmp_path, connections=10_000, addresses=200, places=places, deadline_seconds=120)


@pytest.mark.full
def test_one_address_has_so_many_connections_and_no_more(tmp_path: Path) -> None:
    relay = RelayProcess(tmp_path)
    relay.start()
    try:
        with SlowClients(relay.port, 120, 1) as slow:
            wait_until(lambda: slow.refused == 70, what="the others turned away")
            assert slow.open == 50
    finally:
        relay.stop()


@pytest.mark.full
def test_the_crowd_does_keep_others_out_where_nobody_gives_way(tmp_path: Path) -> None:
    raise_the_limit()
    relay = RelayProcess(
        tmp_path,
        {"relay.connections_total": 100},
        module="tests.support.broken_relay",
        environment={"BROKEN": "nobody-gives-way"},
    )
    relay.start()
    try:
        with SlowClients(relay.port, 200, 10) as slow:
            wait_until(lambda: slow.refused >= 100, what="a full house")
            with Honest(relay.port) as honest:
                wait_until(lambda: len(honest.seconds) > 1, what="a try")
        assert honest.refused
    finally:
        relay.stop()


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate, and an account to guess the password of."""
    (tmp_path / "accounts").mkdir()
    users = Users(tmp_path / "accounts" / "accounts.db", SystemClock())
    users.add("anna", name="", password_hash=hash_of("a long secret"))
    self_signed(tmp_path)
    return tmp_path / "sink.example.com.pem"


def guess_recipients(port: int, count: int) -> None:
    """Names that are not there, one session after the other."""
    while count > 0:
        with contextlib.suppress(OSError, ValueError), SmtpClient("127.0.0.1", port) as client:
            client.hello()
            client.command("MAIL FROM:<a@client.example>")
            for _ in range(min(count, 25)):
                count -= 1
                client.command(f"RCPT TO:<guess{count}@elsewhere.example>")


def knock(port: int, count: int) -> None:
    """Connect and go away."""
    for number in range(count):
        with contextlib.suppress(OSError), socket.socket() as sock:
            sock.bind((f"127.2.{number % 200}.1", 0))
            sock.connect(("127.0.0.1", port))


def guess_passwords(port: int, count: int) -> None:
    """One after the other over TLS, five in a session."""
    while count > 0:
        with contextlib.suppress(OSError, ValueError):  # noqa: SIM117
            with SmtpClient("127.0.0.1", port, tls=True) as client:
                client.hello()
                for _ in range(min(count, 5)):
                    count -= 1
                    secret = base64.b64encode(b"\0anna\0guess%d" % count).decode()
                    client.command(f"AUTH PLAIN {secret}")


def flood(folder: Path, certificate: Path, *, knocks: int, recipients: int, guesses: int) -> None:
    """All three at once, and honest mail meanwhile."""
    raise_the_limit()
    settings = {"queue.retry_seconds": [600], "submission.sign_in": True}
    relay = RelayProcess(folder, settings, certificate=certificate)
    relay.start()
    try:
        work = [
            threading.Thread(target=knock, args=(relay.port, knocks)),
            threading.Thread(target=guess_recipients, args=(relay.port, recipients)),
            threading.Thread(target=guess_passwords, args=(relay.submissions_port, guesses)),
        ]
        begun = time.monotonic()
        with Honest(relay.port) as honest:
            for thread in work:
                thread.start()
            for thread in work:
                thread.join()
        seconds = time.monotonic() - begun
        memory = memory_bytes(relay)
    finally:
        relay.stop()
    written = (folder / "log" / "mail.log").read_text()
    print(
        f"{knocks} connects, {recipients} recipients, {guesses} passwords in {seconds:.1f} s: "
        f"honest mail in {max(honest.seconds):.2f} s at most, {len(honest.refused)} refused; "
        f"log {len(written) / 1e6:.2f} MB, memory {memory / 1e6:.0f} MB"
    )
    assert "event=sign-in-refused" in written
    assert not honest.refused
    assert max(honest.seconds) < 3
    assert memory < 160e6  # the hashing of passwords takes its share
    refused = [one for one in written.splitlines() if "event=refused" in one]
    minutes = seconds / 60 + 1
    assert len(refused) < 3 * LINES_A_MINUTE * minutes
    if recipients > 4 * LINES_A_MINUTE:
        assert "event=and-more of=refused" in written
    assert len(written) < 1e6 * minutes


@pytest.mark.full
def test_floods_leave_honest_mail_alone(tmp_path: Path, certificate: Path) -> None:
    flood(tmp_path, certificate, knocks=1_500, recipients=2_000, guesses=100)


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_large_floods_leave_honest_mail_alone(tmp_path: Path, certificate: Path) -> None:
    flood(tmp_path, certificate, knocks=30_000, recipients=5_000, guesses=10_000)
