"""Does the next hop of a relay domain know the recipient? (FEATURES G6)

A switch for each relay domain. The next hop is asked when the recipient is named, so that mail
for nobody is refused while the sender is still there, and no notice goes to a forged address.
What cannot be asked is taken: it waits in the queue until the next hop is back.
"""

from __future__ import annotations

from typing import Protocol

from appliance.mail import reply as replies
from appliance.mail.address import Address
from appliance.policy.rules import Rules
from appliance.policy.tools import Tools
from appliance.policy.verdict import Callee, Facts, Verdict, note, reject


class NextHops(Protocol):
    """The part of `Tools` that asks, and remembers what it was told."""

    async def ask(self, domain: str, recipient: Address) -> tuple[Callee, str]:
        """What the next hop says of a recipient, and its words. Bounded in time; never raises."""
        ...


def is_on(rules: Rules) -> bool:
    """Whether any domain asks for it."""
    return any(entry.verify_recipients for entry in rules.relay_domains.values())


async def look_up(facts: Facts, rules: Rules, tools: Tools) -> None:
    """Ask, where the domain's switch is on."""
    facts.callee, facts.callee_said = None, ""
    recipient = facts.recipient
    if recipient is None or tools.next_hops is None:
        return
    if facts.bounce_for is not None or rules.expand(recipient).is_alias:
        return  # ours to send on, whoever the next hop knows
    domain = recipient.domain_key or rules.main_domain
    entry = rules.relay_domains.get(domain)
    if entry is not None and entry.verify_recipients:
        facts.callee, facts.callee_said = await tools.next_hops.ask(domain, recipient)


def exists_there(facts: Facts, rules: Rules) -> Verdict | None:
    """Refuse whom the next hop does not know."""
    said = facts.callee_said
    if facts.callee is Callee.MISSING:
        why = f"the next hop does not know {facts.recipient}: {said}"
        return reject("call_ahead", replies.UNKNOWN_MAILBOX, why)
    if facts.callee is Callee.UNKNOWN:
        return note("call_ahead", f"the next hop could not be asked ({said}); taken")
    if facts.callee is Callee.ANYBODY:
        return note(
            "call_ahead", "the next hop takes even an invented address, so its yes tells nothing"
        )
    return None
