"""Who may send to whom: the rule that keeps the box from being an open relay (FEATURES G6).

From strangers mail is taken for our own domains and for relay domains, and for nothing else.
Clients in trusted networks, and people who signed in, may send anywhere. The submission ports
are for them alone (RFC 6409 §4.3).
"""

from appliance.mail import reply as replies
from appliance.mail.address import Address
from appliance.policy.rules import Rules
from appliance.policy.verdict import Facts, Verdict, reject
from appliance.settings.schema import Settings

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
    if not _ROUTING.isdisjoint(recipient.local):
        return reject("relay_access", replies.NO_RELAYING, "the address holds a route of its own")
    return None


def recipient_exists(facts: Facts, rules: Rules) -> Verdict | None:
    """In our own mail domains an account is a mailbox, where mailboxes are kept (G12).

    Asking a relay domain's next hop (`verify_recipients`) is a look-up that joins here.
    """
    recipient = facts.recipient
    if recipient is None:
        return None
    domain = recipient.domain_key or rules.main_domain
    if domain in rules.relay_domains:
        return None
    if domain in rules.mail_domains or not domain:
        return _in_our_domain(facts, rules, recipient)
    return None


def _in_our_domain(facts: Facts, rules: Rules, recipient: Address) -> Verdict | None:
    if rules.people.owner(recipient, rules.mail_domains) is None:
        return reject("recipient", replies.UNKNOWN_MAILBOX, f"no mailbox {recipient} here")
    if keeps_mailboxes(rules.settings):
        return None
    # A stranger is not told which accounts there are.
    reply = replies.NO_MAILBOX_STORAGE if facts.is_ours else replies.UNKNOWN_MAILBOX
    return reject("recipient", reply, f"{recipient} is an account, but mailboxes are not kept here")


def keeps_mailboxes(settings: Settings) -> bool:
    """Whether mail can be delivered into mailboxes (G12)."""
    delivery = getattr(settings, "delivery", None)
    return bool(getattr(delivery, "lmtp", ""))
