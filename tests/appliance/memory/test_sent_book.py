"""What the brake is told, and how much of it is kept."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from appliance.mail.address import parse
from appliance.memory import sent_book
from appliance.memory.sent_book import DAY_SECONDS, HOUR_SECONDS, SentBook
from appliance.policy.verdict import Spread

NOW = 1_800_000_000.0
A, B = parse("a@one.example"), parse("b@two.example")


def fail(error: sqlite3.Error) -> None:
    raise error


@pytest.fixture
def book(tmp_path: Path) -> SentBook:
    return SentBook(tmp_path / "sent.db", trouble=fail)


def test_it_counts_hours_days_and_strangers(book: SentBook) -> None:
    assert book.strangers("anna", [A, B, parse("A@ONE.example")]) == (2, 2)
    book.add("anna", [A, B], 3, NOW, held=False)
    assert book.strangers("anna", [A, parse("c@one.example")]) == (1, 0)
    assert book.strangers("bert", [A]) == (1, 1)
    seen = book.so_far("anna", NOW + 1)
    assert (seen.messages, seen.recipients, seen.new_addresses, seen.new_domains) == (1, 3, 2, 2)
    later = book.so_far("anna", NOW + HOUR_SECONDS + 1)
    assert (later.messages, later.new_addresses, later.new_addresses_day) == (0, 0, 2)
    assert book.so_far("anna", NOW + DAY_SECONDS + 1) == Spread()


def test_whom_held_mail_is_for_is_a_stranger_until_the_release(book: SentBook) -> None:
    book.pull("anna", "12 new recipients in an hour", NOW)
    book.add("anna", [A], 1, NOW, held=True)
    book.hold("anna", "ID1")
    assert book.strangers("anna", [A]) == (1, 1)
    assert book.so_far("anna", NOW).held == 1
    assert [(b.login, b.held) for b in book.brakes()] == [("anna", 1)]
    assert book.release("anna", NOW) == ("ID1",)
    assert book.release("anna", NOW) is None
    assert book.strangers("anna", [A]) == (0, 0)
    assert book.so_far("anna", NOW).is_released
    assert not book.so_far("anna", NOW + DAY_SECONDS).is_released


def test_it_stays_bounded(book: SentBook, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sent_book, "MAX_MET", 100)
    monkeypatch.setattr(sent_book, "TIDY_EVERY", 10)
    for n in range(200):
        book.add("anna", [parse(f"p{n}@d{n}.example")], 1, NOW + n, held=False)
    (count,) = book._database.read().execute("SELECT count(*) FROM met").fetchone()
    assert count <= 100 + 20
    assert book.strangers("anna", [parse("p199@d199.example")]) == (0, 0)
    assert book.strangers("anna", [parse("p0@d0.example")]) == (1, 1)


def test_a_disk_that_fails_stops_no_mail(tmp_path: Path) -> None:
    said: list[sqlite3.Error] = []
    book = SentBook(tmp_path / "sent.db", trouble=said.append)
    db = book._database.read()
    db.execute("DROP TABLE sent")
    book.add("anna", [A], 1, NOW, held=False)
    assert book.so_far("anna", NOW) == Spread()
    assert len(said) == 2
