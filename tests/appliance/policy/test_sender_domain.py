"""A stranger's domain must exist."""

from __future__ import annotations

import asyncio

import pytest

from appliance.base.clock import FakeClock
from appliance.dns.resolver import MX, FakeResolver
from appliance.mail.address import parse
from appliance.policy.chain import Chain
from appliance.policy.people import People, Person
from appliance.policy.rules import Rules
from appliance.policy.sender_domain import KEEP_SECONDS
from appliance.policy.tools import Tools
from appliance.policy.verdict import Action, Facts, Port, Stage, Verdict
from appliance.settings import schema


def resolver() -> FakeResolver:
    return FakeResolver(
        MX={"mx.example": [(10, "a.mx.example")], "null.example": [MX(0, "")]},
        A={"a.example": ["192.0.2.1"]},
        AAAA={"aaaa.example": ["2001:db8::1"]},
        TXT={"text.example": ["nothing"]},
        fail={"MX slow.example", "A slow.example", "AAAA slow.example", "MX half.example"},
    )


def judged(sender: str, tools: Tools | None = None, **facts: object) -> Verdict:
    given = Facts(client="198.51.100.1", port=Port.SMTP, trusted=False)
    given.mail_from = parse(sender) if sender else None
    for name, value in facts.items():
        setattr(given, name, value)
    given_settings = schema.from_json({"mail.main_domain": "ours.example"})
    rules = Rules.from_settings(given_settings, People.of([Person("ann")]))
    tools = tools or Tools(resolver(), FakeClock())
    return asyncio.run(Chain(rules).run(Stage.MAIL, given, tools))


@pytest.mark.parametrize(
    ("sender", "reply"),
    [
        ("a@mx.example", None),
        ("a@a.example", None),
        ("a@aaaa.example", None),
        ("a@ours.example", None),
        ("a@[192.0.2.1]", None),
        ("", None),
        ("a@null.example", "550 5.7.27"),
        ("a@nowhere.example", "550 5.1.8"),
        ("a@text.example", "550 5.1.8"),
        ("a@slow.example", "450 4.1.8"),
    ],
)
def test_a_sender_that_cannot_be_answered_is_refused(sender: str, reply: str | None) -> None:
    found = judged(sender).reply
    assert (found and f"{found.code} {found.enhanced}") == reply


def test_a_box_whose_own_dns_is_down_turns_nobody_away() -> None:
    dead = FakeResolver(
        fail={f"{t} {n}" for t in ("MX", "A", "AAAA") for n in ("a.b", "c.d")} | {"NS "}
    )
    tools = Tools(dead, FakeClock())
    assert judged("x@a.b", tools).action is Action.ACCEPT
    asked = len(dead.asked)
    assert judged("x@c.d", tools).action is Action.ACCEPT
    assert len(dead.asked) == asked, "it is not asked again for a while"


def test_our_own_people_are_not_asked() -> None:
    assert judged("a@nowhere.example", trusted=True).reply is None
    assert judged("ann@ours.example", user="ann").reply is None


def test_a_domain_is_looked_up_once_for_many_messages() -> None:
    names, clock = resolver(), FakeClock()
    tools = Tools(names, clock)
    for _ in range(50):
        judged("a@mx.example", tools)
    assert names.asked == [("mx.example", "MX")]
    clock.advance(KEEP_SECONDS + 1)
    judged("a@mx.example", tools)
    assert len(names.asked) == 2
