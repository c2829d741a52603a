"""When to try again, with a clock in hand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from appliance.spool.schedule import Plan, delay_notice_is_due, next_attempt

PLAN = Plan((60, 300, 900), 5 * 86_400, 4 * 3600)
AT = datetime(2026, 11, 24, tzinfo=UTC)


def wait(attempts: int, *, age_seconds: float = 0, spread: float = 0) -> float | None:
    now = AT + timedelta(seconds=age_seconds)
    found = next_attempt(PLAN, received_at=AT, now=now, attempts=attempts, spread=spread)
    return None if found is None else (found - now).total_seconds()


def test_the_pauses_are_those_of_the_settings_and_the_last_is_repeated() -> None:
    assert [wait(n) for n in (1, 2, 3, 4, 50)] == [60, 300, 900, 900, 900]


def test_the_last_try_comes_at_the_end_and_then_it_is_given_up() -> None:
    assert wait(9, age_seconds=5 * 86_400 - 10) == 10
    assert wait(9, age_seconds=5 * 86_400) is None
    assert wait(9, age_seconds=9 * 86_400) is None


def test_the_sender_is_told_once() -> None:
    def due(age_seconds: float, *, notified: bool = False, plan: Plan = PLAN) -> bool:
        now = AT + timedelta(seconds=age_seconds)
        return delay_notice_is_due(plan, received_at=AT, now=now, notified=notified)

    assert not due(4 * 3600 - 1)
    assert due(4 * 3600)
    assert not due(4 * 3600, notified=True)
    assert not due(4 * 3600, plan=Plan((60,), 86_400, 0))


@given(
    st.integers(1, 10_000),
    st.floats(-(10**6), 10**6),
    st.floats(-1, 1),
    st.lists(st.integers(1, 90_000), max_size=6),
)
def test_a_next_try_is_never_in_the_past_nor_after_the_end(
    attempts: int, age_seconds: float, spread: float, pauses: list[int]
) -> None:
    plan = Plan(tuple(pauses), 86_400, 0)
    now = AT + timedelta(seconds=age_seconds)
    found = next_attempt(plan, received_at=AT, now=now, attempts=attempts, spread=spread)
    end = AT + timedelta(seconds=86_400)
    assert found is None if now >= end else found is not None and now < found <= end
