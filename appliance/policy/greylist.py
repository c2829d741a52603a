"""Ask strangers to come back (FEATURES S3, B11; F1 station 5).

A real mail server tries again after a temporary refusal, much of what sends spam does not. Who
is "the same sender again" must not depend on one address, for large senders come back from
another: where SPF passes, everything that the domain authorises counts as one origin; else the
network (/24, /64) does. Passing needs the least delay and no more than the window. Who came back
is known from then on, and whom we have written to is never asked.

A signature (DKIM) says more than a network, but comes only with the message. So a sender that
would have to wait at RCPT goes on to the content if its domain is known to sign; there a signature
of a domain that signed mail which came back before lets it pass from anywhere, and without one all
recipients are put off. Only a signature that belongs to the envelope's sender or to From counts.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Protocol

from appliance.mail import reply as replies
from appliance.mail.reply import Reply
from appliance.policy import alignment
from appliance.policy.role_addresses import is_role
from appliance.policy.rules import Rules
from appliance.policy.tools import Tools
from appliance.policy.verdict import Disposition, Facts, Greylisted, Verdict, defer, note

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

    def signs(self, domain: str, now: float, windows: Windows) -> bool:
        """Whether mail of a sender's domain that came back was signed."""
        ...

    def knows_signer(self, domain: str, signer: str, now: float, windows: Windows) -> bool:
        """Whether such mail was signed by `signer`."""
        ...

    def learn_signers(self, domain: str, signers: Iterable[str], now: float) -> None:
        """Mail of a sender's domain that came back was signed by them."""
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
    domain = sender.domain_key if sender is not None else ""
    now, windows = tools.clock.now().timestamp(), Windows.of(rules)
    found = tools.greylist.meet(
        origin_of(facts),
        domain,
        f"{recipient.local.lower()}@{recipient.domain_key or rules.main_domain}",
        now,
        windows,
    )
    if not found.wait_seconds:
        facts.came_back = True
    elif domain and rules.settings.filter.check_dkim:
        found = replace(found, by_signature=tools.greylist.signs(domain, now, windows))
    facts.greylisted = found
    before = facts.signature_decides
    if found.by_signature and (before is None or found.wait_seconds > before.wait_seconds):
        facts.signature_decides = found


def first_seen(facts: Facts, rules: Rules) -> Verdict | None:
    """Put a stranger off, unless its signature may show who it is."""
    found = facts.greylisted
    if found is None:
        return None
    if not found.wait_seconds:
        return note("greylist", found.why) if found.why else None
    if found.by_signature:
        return note("greylist", f"{found.why}; its signature decides")
    return _put_off(replies.GREYLISTED, found)


async def look_at_signers(facts: Facts, rules: Rules, tools: Tools) -> None:
    """Ask the memory about those who signed, where that decides."""
    facts.known_signer = ""
    if facts.signature_decides is None or facts.mail_from is None or tools.greylist is None:
        return
    domain, now = facts.mail_from.domain_key, tools.clock.now().timestamp()
    for signer in signers(facts):
        if tools.greylist.knows_signer(domain, signer, now, Windows.of(rules)):
            facts.known_signer = signer
            return


def signed(facts: Facts, rules: Rules) -> Verdict | None:
    """A known signer passes; else all recipients are put off (RFC 5321 has one reply for all)."""
    found = facts.signature_decides
    if found is None:
        return None
    if facts.known_signer:
        return note("greylist", f"known signer {facts.known_signer}")
    unsigned = replace(found, why=f"{found.why}; no signature of a known signer")
    return _put_off(replies.GREYLISTED_UNSIGNED, unsigned)


async def learn(facts: Facts, rules: Rules, tools: Tools) -> None:
    """Remember who signed mail that came back; of one that a signature let in, that signer."""
    if tools.greylist is None or facts.mail_from is None:
        return
    if facts.disposition is not Disposition.DELIVER:
        return  # nobody earns trust by junk
    found = signers(facts) if facts.came_back else (facts.known_signer,)
    now = tools.clock.now().timestamp()
    tools.greylist.learn_signers(facts.mail_from.domain_key, filter(None, found), now)


def learnt(facts: Facts, rules: Rules) -> Verdict | None:
    """Learning decides nothing."""
    return None


def signers(facts: Facts) -> tuple[str, ...]:
    """Whose signatures hold and belong to the sender or to From."""
    authors = facts.author.domains if facts.author is not None else ()
    sender = facts.mail_from.domain_key if facts.mail_from is not None else ""
    return tuple(
        one.domain
        for one in facts.dkim
        if one.result == "pass"
        and any(alignment.belong_together(name, one.domain) for name in (sender, *authors))
    )


def _put_off(reply: Reply, found: Greylisted) -> Verdict:
    span = _span(found.wait_seconds)
    reply = reply.naming(f"in {span}: try again then")
    return defer("greylist", reply, f"{found.why}; may come back in {span}")


def _span(seconds: int) -> str:
    if seconds < 90:
        return f"{seconds} seconds"
    return f"{-(-seconds // 60)} minutes"
