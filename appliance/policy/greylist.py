"""Ask strangers to come back (FEATURES S3, B11; F1 station 5).

A real mail server tries again after a temporary refusal, much of what sends spam does not. Who
is "the same sender again" must not depend on one address, for large senders come back from
another: where SPF passes, everything that the domain authorises counts as one origin; else the
network (/24, /64) does. Passing needs the least delay and no more than the window. Who came back
is known from then on, and whom we have written to is never asked.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import Protocol

from appliance.mail import reply as replies
from appliance.policy.role_addresses import is_role
from appliance.policy.rules import Rules
from appliance.policy.tools import Tools
from appliance.policy.verdict import Facts, Greylisted, Verdict, defer, note

DAY_SECONDS = 86_400


@dataclass(frozen=True, slots=True)
class Windows:
    """The times, in seconds."""

    delay: float
    window: float
    memory: float

    @classmethod
    def of(cls, rules: Rules) -> Windows:
        """As set."""
        chosen = rules.settings.filter
        return cls(
            chosen.greylist_delay_seconds,
            max(chosen.greylist_window_seconds, chosen.greylist_delay_seconds),
            chosen.greylist_memory_days * DAY_SECONDS,
        )


@dataclass(frozen=True, slots=True)
class Seen:
    """What is remembered: the first and the last time (seconds since 1970), and how often it
    passed; 0 is unconfirmed."""

    first: float
    last: float
    passed: int = 0


@dataclass(frozen=True, slots=True)
class Origin:
    """Who calls: a set that SPF authorises, or a network."""

    name: str
    passes_to_be_known: int


class Greylist(Protocol):
    """The part of `Tools` that remembers."""

    def meet(
        self, origin: Origin, domain: str, recipient: str, now: float, windows: Windows
    ) -> Greylisted:
        """Decide about one recipient, and remember."""
        ...


class Correspondents(Protocol):
    """The part of `Tools` that knows whom we have written to."""

    def knows(self, address: str) -> bool:
        """Whether mail from here went to that address."""
        ...


def decide(seen: Seen | None, now: float, windows: Windows) -> tuple[int, Seen]:
    """How long to wait (0: pass), and what to remember. Pure."""
    fresh = Seen(now, now)
    if seen is None or seen.first > now or seen.last > now:  # new, or the clock was set back
        return round(windows.delay), fresh
    if seen.passed:
        if now - seen.last <= windows.memory:
            return 0, Seen(seen.first, now, seen.passed + 1)
        return round(windows.delay), fresh
    age = now - seen.first
    if age < windows.delay:
        return max(1, round(windows.delay - age)), seen
    if age <= windows.window:
        return 0, Seen(seen.first, now, 1)
    return round(windows.delay), fresh


def origin_of(facts: Facts) -> Origin:
    """Who calls. One pass makes an SPF-authorised set known, a mere network needs three."""
    if facts.spf is not None and facts.spf.result == "pass" and facts.spf.domain:
        return Origin(f"spf {facts.spf.domain}", 1)
    try:
        ip = ipaddress.ip_address(facts.client.partition("%")[0])
    except ValueError:
        return Origin(facts.client, 3)
    length = 24 if ip.version == 4 else 64
    return Origin(str(ipaddress.ip_network((ip, length), strict=False)), 3)


# The station


def is_on(rules: Rules) -> bool:
    """The switch."""
    return rules.settings.filter.greylist


async def look_up(facts: Facts, rules: Rules, tools: Tools) -> None:
    """Ask the memory about this recipient."""
    facts.greylisted = None
    recipient, sender = facts.recipient, facts.mail_from
    if tools.greylist is None or recipient is None or is_role(recipient):
        return
    if sender is not None and tools.correspondents is not None:
        facts.written_to = tools.correspondents.knows(str(sender))
        if facts.written_to:
            return
    facts.greylisted = tools.greylist.meet(
        origin_of(facts),
        sender.domain_key if sender is not None else "",
        f"{recipient.local.lower()}@{recipient.domain_key or rules.main_domain}",
        tools.clock.now().timestamp(),
        Windows.of(rules),
    )


def first_seen(facts: Facts, rules: Rules) -> Verdict | None:
    """Put a stranger off."""
    found = facts.greylisted
    if found is None:
        return None
    if not found.wait_seconds:
        return note("greylist", found.why) if found.why else None
    reply = replies.GREYLISTED.naming(f"in {_span(found.wait_seconds)}: try again then")
    return defer("greylist", reply, f"{found.why}; may come back in {_span(found.wait_seconds)}")


def _span(seconds: int) -> str:
    if seconds < 90:
        return f"{seconds} seconds"
    return f"{-(-seconds // 60)} minutes"
