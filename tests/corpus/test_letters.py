"""Hostile but legal letters pass the relay, and a mailbox, byte for byte; signatures still hold."""

from __future__ import annotations

import imaplib
from collections.abc import Iterator, Mapping
from pathlib import Path

import dkim
import pytest

from tests.corpus.letters import LONGEST, letters
from tests.support.dovecot import Dovecot
from tests.support.relay_box import RelayBox
from tests.support.signing import name_of, rsa_key, rsa_old_pem
from tests.support.smtp_client import SmtpClient
from tests.support.smtp_sink import SmtpSink
from tests.support.wait import wait_until

LEAST = 322
IN_A_FILE = 8_192  # octets from which a body is streamed into a file
SIGNED_EVERY = 6
KEY = rsa_key("client.example", "s1")
MARK = b"X-Number: "
LETTERS = letters()


def sign(letter: bytes) -> bytes:
    """With dkimpy's signature in front."""
    field = dkim.sign(letter, b"s1", b"client.example", rsa_old_pem())
    return bytes(field) + letter


def holds(letter: bytes) -> bool:
    """Whether dkimpy believes the first signature of client.example."""
    records = {f"{name_of(KEY)}.".encode(): KEY.record().encode()}
    return bool(dkim.verify(letter, dnsfunc=lambda name, timeout=5: records.get(name)))


def numbered(number: int) -> bytes:
    """A first field that tells the letters apart, for they may overtake each other."""
    return MARK + b"%d\r\n" % number


def send_all(box: RelayBox, wanted: Mapping[str, bytes], recipient: str) -> list[bytes]:
    """Hand all letters to the relay over one connection; as they were sent."""
    sent = []
    with SmtpClient("127.0.0.1", box.port()) as client:
        client.hello()
        for number, (name, letter) in enumerate(wanted.items()):
            sent.append(numbered(number) + letter)
            assert client.envelope("anna@client.example", [recipient]).code == 250
            answer = client.data(sent[-1])
            assert answer.code == 250, (name, answer.text)
    return sent


def by_number(got: list[bytes]) -> dict[int, bytes]:
    """What came, by its mark."""
    return {int(each.partition(MARK)[2].partition(b"\r\n")[0]): each for each in got}


def changed(sent: list[bytes], got: list[bytes], added: tuple[bytes, ...]) -> list[str]:
    """The names of letters that did not come as they went, but for fields in front."""
    found, names = by_number(got), list(LETTERS)
    wrong = [names[n] for n, letter in enumerate(sent) if not found.get(n, b"").endswith(letter)]
    for number, letter in enumerate(sent):
        front = found.get(number, b"").removesuffix(letter)
        fields = [line for line in front.split(b"\r\n") if line and line[:1] not in b" \t"]
        if not all(field.startswith(added) for field in fields):
            wrong.append(f"{names[number]}: {front!r}")
    return wrong


@pytest.fixture
def sink() -> Iterator[SmtpSink]:
    with SmtpSink() as sink:
        yield sink


def test_the_letters_are_many_legal_and_the_same_each_time() -> None:
    assert len(set(LETTERS.values())) >= LEAST
    assert letters() == LETTERS
    for name, letter in LETTERS.items():
        assert letter.endswith(b"\r\n"), name
        assert letter.count(b"\r") == letter.count(b"\n") == letter.count(b"\r\n"), name
        assert b"\0" not in letter, name
        assert max(map(len, letter.split(b"\r\n"))) <= LONGEST, name


def test_a_letter_that_was_repaired_is_found_out() -> None:
    sent = [numbered(n) + letter for n, letter in enumerate(LETTERS.values())]
    got = [b"Received: by x\r\n" + letter for letter in sent]
    assert changed(sent, got, (b"Received:",)) == []
    for number in range(0, len(got), 10):
        repaired = list(got)
        repaired[number] = got[number].replace(b" \r\n", b"\r\n")[:-2] + b"\r\n\r\n"
        assert changed(sent, repaired, (b"Received:",)), number
    assert changed(sent, got[1:], (b"Received:",))
    assert changed(sent, [b"X-Spam: no\r\n" + one for one in got], (b"Received:",))


@pytest.mark.full
def test_each_is_relayed_as_it_came_and_its_signature_holds(tmp_path: Path, sink: SmtpSink) -> None:
    settings = {
        "mail.relay_domains": [f"example.org | {sink.address}"],
        "relay.trusted_networks": ["127.0.0.1"],  # a stranger's odd header would be refused
    }
    with RelayBox(tmp_path, settings) as box:
        box.shop.inline_body_bytes = IN_A_FILE
        sent = send_all(box, LETTERS, "b@example.org")
        signed = {name: sign(one) for name, one in list(LETTERS.items())[::SIGNED_EVERY]}
        assert all(map(holds, signed.values()))
        wait_until(lambda: len(sink.messages) >= len(sent), what="all", timeout_seconds=60)
        got = [bytes(one.data) for one in sink.messages]
        assert changed(sent, got, (b"Received: from ",)) == []
        assert len(got) == len(sent)
        send_all(box, signed, "b@example.org")
        total = len(sent) + len(signed)
        wait_until(lambda: len(sink.messages) >= total, what="the signed", timeout_seconds=60)
    came = by_number([bytes(one.data) for one in sink.messages[len(sent) :]])
    assert [name for number, name in enumerate(signed) if not holds(came[number])] == []


@pytest.mark.full
def test_each_lies_in_the_mailbox_as_it_came(tmp_path: Path) -> None:
    with Dovecot({"ann@example.com": 0}, imap=True) as dovecot:
        settings = {
            "delivery.lmtp": dovecot.socket,
            "relay.trusted_networks": ["127.0.0.1"],
        }
        with RelayBox(tmp_path, settings, accounts={"ann": "correct-horse-battery-4711"}) as box:
            box.shop.inline_body_bytes = IN_A_FILE
            sent = send_all(box, LETTERS, "ann@example.com")
            wait_until(
                lambda: len(box.events("delivered")) >= len(sent), what="all", timeout_seconds=90
            )
        got = fetched(dovecot, "ann@example.com")
    ours_and_dovecots = (b"Return-Path: ", b"Delivered-To: ", b"Received: ")
    assert changed(sent, got, ours_and_dovecots) == []
    assert len(got) == len(sent)


def fetched(dovecot: Dovecot, user: str) -> list[bytes]:
    """All letters of the inbox, by IMAP."""
    with imaplib.IMAP4("127.0.0.1", dovecot.imap_port) as client:
        client.login(user, "x")
        client.select("INBOX", readonly=True)
        _, rows = client.fetch("1:*", "(BODY.PEEK[])")
        return [row[1] for row in rows if isinstance(row, tuple)]
