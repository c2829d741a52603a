"""Who is the message from? One answer, or it is not taken (RFC 5322 §3.6, F1 station 1).

Mail clients and filters that read different senders out of one message are the way past DMARC.
A stranger's message with an ambiguous `From:` is refused; one without any is ambiguous for
nobody: it passes with a note, and can pass no DMARC.
"""

from __future__ import annotations

import re

from appliance.mail import reply as replies
from appliance.mail.from_field import from_domains
from appliance.policy.rules import Rules
from appliance.policy.verdict import Facts, Verdict, note, reject

_ANY_FROM = re.compile(rb"(?:\A|[\r\n])[ \t]*from[^a-z0-9-]", re.IGNORECASE)


def unambiguous(facts: Facts, rules: Rules) -> Verdict | None:
    """Refuse what can be read in two ways."""
    if facts.message is None:
        return None
    head = facts.message.head
    found = facts.author = from_domains(head)
    if not found.trouble:
        return None
    if not _ANY_FROM.search(head):
        return note("from", found.trouble)
    return reject("from", replies.AMBIGUOUS_FROM, found.trouble)
