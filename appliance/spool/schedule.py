"""When to try again, when to give up, when to tell the sender. Pure.

Retries are spread by a tenth either way, so that a thousand messages put off by one outage do
not come back in the same second.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

SPREAD = 0.1


@dataclass(frozen=True, slots=True)
class Plan:
    """The queue's patience, from the settings."""

    retry_seconds: Sequence[int]
    give_up_seconds: int
    delay_notice_seconds: int  # 0: no notice


def next_attempt(
    plan: Plan,
    *,
    received_at: datetime,
    now: datetime,
    attempts: int,
    spread: float | None = None,
) -> datetime | None:
    """The time of the next try after `attempts` failed ones; None when it is time to give up.

    The last try comes exactly at the end of the message's life, so that nothing is returned
    which a next hop, back in time, would have taken. `spread` is -1..1; None draws one.
    """
    end = received_at + timedelta(seconds=plan.give_up_seconds)
    if now >= end:
        return None
    position = min(max(attempts, 1), len(plan.retry_seconds)) - 1
    pause = plan.retry_seconds[position] if plan.retry_seconds else 300
    drawn = random.uniform(-1, 1) if spread is None else spread
    return min(now + timedelta(seconds=max(pause * (1 + SPREAD * drawn), 0.5)), end)


def longest_pause_seconds(plan: Plan) -> float:
    """No next attempt is further away, unless the clock was wrong when it was planned."""
    return max([*plan.retry_seconds, 300]) * (1 + SPREAD) + 1


def delay_notice_is_due(
    plan: Plan, *, received_at: datetime, now: datetime, notified: bool
) -> bool:
    """Whether the sender should hear that the message still waits."""
    if notified or plan.delay_notice_seconds <= 0:
        return False
    return now - received_at >= timedelta(seconds=plan.delay_notice_seconds)


def final_attempt(plan: Plan, received_at: datetime) -> datetime:
    """When the message is given up."""
    return received_at + timedelta(seconds=plan.give_up_seconds)
