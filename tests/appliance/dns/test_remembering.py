"""What was just asked is not asked again; what nobody could say is."""

from __future__ import annotations

import asyncio

import pytest

from appliance.base.clock import FakeClock
from appliance.dns.remembering import KEEP_SECONDS, RememberingResolver
from appliance.dns.resolver import FakeResolver, NoSuchName, TemporaryDnsError


def test_answers_and_absences_are_kept_for_a_while_and_failures_never() -> None:
    inner = FakeResolver(TXT={"a.example": ["x"]}, fail={"TXT slow.example"})
    clock = FakeClock()
    resolver = RememberingResolver(inner, clock)

    async def ask_all() -> None:
        for _ in range(3):
            assert (await resolver.query("a.example", "TXT")).records == ("x",)
            with pytest.raises(NoSuchName):
                await resolver.query("no.example", "TXT")
            with pytest.raises(TemporaryDnsError):
                await resolver.query("slow.example", "TXT")

    asyncio.run(ask_all())
    names = [name for name, _ in inner.asked]
    assert [names.count(n) for n in ("a.example", "no.example", "slow.example")] == [1, 1, 3]
    clock.advance(KEEP_SECONDS)
    asyncio.run(ask_all())
    assert [name for name, _ in inner.asked].count("a.example") == 2
