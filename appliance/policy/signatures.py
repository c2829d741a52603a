"""Station 5: who signed a stranger's message (DKIM), and who handed it on (ARC).

Nothing is refused for a signature alone (RFC 6376 §6.3): a broken one counts as none. What is
found serves DMARC, the result fields and the trace.
"""

from __future__ import annotations

import asyncio

from appliance.policy import arc, dkim, sender_domain
from appliance.policy.arc import ArcResult
from appliance.policy.dkim import DkimResult
from appliance.policy.rules import Rules
from appliance.policy.tools import Tools
from appliance.policy.verdict import Facts, Verdict, note

_UNSIGNED = (DkimResult("none", why="the message is not signed"),)
_UNSEALED = ArcResult("none")
BUDGET_SECONDS = 15.0  # the sender waits for its 250 meanwhile


def is_on(rules: Rules) -> bool:
    """The switch."""
    return rules.settings.filter.check_dkim


async def look_up(facts: Facts, rules: Rules, tools: Tools) -> None:
    """Verify all signatures and the chain of seals, within the budget."""
    message, now = facts.message, tools.clock.now()
    if message is None:
        return
    head = message.head.lower()
    if b"dkim-signature" not in head and b"arc-" not in head:
        facts.dkim, facts.arc = _UNSIGNED, _UNSEALED
        return
    if sender_domain.dns_is_down(tools):
        return
    try:
        async with asyncio.timeout(BUDGET_SECONDS):
            facts.dkim = await dkim.verify_parts(
                tools.resolver, message.head, message.body_blocks, now=now, size=facts.size
            )
            facts.arc = await arc.verify_parts(
                tools.resolver, message.head, message.body_blocks, now=now, size=facts.size
            )
    except TimeoutError:
        facts.dkim = facts.dkim or (DkimResult("temperror", why="the name servers are too slow"),)
        facts.arc = facts.arc or ArcResult("temperror", "the name servers are too slow")
    except OSError as error:
        facts.dkim = (DkimResult("temperror", why=f"the content could not be read: {error}"),)


def told(facts: Facts, rules: Rules) -> Verdict | None:
    """A line in the trace for a message with signatures."""
    said = [
        f"{one.result} for {one.domain or 'nobody'}" + (f" ({one.why})" if one.why else "")
        for one in facts.dkim
        if one.result != "none"
    ]
    if facts.arc is not None and facts.arc.result != "none":
        said.append(f"arc {facts.arc.result}" + (f" ({facts.arc.why})" if facts.arc.why else ""))
    return note("dkim", "; ".join(said)) if said else None
