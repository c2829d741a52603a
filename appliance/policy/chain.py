"""The order of the checks: this table is the filtering diagram (FEATURES F1).

A check is a function of the facts and the rules that gives a verdict or nothing; the first
verdict that refuses ends the stage, a note goes on. A check that has to ask somebody first (DNS,
the next hop, rspamd) brings a `look_up`, which writes what it learnt into the facts; judging
stays pure.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from appliance.policy import (
    addresses,
    alignment,
    attachments,
    brake,
    call_ahead,
    content,
    dnsbl,
    greylist,
    limits,
    mime_shape,
    one_from,
    relay_access,
    results,
    sender_domain,
    sender_spf,
    signatures,
    submission,
)
from appliance.policy.rules import Rules
from appliance.policy.tools import Tools
from appliance.policy.verdict import ACCEPTED, Action, Facts, Stage, Station, Step, Verdict

Judge = Callable[[Facts, Rules], Verdict | None]
LookUp = Callable[[Facts, Rules, Tools], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Check:
    """One check at a station.

    `strangers_only`: not for trusted networks and people who signed in. `unless_permitted`: not
    for permitted senders (R4). `is_on`: whether the settings ask for it at all.
    `ours_only`: it lets strangers pass in any case, so that it need not be asked.
    """

    judge: Judge
    station: Station
    look_up: LookUp | None = None
    strangers_only: bool = False
    unless_permitted: bool = False
    ours_only: bool = False
    is_on: Callable[[Rules], bool] | None = None

    def concerns(self, facts: Facts) -> bool:
        """Whether this transaction comes by here."""
        if self.strangers_only and facts.is_ours:
            return False
        return not (self.unless_permitted and facts.permitted)


CHAIN: dict[Stage, tuple[Check, ...]] = {
    Stage.CONNECT: (
        Check(addresses.client_gate, Station.CLIENT),
        Check(dnsbl.begun, Station.DNSBL, dnsbl.begin, strangers_only=True, is_on=dnsbl.is_on),
    ),
    Stage.MAIL: (
        Check(relay_access.submission_needs_sign_in, Station.SANITY),
        Check(submission.account_still_exists, Station.SANITY, ours_only=True),
        Check(submission.own_sender, Station.SANITY, ours_only=True),
        Check(submission.who_signed_in, Station.SANITY, ours_only=True),
        Check(brake.rate, Station.LIMITS, brake.look_up, ours_only=True),
        Check(limits.announced_size, Station.LIMITS),
        Check(limits.room_on_disk, Station.LIMITS),
        Check(
            sender_domain.exists,
            Station.SANITY,
            sender_domain.look_up,
            strangers_only=True,
            is_on=sender_domain.is_on,
        ),
        Check(addresses.sender_gate, Station.SENDER),
    ),
    Stage.RCPT: (
        Check(limits.recipient_count, Station.LIMITS),
        Check(brake.rate, Station.LIMITS, ours_only=True),
        Check(submission.one_recipient_without_sender, Station.SANITY, ours_only=True),
        Check(relay_access.may_relay, Station.SANITY),
        Check(relay_access.recipient_exists, Station.SANITY, relay_access.come_home),
        Check(call_ahead.exists_there, Station.SANITY, call_ahead.look_up, is_on=call_ahead.is_on),
        Check(dnsbl.listed, Station.DNSBL, dnsbl.look_up, strangers_only=True, is_on=dnsbl.is_on),
        Check(
            sender_spf.told,
            Station.SPF,
            sender_spf.look_up,
            strangers_only=True,
            unless_permitted=True,
            is_on=sender_spf.is_on,
        ),
        Check(
            greylist.first_seen,
            Station.GREYLIST,
            greylist.look_up,
            strangers_only=True,
            unless_permitted=True,
            is_on=greylist.is_on,
        ),
    ),
    Stage.DATA: (Check(limits.room_on_disk, Station.LIMITS),),
    Stage.CONTENT: (
        Check(limits.content_size, Station.LIMITS),
        Check(mime_shape.judge, Station.LIMITS, look_up=mime_shape.look),
        Check(limits.hops, Station.SANITY),
        Check(one_from.unambiguous, Station.SANITY, strangers_only=True),
        Check(
            submission.own_author,
            Station.SANITY,
            ours_only=True,
            is_on=submission.checks_author,
        ),
        Check(results.without_forged, Station.REWRITE),
        Check(content.without_forged, Station.REWRITE, strangers_only=True),
        Check(
            signatures.told,
            Station.DKIM,
            signatures.look_up,
            strangers_only=True,
            is_on=signatures.is_on,
        ),
        Check(
            greylist.signed,
            Station.GREYLIST,
            greylist.look_at_signers,
            strangers_only=True,
            unless_permitted=True,
            is_on=greylist.is_on,
        ),
        Check(
            alignment.judged,
            Station.DMARC,
            alignment.look_up,
            strangers_only=True,
            is_on=alignment.is_on,
        ),
        Check(content.spam, Station.SPAM, look_up=content.ask, is_on=content.is_on),
        Check(content.viruses, Station.VIRUS, is_on=content.viruses_on),
        Check(
            attachments.judge,
            Station.VIRUS,
            look_up=attachments.look,
            is_on=attachments.is_wanted,
        ),
        # After all that can refuse
        Check(brake.counted, Station.LIMITS, brake.count, ours_only=True),
        Check(
            greylist.learnt,
            Station.GREYLIST,
            greylist.learn,
            strangers_only=True,
            unless_permitted=True,
            is_on=greylist.is_on,
        ),
        Check(submission.made_fit, Station.REWRITE, submission.make_fit, ours_only=True),
        Check(results.added, Station.REWRITE, strangers_only=True),
    ),
}


# Is told of each check on the way: its verdict, and whether the transaction came by at all.
Watch = Callable[[Check, Verdict | None, bool], None]


class Chain:
    """The checks that the rules in force ask for."""

    def __init__(self, rules: Rules, watch: Watch | None = None) -> None:
        self.rules = rules
        self._watch = watch
        self._checks = {
            stage: tuple(check for check in checks if check.is_on is None or check.is_on(rules))
            for stage, checks in CHAIN.items()
        }
        # Sorted out once a change of settings, not for each message
        self._for_ours = _but_for(self._checks, lambda check: check.strangers_only)
        self._for_strangers = _but_for(self._checks, lambda check: check.ours_only)

    def has(self, stage: Stage) -> bool:
        """Whether anything is looked at in this stage."""
        return bool(self._checks[stage])

    async def run(self, stage: Stage, facts: Facts, tools: Tools) -> Verdict:
        """The first verdict of the stage that refuses; ACCEPTED when none does."""
        watch = self._watch
        for check in self._concerned(stage, facts):
            if (check.unless_permitted or watch is not None) and not check.concerns(facts):
                if watch is not None:
                    watch(check, None, False)
                continue
            if check.look_up is not None:
                await check.look_up(facts, self.rules, tools)
            verdict = check.judge(facts, self.rules)
            if watch is not None:
                watch(check, verdict, True)
            if verdict is None:
                continue
            if tools.tally is not None:
                tools.tally.count(check.station, verdict.action)
            facts.steps.append(_step(check.station, verdict, stage, facts))
            if verdict.action is not Action.NOTE:
                if step := addresses.uncovered(facts, self.rules, verdict, check.station):
                    facts.steps.append(step)
                return verdict
        return ACCEPTED

    def _concerned(self, stage: Stage, facts: Facts) -> tuple[Check, ...]:
        """The checks that may have something to say; a watch is told of the others too."""
        if self._watch is not None:
            return self._checks[stage]
        return self._for_ours[stage] if facts.is_ours else self._for_strangers[stage]


def _but_for(
    checks: Mapping[Stage, tuple[Check, ...]], left_out: Callable[[Check], bool]
) -> dict[Stage, tuple[Check, ...]]:
    return {stage: tuple(c for c in some if not left_out(c)) for stage, some in checks.items()}


def _step(station: Station, verdict: Verdict, stage: Stage, facts: Facts) -> Step:
    of = str(facts.recipient) if stage is Stage.RCPT and facts.recipient is not None else ""
    return Step(station, f"{verdict.check}: {verdict.action}", verdict.why, of)
