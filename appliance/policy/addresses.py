"""The stations of the two lists (FEATURES R4 to R6, F1 stations 3 and 4, F2).

`sender_lists` has the rule itself; here it becomes verdicts. Forbidden addresses of clients hold
for every port and everybody, trusted or not: who is named there is meant. Forbidden senders hold
for strangers: our own people are known by their sign-in, and a domain of ours may well stand on
the list to keep others from using it.
"""

from __future__ import annotations

from appliance.mail import reply as replies
from appliance.policy.rules import Rules
from appliance.policy.sender_lists import Says
from appliance.policy.verdict import Facts, Station, Step, Verdict, note, reject

_COVERED_FROM = 5  # the first station that a permitted sender passes by (F2)


def client_gate(facts: Facts, rules: Rules) -> Verdict | None:
    """At connect: a forbidden IP or network that is not also permitted."""
    opinion = rules.senders.of_client(facts.client)
    if opinion.says is Says.FORBIDDEN:
        return reject("forbidden_client", replies.FORBIDDEN_CLIENT, str(opinion))
    return None


def sender_gate(facts: Facts, rules: Rules) -> Verdict | None:
    """At MAIL: the sender's own entry, else its domain's; and whether anything is permitted."""
    facts.permitted = False
    if not rules.senders:
        return None
    answer = rules.senders.ask(facts.client, facts.mail_from)
    if answer.sender.says is Says.FORBIDDEN and not facts.is_ours:
        return reject("forbidden_sender", replies.FORBIDDEN_SENDER, str(answer.sender))
    if not answer.permitted:
        return None
    facts.permitted = True
    return note("permitted", f"{answer.deciding}: no spam checks")


def uncovered(facts: Facts, rules: Rules, verdict: Verdict, station: Station) -> Step | None:
    """F2: why a permitted sender was refused all the same; None when there is nothing to say."""
    if facts.is_ours or station.number >= _COVERED_FROM:
        return None
    answer = rules.senders.ask(facts.client, facts.mail_from)
    if not answer.permitted:
        return None
    why = (
        f"{answer.deciding}, but that frees from the spam checks only (from greylisting on); "
        f"this refusal is of station {station.number}, {verdict.check}, which holds for everybody"
    )
    return Step(Station.SENDER, "permitted: not covered", why, str(facts.recipient or ""))
