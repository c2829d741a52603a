"""Small rows, written behind."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from appliance.memory.seen import SeenStore, key_of
from appliance.policy.greylist import Seen


def test_what_is_put_is_seen_at_once_and_on_disk_after_a_flush(tmp_path: Path) -> None:
    store = SeenStore(tmp_path / "s.db", maximum=10)
    store.put(key_of("a"), Seen(1, 2, 3))
    assert store.get(key_of("a")) == Seen(1, 2, 3)
    assert store.count() == 0
    store.flush()
    assert store.count() == 1
    store.forget(key_of("a"))
    assert store.get(key_of("a")) is None
    store.flush()
    assert store.count() == 0


def test_a_disk_in_trouble_keeps_no_mail_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = SeenStore(tmp_path / "s.db", maximum=10)

    def fail(*_: object) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr(store, "_write", fail)
    monkeypatch.setattr("appliance.memory.seen.MAX_UNWRITTEN", 5)
    for number in range(20):
        store.put(key_of(str(number)), Seen(1, 1))
    assert len(store._changed) < 5
    assert store.get(key_of("0")) is None


def test_words_are_kept_apart_in_the_key() -> None:
    assert key_of("ab", "c") != key_of("a", "bc")
