"""What next hops said of recipients."""

from __future__ import annotations

from pathlib import Path

from appliance.base.clock import FakeClock
from appliance.memory.call_ahead import NO_SECONDS, YES_SECONDS, CallAheadStore


def test_a_yes_holds_for_hours_and_a_no_for_less(tmp_path: Path) -> None:
    clock = FakeClock()
    store = CallAheadStore(tmp_path / "a.db", clock)
    store.remember("hop", "yes@example.org", exists=True)
    store.remember("hop", "no@example.org", exists=False)
    assert store.answer("hop", "yes@example.org") is True
    assert store.answer("hop", "no@example.org") is False
    assert store.answer("other hop", "yes@example.org") is None
    clock.advance(NO_SECONDS + 1)
    assert store.answer("hop", "no@example.org") is None
    assert store.answer("hop", "yes@example.org") is True
    clock.advance(YES_SECONDS)
    assert store.answer("hop", "yes@example.org") is None


def test_a_flood_of_guesses_does_not_push_out_those_who_exist(tmp_path: Path) -> None:
    clock = FakeClock()
    store = CallAheadStore(tmp_path / "a.db", clock, maximum=20)
    store.remember("hop", "yes@example.org", exists=True)
    for number in range(100):
        clock.advance(1)
        store.remember("hop", f"{number}@example.org", exists=False)
    store.flush()
    assert store.count() == 20
    assert store.answer("hop", "yes@example.org") is True
