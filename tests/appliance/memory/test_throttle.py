"""Ten thousand guesses, and the person who knows the password."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from appliance.base.clock import FakeClock
from appliance.base.database import Database
from appliance.memory.throttle import MAX_KEYS, SCHEMA, Throttle


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def throttle(tmp_path: Path, clock: FakeClock) -> Throttle:
    return Throttle(Database(tmp_path / "sign_in.db", SCHEMA, durable=False), clock)


def rows(throttle: Throttle, table: str) -> int:
    (count,) = throttle._db.read().execute(f"SELECT count(*) FROM {table}").fetchone()
    return int(count)


def test_after_10_000_guesses_the_honest_person_still_gets_in(
    throttle: Throttle, clock: FakeClock
) -> None:
    assert throttle.try_now("anna", "198.51.100.7") == 0
    throttle.forgive("anna", "198.51.100.7")
    begun, looked_at = time.perf_counter(), 0
    for n in range(10_000):  # from 50 networks, ten a second
        looked_at += throttle.try_now("anna", f"203.0.{n % 50}.{n % 251}") == 0
        clock.advance(0.1)
    assert looked_at < 60, "so many passwords were looked at in a thousand seconds"
    assert throttle.try_now("anna", "198.51.100.9") == 0, "from where she has signed in before"
    assert throttle.try_now("anna", "192.168.1.5", trusted=True) == 0, "and from a trusted network"
    assert throttle.try_now("bert", "192.0.2.1") == 0, "and others from anywhere else"
    assert time.perf_counter() - begun < 20


def test_a_colleague_with_an_old_password_keeps_nobody_in_the_network_out(
    throttle: Throttle, clock: FakeClock
) -> None:
    throttle.try_now("anna", "198.51.100.7")
    throttle.forgive("anna", "198.51.100.7")
    for _ in range(50):
        throttle.try_now("bert", "198.51.100.8")
        clock.advance(60)
    assert throttle.try_now("anna", "198.51.100.9") == 0
    throttle.try_now("bert", "198.51.100.8")
    assert throttle.try_now("bert", "198.51.100.8") > 60


def test_an_own_account_does_not_help_a_guesser_to_begin_anew(
    throttle: Throttle, clock: FakeClock
) -> None:
    for n in range(30):
        if throttle.try_now("mallory", "203.0.113.5") == 0:
            throttle.forgive("mallory", "203.0.113.5")
        throttle.try_now(f"victim{n}", "203.0.113.5")
    assert throttle.try_now("anna", "203.0.113.5") > 0


@pytest.mark.full
def test_it_stays_bounded(throttle: Throttle, clock: FakeClock) -> None:
    for n in range(MAX_KEYS // 2):
        throttle.try_now(f"name{n}", f"203.{n // 250 % 250}.{n % 250}.1")
    assert rows(throttle, "throttle") <= MAX_KEYS + 3 * 256
    clock.advance(25 * 3600)
    for n in range(257):
        throttle.try_now(f"later{n}", "198.51.100.1")
        clock.advance(301)
    assert rows(throttle, "throttle") < 1_000
