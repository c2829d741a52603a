"""A flood of guessed passwords over real connections, and an honest person in the midst of it."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest

from appliance.policy.verdict import Port
from tests.appliance.relay.test_auth import MESSAGE, PASSWORD, SETTINGS, plain
from tests.support.relay_box import RelayBox
from tests.support.smtp_client import SmtpClient
from tests.support.tls import self_signed

GUESSES = int(os.environ.get("PENNYPOST_GUESSES", "600"))
GUESSERS = 4
HONEST_SECONDS = 3.0


def guess(box: RelayBox, number: int, codes: list[int]) -> None:
    """From one network, five to a session, as long as there are any left."""
    for n in range(0, GUESSES // GUESSERS, 5):
        source = f"127.{10 + number}.{n % 3}.{n % 250 + 1}"
        port = box.port(Port.SUBMISSIONS)
        with SmtpClient("127.0.0.1", port, tls=True, source=source) as client:
            client.hello()
            for m in range(5):
                codes.append(client.command(f"AUTH PLAIN {plain('anna', f'guess{n + m}')}").code)


def honest_seconds(box: RelayBox) -> float:
    """How long it takes to sign in and have a message taken."""
    begun = time.monotonic()
    port = box.port(Port.SUBMISSIONS)
    with SmtpClient("127.0.0.1", port, tls=True, source="127.0.9.9") as client:
        client.hello()
        assert client.command(f"AUTH PLAIN {plain('anna')}").code == 235
        assert client.envelope("anna@example.com", ["x@elsewhere.example"]).code == 250
        assert client.data(MESSAGE).code == 250
    return time.monotonic() - begun


@pytest.mark.full
def test_while_many_guess_the_honest_person_signs_in_and_sends(tmp_path: Path) -> None:
    self_signed(tmp_path)
    pem = tmp_path / "sink.example.com.pem"
    with RelayBox(
        tmp_path, SETTINGS, certificate=(pem, pem), deliver=False, accounts={"anna": PASSWORD}
    ) as box:
        honest_seconds(box)
        codes: list[int] = []
        guessers = [
            threading.Thread(target=guess, args=(box, number, codes)) for number in range(GUESSERS)
        ]
        for guesser in guessers:
            guesser.start()
        took = []
        while any(guesser.is_alive() for guesser in guessers):
            took.append(honest_seconds(box))
        for guesser in guessers:
            guesser.join()
        assert len(codes) == GUESSES // GUESSERS // 5 * 5 * GUESSERS
        assert set(codes) == {535, 454}
        assert codes.count(535) < 100, "so many passwords were looked at"
        assert took
        assert max(took) < HONEST_SECONDS, took
        size = sum(len(line) for line in box.events("sign-in-refused"))
        assert size / len(codes) < 200, "octets of the log for a guess"
        print(f"{len(codes)} guesses, {codes.count(535)} looked at; honest {max(took):.2f} s")
