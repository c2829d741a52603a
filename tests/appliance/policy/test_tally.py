"""Counting what stations decide, from midnight to midnight of the box's own time."""

from __future__ import annotations

from datetime import UTC, datetime

from appliance.base.clock import FakeClock
from appliance.policy.tally import Tally
from appliance.policy.verdict import Action, Station


def test_a_day_ends_at_the_boxs_own_midnight() -> None:
    clock = FakeClock(datetime(2026, 1, 10, 22, 30, tzinfo=UTC))  # 23:30 in Berlin
    tally = Tally(clock)
    tally.take_zone("Europe/Berlin")
    tally.take_zone("No/Such_Place")
    tally.count(Station.SPF, Action.NOTE)
    tally.count(Station.SPF, Action.NOTE)
    assert tally.of(Station.SPF) == {"accept": 0, "note": 2, "reject": 0, "defer": 0}
    clock.advance(1799)
    assert tally.of(Station.SPF)["note"] == 2
    clock.advance(1)
    assert tally.of(Station.SPF)["note"] == 0
    assert tally.since == datetime(2026, 1, 10, 23, 0, tzinfo=UTC)


def test_a_clock_that_jumps_begins_a_new_page() -> None:
    clock = FakeClock()
    tally = Tally(clock)
    tally.count(Station.DNSBL, Action.REJECT)
    clock.jump(-400 * 86_400)
    tally.count(Station.DNSBL, Action.REJECT)
    assert tally.of(Station.DNSBL)["reject"] == 1
    clock.jump(10_000 * 86_400)
    assert tally.of(Station.DNSBL)["reject"] == 0
