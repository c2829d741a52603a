"""`Authentication-Results:` on what comes from strangers: ours added, forged ones taken away."""

from __future__ import annotations

from appliance.mail import auth_results
from appliance.mail.auth_results import Outcome
from appliance.policy.rules import Rules
from appliance.policy.verdict import Facts, Verdict, note

_NAME = b"authentication-results"


def without_forged(facts: Facts, rules: Rules) -> Verdict | None:
    """Take out the fields that bear our name: whoever reads the mail believes them."""
    if facts.message is None:
        return None
    head = facts.message.head if facts.new_head is None else facts.new_head
    if _NAME not in head.lower():
        return None
    clean = auth_results.without_forged(head, rules.settings.mail.hostname)
    if clean == head:
        return None
    facts.new_head = clean
    return note("forged", "result fields with the name of this box were taken out")


def added(facts: Facts, rules: Rules) -> Verdict | None:
    """Put what was found in front of the message."""
    facts.outcomes = outcomes_of(facts)
    if facts.outcomes:
        facts.fields.insert(0, auth_results.field(rules.settings.mail.hostname, facts.outcomes))
    return None


def outcomes_of(facts: Facts) -> tuple[Outcome, ...]:
    """What was found, in RFC 8601's words."""
    found: list[Outcome] = []
    if facts.spf is not None:
        name = "smtp.helo" if facts.spf.identity == "helo" else "smtp.mailfrom"
        found.append(("spf", facts.spf.result, {name: facts.spf.domain}))
    found += [("dkim", one.result, one.properties()) for one in facts.dkim]
    if facts.arc is not None and facts.arc.result != "none":
        word = "fail" if facts.arc.result == "temperror" else facts.arc.result
        found.append(("arc", word, facts.arc.properties()))
    if facts.dmarc is not None:
        found.append(("dmarc", facts.dmarc.result, {"header.from": facts.dmarc.domain}))
    return tuple(found)
