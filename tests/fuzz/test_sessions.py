"""Mutated conversations: every reply is well formed, names no Python class, and honest mail passes.

The seeds are the dialogues. `soak` plays many more.
"""

from __future__ import annotations

import random
import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.mail import reply as replies
from appliance.mail.reply import Reply
from tests.fuzz.mutate import mutated
from tests.support.plain_replies import trouble_of_line
from tests.support.relay_box import RelayBox
from tests.support.smtp_client import SmtpClient
from tests.support.wait import wait_until

REPLY = re.compile(rb"(?:[2-5]\d\d[- ][ -~]*\r\n)*\Z")
INSIDE = re.compile(rb"Error:|Exception|Traceback|appliance|\.py|None")
SEEDS = sorted((Path(__file__).parents[1] / "dialogues").glob("*.smtp"))
SPICE = [
    b"\0", b"\r", b"\n", b"\r\n.\r\n", b"<", b">", b"@", b'"', b"\\", b"\xff", b"\xc3\x28",
    b"A" * 3000, b"\r\nDATA\r\n", b"[", b"%s", b"=", b" ", b"\t", b"\r\nRSET\r\n", b":",
]  # fmt: skip


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RelayBox]:
    settings = {"relay.connections_per_address": 1000, "mail.max_message_bytes": 65_536}
    with RelayBox(tmp_path_factory.mktemp("fuzz"), settings, deliver=False) as box:
        yield box


def seed(file: Path) -> bytes:
    """What the client of a dialogue sends, all at once."""
    sent = b""
    for line in file.read_text().splitlines():
        if line.startswith("C:"):
            sent += line[3:].encode() + b"\r\n"
        elif line.startswith("R:"):
            sent += line[3:].encode("latin-1").decode("unicode_escape").encode("latin-1")
    return sent


def play(port: int, sent: bytes) -> bytes:
    """Send, stop sending, and read all that comes."""
    got = b""
    with socket.create_connection(("127.0.0.1", port), 20) as sock:
        try:
            sock.sendall(sent)
            sock.shutdown(socket.SHUT_WR)
            while block := sock.recv(65_536):
                got += block
        except ConnectionError:
            pass
    return got


def fuzz(box: RelayBox, sessions: int, start: int) -> None:
    seeds = [sent for file in SEEDS if len(sent := seed(file)) < 20_000]
    for number in range(start, start + sessions):
        chance = random.Random(number)
        sent = mutated(chance.choice(seeds), chance, SPICE)
        got = play(box.port(), sent)
        plain = got.split(b"220 2.0.0 Ready", 1)[0]  # behind it TLS begins
        assert plain.startswith(b"220 "), f"session {number}"
        assert plain.count(b"\n") == plain.count(b"\r\n"), f"session {number}"
        if plain is got:
            assert REPLY.match(plain), f"session {number}: {plain!r}"
        assert not INSIDE.search(plain), f"session {number}: {plain!r}"
        for line in plain.decode("ascii", "replace").splitlines():
            if line[:1] in ("4", "5"):
                assert trouble_of_line(line) == "", f"session {number}: {line}"
        assert b"451 4.3.0" not in plain, f"session {number}: {sent!r}"


def honest(box: RelayBox) -> None:
    with SmtpClient("127.0.0.1", box.port()) as client:
        body = b"Subject: x\r\n\r\nx\r\n"
        assert client.send_message("a@client.example", ["b@example.org"], body).code == 250


def test_three_hundred_wounded_sessions_leave_the_relay_well(box: RelayBox) -> None:
    fuzz(box, 300, 0)
    honest(box)


def memory_bytes() -> int:
    """Of this process, in which the relay runs."""
    text = Path("/proc/self/smaps_rollup").read_text()
    return 1024 * sum(int(n) for n in re.findall(r"^(?:Pss|SwapPss): +(\d+) kB", text, re.M))


@pytest.mark.full
def test_twenty_thousand_wounded_sessions_leave_the_relay_well(box: RelayBox) -> None:
    """No ill-formed reply, no name from inside, nobody stuck, no memory lost."""
    fuzz(box, 5_000, 1_000)
    before = memory_bytes()
    fuzz(box, 15_000, 6_000)
    honest(box)
    wait_until(lambda: not box.shop.gate.sessions, what="all sessions at their end")
    grown = memory_bytes() / before - 1
    print(f"20,000 sessions; memory {before / 1e6:.0f} MB, {grown:+.1%}")
    assert grown < 0.1


def test_the_fuzzer_sees_a_name_from_inside(box: RelayBox, monkeypatch: pytest.MonkeyPatch) -> None:
    leak = Reply(500, "5.5.1", "Error: (AttributeError) no attribute")
    monkeypatch.setattr(replies, "UNKNOWN_COMMAND", leak)
    with pytest.raises(AssertionError, match="AttributeError"):
        fuzz(box, 200, 0)


@pytest.mark.soak
def test_a_quarter_of_a_million_wounded_sessions(box: RelayBox) -> None:
    fuzz(box, 250_000, 100_000)
    honest(box)
