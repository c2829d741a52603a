"""The order of the checks: this table is the filtering diagram.

A check is a function of the facts and the rules that gives a verdict or nothing; the first
verdict ends the stage. A check that has to ask somebody first (DNS, the next hop) brings a
`look_up`, which writes what it learnt into the facts; judging stays pure.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from appliance.policy import limits, relay_access
from appliance.policy.rules import Rules
from appliance.policy.verdict import ACCEPTED, Facts, Stage, Verdict

Judge = Callable[[Facts, Rules], Verdict | None]
LookUp = Callable[[Facts, Rules, Any], Awaitable[None]]  # the last is the Resolver


@dataclass(frozen=True, slots=True)
class Check:
    """One station of the chain."""

    judge: Judge
    look_up: LookUp | None = None


CHAIN: dict[Stage, tuple[Check, ...]] = {
    Stage.CONNECT: (),
    Stage.MAIL: (
        Check(relay_access.submission_needs_sign_in),
        Check(limits.announced_size),
        Check(limits.room_on_disk),
    ),
    Stage.RCPT: (
        Check(limits.recipient_count),
        Check(relay_access.may_relay),
        Check(relay_access.recipient_exists),
    ),
    Stage.DATA: (Check(limits.room_on_disk),),
    Stage.CONTENT: (
        Check(limits.content_size),
        Check(limits.hops),
    ),
}


async def run(stage: Stage, facts: Facts, rules: Rules, resolver: Any = None) -> Verdict:
    """The verdict of the first check of the stage that has one; ACCEPTED when none has."""
    for check in CHAIN[stage]:
        if check.look_up is not None:
            await check.look_up(facts, rules, resolver)
        verdict = check.judge(facts, rules)
        if verdict is not None:
            return verdict
    return ACCEPTED
