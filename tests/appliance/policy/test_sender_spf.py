"""SPF in the chain: once a sender, and greylisting by what it authorises."""

from __future__ import annotations

import asyncio
from pathlib import Path

from appliance.base.clock import FakeClock
from appliance.dns.resolver import FakeResolver
from appliance.mail.address import parse
from appliance.memory.greylist import GreylistStore
from appliance.policy.chain import Chain
from appliance.policy.rules import Rules
from appliance.policy.tools import Tools
from appliance.policy.verdict import Action, Facts, Port, Stage, Station, Verdict
from appliance.settings import schema

RECORDS = {"big.example": ["v=spf1 ip4:198.51.100.0/22 -all"], "other.example": ["v=spf1 -all"]}
RULES = Rules.from_settings(
    schema.from_json({"mail.relay_domains": ["example.org | 127.0.0.1"], "filter.greylist": True})
)


def tools(folder: Path) -> Tools:
    made = Tools(FakeResolver(TXT=RECORDS), FakeClock())
    made.greylist = GreylistStore(folder / "greylist.db")
    return made


def rcpt(given: Tools, client: str, sender: str = "a@big.example") -> tuple[Verdict, Facts]:
    facts = Facts(client=client, port=Port.SMTP, trusted=False, helo="mx.example")
    facts.mail_from, facts.recipient = parse(sender), parse("b@example.org")
    return asyncio.run(Chain(RULES).run(Stage.RCPT, facts, given)), facts


def test_a_retry_from_another_server_of_the_pool_passes(tmp_path: Path) -> None:
    given = tools(tmp_path)
    assert rcpt(given, "198.51.100.1")[0].action is Action.DEFER
    assert isinstance(given.clock, FakeClock)
    given.clock.advance(200)
    for client in ("198.51.101.7", "198.51.102.8", "198.51.103.9"):
        assert rcpt(given, client)[0].reply is None


def test_who_fails_spf_is_known_by_its_network_only(tmp_path: Path) -> None:
    given = tools(tmp_path)
    assert rcpt(given, "192.0.2.1")[0].action is Action.DEFER
    assert isinstance(given.clock, FakeClock)
    given.clock.advance(200)
    assert rcpt(given, "203.0.113.1")[0].action is Action.DEFER
    assert rcpt(given, "192.0.2.99")[0].reply is None


def test_a_failure_is_noted_and_refuses_nothing(tmp_path: Path) -> None:
    given = tools(tmp_path)
    given.greylist = None
    verdict, facts = rcpt(given, "192.0.2.1", "a@other.example")
    assert verdict.reply is None
    (step,) = [step for step in facts.steps if step.station is Station.SPF]
    assert "fail for other.example" in step.why


def test_fifty_letters_of_one_sender_cost_one_check(tmp_path: Path) -> None:
    given = tools(tmp_path)
    for _ in range(50):
        rcpt(given, "198.51.100.1")
    assert isinstance(given.resolver, FakeResolver)
    assert given.resolver.asked.count(("big.example", "TXT")) == 1
