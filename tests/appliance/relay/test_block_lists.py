"""Asking block lists in the background: budget, cache, and the circuit breaker (B10)."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

import pytest

from appliance.base.clock import FakeClock
from appliance.dns.resolver import Answer, FakeResolver
from appliance.memory import dnsbl_health
from appliance.memory.dnsbl_health import DnsblHealth
from appliance.relay import block_lists
from appliance.relay.block_lists import BlockListAsker

T = TypeVar("T")
ZONE = "bl.example"
CLIENT = "198.51.100.7"
LISTED = {f"2.0.0.127.{ZONE}": ["127.0.0.2"], f"7.100.51.198.{ZONE}": ["127.0.0.4"]}


class Moody(FakeResolver):
    """Can begin to list everybody, or to say nothing."""

    everybody = silent = False

    async def query(self, name: str, rdtype: str) -> Answer:
        if self.silent and ".2.0.0.127." not in f".{name}":
            await asyncio.sleep(3600)
        if self.everybody and rdtype == "A":
            return Answer(("127.0.0.2",))
        return await super().query(name, rdtype)


class Desk:
    """An asker with its parts."""

    def __init__(self, folder: Path, **records: Any) -> None:
        self.clock = FakeClock()
        self.resolver = Moody(**(records or {"A": LISTED}))
        self.health = DnsblHealth(folder / "dnsbl.db", self.clock)
        self.zones: tuple[str, ...] = (ZONE,)
        self.asker = BlockListAsker(self.resolver, self.clock, self.health, lambda: self.zones)

    def listed(self, client: str = CLIENT) -> tuple[str, ...]:
        return run(self.outcome(client))

    async def outcome(self, client: str) -> tuple[str, ...]:
        return tuple(x.zone for x in (await self.asker.outcome(client)).listings)


def run(work: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(work)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_a_listed_caller_is_found_and_others_are_not(desk: Desk) -> None:
    assert desk.listed() == (ZONE,)
    assert desk.listed("198.51.100.8") == ()


def test_fifty_connections_of_one_address_are_one_look_up(desk: Desk) -> None:
    async def fifty() -> None:
        for _ in range(50):
            desk.asker.begin(CLIENT)
        await asyncio.gather(*(desk.asker.outcome(CLIENT) for _ in range(50)))

    run(fifty())
    desk.listed()
    name = f"7.100.51.198.{ZONE}"
    assert desk.resolver.asked.count((name, "A")) == 1


def test_a_list_without_its_proof_never_counts(tmp_path: Path) -> None:
    desk = Desk(tmp_path, A={f"7.100.51.198.{ZONE}": ["127.0.0.2"]})
    assert desk.listed() == ()
    (finding,) = desk.asker.findings()
    assert "does not list the test address" in finding.say


def test_a_list_that_turns_to_list_everybody_refuses_nobody(desk: Desk) -> None:
    assert desk.listed("198.51.100.8") == ()
    desk.resolver.everybody = True
    desk.clock.advance(block_lists.FRESH_PROOF_SECONDS + 1)
    for last in range(9, 60):
        assert desk.listed(f"198.51.100.{last}") == ()
    assert "lists everybody" in desk.asker.findings()[0].say


def test_a_suspended_list_is_proved_again_later(desk: Desk) -> None:
    desk.resolver.everybody = True
    assert desk.listed() == ()
    desk.resolver.everybody = False
    desk.clock.advance(dnsbl_health.FIRST_PAUSE_SECONDS - 1)
    assert desk.listed() == ()
    desk.clock.advance(block_lists.KEEP_SECONDS + 2)
    assert desk.listed() == (ZONE,)
    assert desk.asker.findings() == []


def test_a_silent_list_costs_the_budget_once_and_is_suspended(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(block_lists, "BUDGET_SECONDS", 0.01)
    desk.listed("198.51.100.1")
    desk.resolver.silent = True
    found = run(desk.asker.outcome("198.51.100.2"))
    assert (found.listings, found.silent) == ((), (ZONE,))
    for last in range(3, 3 + dnsbl_health.MAX_FAILURES):
        desk.listed(f"198.51.100.{last}")
    assert "unanswered" in desk.asker.findings()[0].say
    asked = len(desk.resolver.asked)
    assert desk.listed("198.51.100.99") == ()
    assert len(desk.resolver.asked) == asked


def test_a_list_that_names_those_we_write_to_is_suspended(desk: Desk) -> None:
    assert desk.listed() == (ZONE,)
    for last in range(dnsbl_health.MAX_GOOD_CLIENTS - 1):
        desk.asker.good_sender_listed(ZONE, f"192.0.2.{last}")
        desk.asker.good_sender_listed(ZONE, f"192.0.2.{last}")  # the same one counts once
    assert desk.listed() == (ZONE,)
    desk.asker.good_sender_listed(ZONE, CLIENT)
    assert desk.listed() == ()
    assert "this office writes to" in desk.asker.findings()[0].say


def test_a_suspension_outlives_a_start(desk: Desk, tmp_path: Path) -> None:
    desk.health.failed_proof(ZONE, "it is dead")
    again = DnsblHealth(tmp_path / "dnsbl.db", desk.clock)
    assert again.suspended(ZONE) == "it is dead"
    desk.clock.advance(dnsbl_health.FIRST_PAUSE_SECONDS + 1)
    assert again.suspended(ZONE) == ""


def test_a_list_can_be_tested_by_hand(desk: Desk) -> None:
    assert run(desk.asker.test(ZONE)) == {"zone": ZONE, "ok": True, "why": "", "suspended": ""}
    desk.resolver.everybody = True
    result = run(desk.asker.test(ZONE))
    assert not result["ok"]
    assert "everybody" in result["why"]
    assert desk.listed() == ()
