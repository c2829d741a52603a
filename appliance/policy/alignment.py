"""Station 5: what the domain in `From:` wants done with mail that is not its own (DMARC).

`policy/dmarc.py` has the standard; here are the station and its setting:

    off          nothing is asked
    note         the result goes into the header and the trace
    quarantine   what a domain wants refused is taken as junk
    follow       refused when the domain says so, junk when it says so
"""

from __future__ import annotations

from functools import cache

from appliance.mail import reply as replies
from appliance.mail.from_field import from_domains
from appliance.policy import content, dmarc, psl, sender_domain
from appliance.policy.rules import Rules
from appliance.policy.spf import SpfResult
from appliance.policy.tools import Tools
from appliance.policy.verdict import Disposition, Facts, Verdict, note, reject

KEEP_SECONDS = 30.0
_NO_SPF = SpfResult("none", "", "mailfrom", "not checked")


def is_on(rules: Rules) -> bool:
    """The switch."""
    return rules.settings.filter.dmarc != "off"


@cache
def _debians_list() -> psl.Rules | None:
    """The public suffix list of this machine, read once."""
    try:
        return psl.load(psl.DEBIAN_LIST)
    except OSError:
        return None


def belong_together(one: str, other: str) -> bool:
    """Whether two domains (A-labels, lower case) are of one owner (RFC 7489 §3.1, relaxed).

    Without the public suffix list only a domain itself is.
    """
    if not one or one == other:
        return bool(one)
    rules = _debians_list()
    if rules is None:
        return False
    return psl.organizational_domain(one, rules) == psl.organizational_domain(other, rules)


async def look_up(facts: Facts, rules: Rules, tools: Tools) -> None:
    """Ask for the domain's policy and judge by SPF and DKIM."""
    if facts.message is None or sender_domain.dns_is_down(tools):
        return
    author = facts.author or from_domains(facts.message.head)
    spf = facts.spf or _NO_SPF
    signed = tuple((one.result, one.domain) for one in facts.dkim)
    key, now = (author.domains, spf.result, spf.domain, signed), tools.clock.monotonic()
    found = tools.dmarc_results.get(key, now)
    if found is None:
        found = await dmarc.check(
            tools.resolver,
            from_domains=author.domains,
            spf=spf,
            dkim=facts.dkim,
            rules=_debians_list(),
        )
        if found.result != "temperror":
            tools.dmarc_results.put(key, found, now + KEEP_SECONDS)
    facts.dmarc = found


def judged(facts: Facts, rules: Rules) -> Verdict | None:
    """The consequence."""
    found, mode = facts.dmarc, rules.settings.filter.dmarc
    if found is None or found.result == "none":
        return None
    why = f"{found.result} for {found.domain}: {found.why}"
    if found.result != "fail" or mode == "note" or found.disposition == "none":
        return note("dmarc", why)
    if found.disposition == "reject" and mode == "follow":
        return reject("dmarc", replies.NOT_AUTHENTICATED, why)
    facts.worsen(Disposition.JUNK)
    facts.fields += [b"X-Spam-Flag: YES\r\n", content.IS_JUNK]
    return note("dmarc", f"taken as junk; {why}")
