"""When queue and ledger are compared."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from appliance.relay.nightly import is_due

BERLIN = ZoneInfo("Europe/Berlin")


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("last", "now", "due"),
    [
        (None, "2026-01-10T12:00", True),
        ("2026-01-10T01:59", "2026-01-10T02:00", True),  # three o'clock in Berlin
        ("2026-01-10T02:01", "2026-01-10T23:00", False),
        ("2026-01-10T02:01", "2026-01-11T01:59", False),
        ("2026-01-10T02:01", "2026-01-11T02:01", True),
        ("2026-01-10T02:01", "2026-01-20T15:00", True),  # the box was off
        ("2027-01-10T02:01", "2026-01-10T15:00", True),  # the clock was wrong
        ("2026-03-28T02:01", "2026-03-29T01:05", True),  # the hour that summer time takes
    ],
)
def test_it_is_done_once_a_night(last: str | None, now: str, due: bool) -> None:
    assert is_due(at(last) if last else None, at(now), BERLIN) is due
