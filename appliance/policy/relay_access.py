"""Who may send to whom: the rule that keeps the box from being an open relay (FEATURES G6).

From strangers mail is taken for our own domains and for relay domains, and for nothing else.
Clients in trusted networks, and people who signed in, may send anywhere. The submission ports
are for them alone (RFC 6409 §4.3).
"""

import unicodedata

from appliance.mail import reply as replies
from appliance.mail.address import Address
from appliance.policy import srs
from appliance.policy.rules import Rules
from appliance.policy.tools import Tools
from appliance.policy.verdict import Facts, Verdict, defer, reject

# Local parts that an older next hop might read as a route of its own: user%other@here,
# other!user@here, "user@other"@here. With them a stranger would relay through it.
_ROUTING = frozenset("%!@")


def submission_needs_sign_in(facts: Facts, rules: Rules) -> Verdict | None:
    """On 587 and 465 only our own people are served."""
    if not facts.port.is_submission or facts.is_ours:
        return None
    encrypted = facts.tls or not rules.settings.submission.sign_in
    reply = replies.SIGN_IN_FIRST if encrypted else replies.TLS_FIRST
    return reject("sign_in", reply, "not signed in, and not a trusted network")


def may_relay(facts: Facts, rules: Rules) -> Verdict | None:
    """Strangers reach our mail domains and relay domains only."""
    recipient = facts.recipient
    if facts.is_ours or recipient is None:
        return None
    domain = recipient.domain_key or rules.main_domain
    if domain not in rules.mail_domains and domain not in rules.relay_domains:
        return reject("relay_access", replies.NO_RELAYING, f"{domain} is not a domain of ours")
    local = recipient.local
    if not local.isascii():  # what looks like one of them may become one further on
        local = unicodedata.normalize("NFKC", local)
    if not _ROUTING.isdisjoint(local):
        return reject("relay_access", replies.NO_RELAYING, "the address holds a route of its own")
    return None


async def come_home(facts: Facts, rules: Rules, tools: Tools) -> None:
    """Read a rewritten sender of ours back, for a bounce of a forward.

    Only null senders: anything else to such an address would be a way through the box for
    whoever has seen one of our forwards.
    """
    facts.bounce_for = None
    if facts.recipient is not None and facts.mail_from is None and tools.srs_secret:
        facts.bounce_for = srs.reverse(
            facts.recipient,
            domains=rules.mail_domains | rules.relay_domains.keys(),
            secret=tools.srs_secret,
            now=tools.clock.now(),
        )


def recipient_exists(facts: Facts, rules: Rules) -> Verdict | None:
    """An alias or a mailbox, or a sender that we rewrote; in relay domains the next hop knows.

    In our own mail domains an account is a mailbox where mailboxes are kept (G12).
    """
    recipient = facts.recipient
    if recipient is None or facts.bounce_for is not None:
        return None
    domain = recipient.domain_key or rules.main_domain
    if domain in rules.mail_domains or domain in rules.relay_domains or not domain:
        return where_it_ends(rules, recipient, asked_by_us=facts.is_ours)
    return None


def where_it_ends(rules: Rules, recipient: Address, *, asked_by_us: bool = False) -> Verdict | None:
    """Whether mail for an address of ours arrives anywhere."""
    found = rules.expand(recipient)
    if found.trouble:
        return defer("alias", replies.TRY_LATER, f"{recipient} leads {found.trouble}")
    if found.targets:
        return None
    if found.is_alias:
        why = f"the alias {recipient} leads to no mailbox"
    elif rules.people.owner(recipient, rules.mail_domains) is not None:
        why = f"{recipient} is an account, but mailboxes are not kept here"
        if asked_by_us:  # a stranger is not told which accounts there are
            return reject("recipient", replies.NO_MAILBOX_STORAGE, why)
    else:
        why = f"no mailbox {recipient} here"
    return reject("recipient", replies.UNKNOWN_MAILBOX, why)
