"""How much: size, recipients, room, hops."""

from appliance.mail import reply as replies
from appliance.policy.rules import Rules
from appliance.policy.verdict import Facts, Verdict, defer, reject


def announced_size(facts: Facts, rules: Rules) -> Verdict | None:
    """A size announced with MAIL that is over the limit is refused before it is sent."""
    # RFC 1870 §6.1: 552 when the fixed maximum is exceeded
    if facts.announced_size <= rules.max_message_bytes:
        return None
    return reject("size", replies.MESSAGE_TOO_BIG, f"{facts.announced_size} bytes announced")


def room_on_disk(facts: Facts, rules: Rules) -> Verdict | None:
    """Below the reserve nothing new is taken; others keep their mail and come back."""
    if facts.has_room:
        return None
    return defer("room", replies.STORAGE_FULL, "the queue's reserve is reached")


def recipient_count(facts: Facts, rules: Rules) -> Verdict | None:
    """More recipients are put off, not refused (RFC 5321 §4.5.3.1.10)."""
    if facts.recipients_so_far < rules.max_recipients:
        return None
    return defer("recipients", replies.TOO_MANY_RECIPIENTS, f"over {rules.max_recipients}")


def content_size(facts: Facts, rules: Rules) -> Verdict | None:
    """The content itself."""
    if facts.size <= rules.max_message_bytes:
        return None
    return reject("size", replies.MESSAGE_TOO_BIG, f"{facts.size} bytes sent")


def hops(facts: Facts, rules: Rules) -> Verdict | None:
    """A message with too many Received fields goes in a circle (RFC 5321 §6.3)."""
    if facts.received_count <= rules.max_hops:
        return None
    return reject("loop", replies.LOOP, f"{facts.received_count} Received fields")
