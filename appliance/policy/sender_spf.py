"""SPF as the chain asks for it: once a sender, at RCPT (FEATURES F1 station 5).

Nothing is refused for SPF alone, for forwarded mail fails it; what it says serves greylisting,
DMARC and the notices. `policy/spf.py` has RFC 7208 itself.
"""

from __future__ import annotations

from appliance.policy import sender_domain, spf
from appliance.policy.rules import Rules
from appliance.policy.tools import Tools
from appliance.policy.verdict import Facts, Verdict, note

BUDGET_SECONDS = 5.0  # the sender waits for its 250; RFC 7208 §4.6.4 would allow 20
KEEP_SECONDS = 300.0
KEEP_TROUBLE_SECONDS = 10.0


def is_on(rules: Rules) -> bool:
    """The switch."""
    return rules.settings.filter.check_spf


async def look_up(facts: Facts, rules: Rules, tools: Tools) -> None:
    """Check once a message; what was found is kept for a while."""
    if facts.spf is not None or sender_domain.dns_is_down(tools):
        return
    sender = "" if facts.mail_from is None else facts.mail_from.for_ascii_peer()
    key, now = (facts.client, facts.helo, sender), tools.clock.monotonic()
    found = tools.spf_results.get(key, now)
    if found is None:
        found = await spf.check(
            tools.resolver,
            client=facts.client,
            helo=facts.helo,
            mail_from=sender,
            receiver=rules.settings.mail.hostname,
            budget_seconds=BUDGET_SECONDS,
            timestamp=int(tools.clock.now().timestamp()),
        )
        keep = KEEP_TROUBLE_SECONDS if found.result == "temperror" else KEEP_SECONDS
        tools.spf_results.put(key, found, now + keep)
    facts.spf = found


def told(facts: Facts, rules: Rules) -> Verdict | None:
    """A line in the trace when there is something to know, at the first recipient."""
    found = facts.spf
    if found is None or facts.recipients_so_far or found.result in ("pass", "none", "neutral"):
        return None
    return note("spf", f"{found.result} for {found.domain}: {found.why}")
