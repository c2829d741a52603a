"""What greylisting remembers, and how much of it."""

from __future__ import annotations

import os
import random
import time
from pathlib import Path

import pytest

from appliance.memory.greylist import GreylistStore
from appliance.policy.greylist import Origin, Windows

WINDOWS = Windows(delay=60, window=3600, memory=86_400)
POOL = Origin("spf big.example", 1)
NETWORK = Origin("198.51.100.0/24", 3)
FLOOD = int(os.environ.get("PENNYPOST_TRIPLETS", "1000000"))


@pytest.fixture
def store(tmp_path: Path) -> GreylistStore:
    return GreylistStore(tmp_path / "greylist.db")


def wait(store: GreylistStore, origin: Origin, now: float, to: str = "b@example.org") -> int:
    return store.meet(origin, "sender.example", to, now, WINDOWS).wait_seconds


def test_who_comes_back_in_time_passes_and_stays_known(store: GreylistStore) -> None:
    assert wait(store, NETWORK, 0) == 60
    assert wait(store, NETWORK, 30) == 30
    assert wait(store, NETWORK, 60) == 0
    assert wait(store, NETWORK, 61) == 0
    assert wait(store, NETWORK, 60 + 86_400) == 0


def test_a_pool_that_spf_authorises_is_known_for_all_recipients(store: GreylistStore) -> None:
    wait(store, POOL, 0)
    assert wait(store, POOL, 60) == 0
    assert wait(store, POOL, 61, to="somebody-else@example.org") == 0


def test_a_network_is_known_when_it_came_back_three_times(store: GreylistStore) -> None:
    for number in range(3):
        to = f"{number}@example.org"
        assert wait(store, NETWORK, number * 100, to) == 60
        assert wait(store, NETWORK, number * 100 + 60, to) == 0
    assert wait(store, NETWORK, 400, to="new@example.org") == 0


def test_a_signer_is_known_for_its_domain_and_for_the_memorys_time(store: GreylistStore) -> None:
    store.learn_signers("sender.example", ["mail.sender.example"], 0)
    for now, known in ((0, True), (86_400, True), (86_401, False), (-1, False)):
        assert store.signs("sender.example", now, WINDOWS) is known
        knows = store.knows_signer("sender.example", "mail.sender.example", now, WINDOWS)
        assert knows is known
    assert not store.knows_signer("sender.example", "thief.example", 1, WINDOWS)
    assert not store.knows_signer("other.example", "mail.sender.example", 1, WINDOWS)
    assert not store.signs("other.example", 1, WINDOWS)


def test_a_signer_is_written_down_at_most_once_an_hour(store: GreylistStore) -> None:
    for now, written in ((0, 2), (3599, 0), (3600, 2), (5, 2)):  # at last the clock was set back
        store.learn_signers("sender.example", ["sender.example"], now)
        assert len(store._changed) == written, now
        store.flush()


def test_nobody_signed_means_nothing_is_learnt(store: GreylistStore) -> None:
    store.learn_signers("sender.example", [], 0)
    assert not store.signs("sender.example", 0, WINDOWS)


def test_a_restart_keeps_it(store: GreylistStore, tmp_path: Path) -> None:
    wait(store, NETWORK, 0)
    store.flush()
    again = GreylistStore(tmp_path / "greylist.db")
    assert wait(again, NETWORK, 60) == 0


def test_full_the_unconfirmed_go_first(tmp_path: Path) -> None:
    store = GreylistStore(tmp_path / "greylist.db", maximum=50)
    wait(store, NETWORK, 0)
    wait(store, NETWORK, 60)
    for number in range(500):
        wait(store, Origin(f"net {number}", 3), 100 + number)
    store.flush()
    assert store.count() == 50
    assert wait(store, NETWORK, 700) == 0


def flood(store: GreylistStore, count: int) -> list[float]:
    """Random triplets; the seconds that each took."""
    dice, took = random.Random(1), []
    for number in range(count):
        origin = Origin(f"{dice.getrandbits(24):x}/24", 3)
        begun = time.perf_counter()
        domain = f"{dice.getrandbits(40):x}.example"
        if store.meet(origin, domain, "b@example.org", number, WINDOWS).wait_seconds:
            store.signs(domain, number, WINDOWS)
        took.append(time.perf_counter() - begun)
    store.flush()
    return took


def check_flood(folder: Path, count: int) -> None:
    store = GreylistStore(folder / "greylist.db")
    took = sorted(flood(store, count))
    size = sum(path.stat().st_size for path in folder.iterdir())
    p99 = took[int(len(took) * 0.99)]
    print(f"{count} triplets: {size / 1e6:.1f} MB, p99 {p99 * 1000:.3f} ms, max {took[-1]:.3f} s")
    assert size <= 40e6
    assert p99 <= 0.005
    assert store.count() <= 200_000


def test_many_random_triplets_stay_small_and_quick(tmp_path: Path) -> None:
    check_flood(tmp_path, 10_000)


@pytest.mark.soak
def test_a_million_random_triplets_stay_under_40_mb_and_5_ms(tmp_path: Path) -> None:
    check_flood(tmp_path, FLOOD)
