"""Greylisting that knows signers: one provider, many networks (FEATURES B11). Real sessions, a
real key, a real name server."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.base.clock import FakeClock
from appliance.dns.live import LiveResolver
from appliance.policy import dkim
from appliance.relay.simulator import Question, simulate
from tests.support import signing
from tests.support.dns_server import DnsServer
from tests.support.relay_box import RelayBox
from tests.support.smtp_client import Answer, SmtpClient

HOME, SECOND, THIRD, FORGER = "127.1.1.1", "127.2.2.2", "127.3.3.3", "127.66.6.6"
KEY = signing.ed25519_key("mail.big.example", "s1")
THIEF = signing.ed25519_key("thief.example", "s1")
SENDER = "news@big.example"
LETTER = b"From: News <news@big.example>\r\nTo: b@example.org\r\nSubject: %s\r\n\r\nhello\r\n"


@pytest.fixture(scope="module")
def dns() -> Iterator[DnsServer]:
    zones = {signing.name_of(key): {"TXT": [f'"{key.record()}"']} for key in (KEY, THIEF)}
    with DnsServer(zones) as server:
        yield server


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def box(tmp_path: Path, dns: DnsServer, clock: FakeClock) -> Iterator[RelayBox]:
    settings = {"filter.greylist": True, "filter.check_dkim": True, "filter.dmarc": "off"}
    resolver = LiveResolver(dns.host, dns.port)
    with RelayBox(tmp_path, settings, resolver=resolver, deliver=False, clock=clock) as box:  # type: ignore[arg-type]
        yield box


def send(
    box: RelayBox,
    source: str,
    *,
    key: dkim.SigningKey | None = KEY,
    to: tuple[str, ...] = ("b@example.org",),
    letter: bytes = LETTER % b"hi",
    sender: str = SENDER,
) -> Answer:
    if key is not None:
        letter = dkim.sign(letter, [key], now=box.clock.now()) + letter
    played = box.run(simulate(box.shop, Question(source, sender, to, message=letter)))
    with SmtpClient("127.0.0.1", box.port(), source=source) as client:
        answer = client.send_message(sender, list(to), letter)
    assert played.turns[-1].reply.code == answer.code, "the simulator says what the session says"
    return answer


def codes(box: RelayBox, source: str, **more: object) -> tuple[int, str]:
    answer = send(box, source, **more)  # type: ignore[arg-type]
    return answer.code, answer.text[:5]


def taught(box: RelayBox, clock: FakeClock) -> None:
    """A signed letter came back in time."""
    assert codes(box, HOME) == (450, "4.7.1")
    clock.advance(200)
    assert codes(box, HOME)[0] == 250


def test_a_signer_is_put_off_once_and_then_passes_from_other_networks(
    box: RelayBox, clock: FakeClock
) -> None:
    assert codes(box, HOME) == (450, "4.7.1")
    assert codes(box, SECOND) == (450, "4.7.1")  # nothing is known yet
    clock.advance(200)
    assert codes(box, HOME)[0] == 250
    assert codes(box, THIRD, to=("c@example.org", "d@example.org"))[0] == 250
    clock.advance(30 * 86_400)
    assert codes(box, SECOND, to=("e@example.org",))[0] == 250  # the third's letter renewed it
    clock.advance(40 * 86_400)
    assert codes(box, THIRD) == (450, "4.7.1")  # forgotten


def test_a_forger_of_a_known_signer_is_put_off_after_the_message(
    box: RelayBox, clock: FakeClock
) -> None:
    taught(box, clock)
    broken = LETTER % b"other"
    broken = dkim.sign(LETTER % b"hi", [KEY], now=clock.now()) + broken
    assert codes(box, FORGER, key=None) == (451, "4.7.1")
    assert codes(box, FORGER, key=None, letter=broken) == (451, "4.7.1")
    assert codes(box, FORGER, key=THIEF) == (451, "4.7.1")
    assert codes(box, THIRD, key=KEY)[0] == 250
    clock.advance(200)
    assert codes(box, FORGER, key=None)[0] == 250  # whoever comes back passes, as ever


def test_a_strangers_signature_teaches_nothing(box: RelayBox, clock: FakeClock) -> None:
    assert codes(box, HOME, key=THIEF) == (450, "4.7.1")
    clock.advance(200)
    assert codes(box, HOME, key=THIEF)[0] == 250
    assert codes(box, SECOND, key=THIEF) == (450, "4.7.1")


@pytest.mark.full
def test_the_simulator_agrees_about_random_letters(box: RelayBox, clock: FakeClock) -> None:
    dice, seen = random.Random(11), Counter[int]()
    for _ in range(200):
        clock.advance(dice.choice((0, 1, 100, 200, 90_000)))
        answer = send(  # which asks the simulator first
            box,
            dice.choice((HOME, SECOND, THIRD, FORGER)),
            key=dice.choice((KEY, KEY, THIEF, None)),
            to=(dice.choice(("b@example.org", "c@example.org")),),
            sender=dice.choice((SENDER, SENDER, "a@thief.example", "")),
        )
        seen[answer.code] += 1
    assert set(seen) == {250, 450, 451}, seen
    assert min(seen.values()) >= 10, seen


@pytest.mark.full
def test_junk_teaches_nothing_either(box: RelayBox, clock: FakeClock, dns: DnsServer) -> None:
    box.take({"filter.dmarc": "quarantine"})
    # SPF and DKIM of the parent domain do not align strictly: the letter is junk
    dns.set("_dmarc.x.thief.example", {"TXT": ['"v=DMARC1; p=reject; adkim=s; aspf=s"']})
    letter = LETTER.replace(b"big.example", b"x.thief.example") % b"hi"
    sender = "news@x.thief.example"
    assert codes(box, HOME, key=THIEF, letter=letter, sender=sender)[0] == 450
    clock.advance(200)
    assert codes(box, HOME, key=THIEF, letter=letter, sender=sender)[0] == 250
    assert codes(box, SECOND, key=THIEF, letter=letter, sender=sender)[0] == 450


def test_the_trace_says_who_vouched_and_what_was_missing(box: RelayBox, clock: FakeClock) -> None:
    taught(box, clock)
    send(box, THIRD)
    send(box, FORGER, key=None)
    rows = box.run(
        box.shop.spool.look(lambda db: db.execute("SELECT steps FROM ledger").fetchall())
    )
    traces = " ".join(str(row[0]) for row in rows)
    assert "its signature decides" in traces
    assert "known signer mail.big.example" in traces
    (refused,) = [line for line in box.events("refused") if FORGER in line]
    assert "no signature of a known signer; may come back in 3 minutes" in refused


@pytest.mark.full
def test_without_the_check_of_signatures_all_is_as_before(box: RelayBox, clock: FakeClock) -> None:
    taught(box, clock)
    box.take({"filter.check_dkim": False})
    assert codes(box, THIRD) == (450, "4.7.1")
