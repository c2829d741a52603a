"""Policies survive a start, expire, and are bounded."""

from __future__ import annotations

from pathlib import Path

from appliance.memory.sts_cache import Kept, StsCache
from appliance.policy.mta_sts import Policy


def kept(age: int, fetched_at: float = 1000.0) -> Kept:
    policy = Policy("enforce", age, ("mx.example.org", "*.example.net"), ("version: STSv1",))
    return Kept("id1", policy, fetched_at)


def test_a_policy_is_there_after_a_start_until_it_expires(tmp_path: Path) -> None:
    cache = StsCache(tmp_path / "sts.db")
    cache.store("example.org", kept(100), cache.put("example.org", kept(100)))
    again = StsCache(tmp_path / "sts.db")
    assert again.get("example.org", 1099) == kept(100)
    assert again.get("example.org", 1100) is None
    assert again.expiring(1200, 1050) == ["example.org"]
    assert again.expiring(1090, 1050) == []


def test_a_full_cache_drops_what_expires_first(tmp_path: Path) -> None:
    cache = StsCache(tmp_path / "sts.db", max_policies=3)
    for age in (300, 100, 200, 400):
        cache.store(f"d{age}.example", kept(age), cache.put(f"d{age}.example", kept(age)))
    again = StsCache(tmp_path / "sts.db")
    assert len(again) == len(cache) == 3
    assert again.get("d100.example", 1000) is None
