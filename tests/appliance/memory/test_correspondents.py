"""Whom we have written to."""

from __future__ import annotations

from pathlib import Path

from appliance.base.clock import FakeClock
from appliance.memory.correspondents import KEEP_SECONDS, CorrespondentStore


def test_those_we_write_to_are_known_in_any_case_of_letters_and_after_a_start(
    tmp_path: Path,
) -> None:
    clock = FakeClock()
    store = CorrespondentStore(tmp_path / "c.db", clock)
    store.learn(["Ann@Partner.example"])
    assert store.knows("ann@partner.example")
    assert not store.knows("bob@partner.example")
    store.flush()
    assert CorrespondentStore(tmp_path / "c.db", clock).knows("ANN@partner.example")


def test_they_are_forgotten_when_it_is_long_ago(tmp_path: Path) -> None:
    clock = FakeClock()
    store = CorrespondentStore(tmp_path / "c.db", clock)
    store.learn(["a@b.example"])
    clock.advance(KEEP_SECONDS + 1)
    assert not store.knows("a@b.example")
    store.learn(["a@b.example"])
    assert store.knows("a@b.example")


def test_the_number_is_bounded(tmp_path: Path) -> None:
    clock = FakeClock()
    store = CorrespondentStore(tmp_path / "c.db", clock, maximum=10)
    for number in range(100):
        clock.advance(1)
        store.learn([f"{number}@b.example"])
    store.flush()
    assert store.count() == 10
    assert store.knows("99@b.example")
    assert not store.knows("0@b.example")
