"""Why a delivery failed, in plain words for the queue page; beside them the other server's own.

DeliveryTrouble     an attempt failed before or outside of the replies to a recipient
"""

import re
from dataclasses import dataclass

from appliance.relay import replies_known
from appliance.relay.say import Say as Say

_GREY = re.compile(r"gr[ea]y.?list|try again (?:later|in)|come back later", re.IGNORECASE)
_FULL = re.compile(r"quota|mailbox (?:is )?full|over.?quota|insufficient", re.IGNORECASE)
_UNKNOWN = re.compile(r"user unknown|no such (?:user|mailbox|recipient)|does not exist", re.I)
_LISTED = re.compile(r"blocklist|black ?list|blocked|listed|spamhaus|reputation", re.IGNORECASE)


@dataclass(eq=False)
class DeliveryTrouble(Exception):
    """An attempt that failed for all its recipients. `broken`: the connection is of no more use."""

    say: Say
    permanent: bool = False
    status: str = ""
    reply: str = ""
    broken: bool = True
    host: str = ""  # whom it happened with
    tls_failure: str = ""  # the result type of RFC 8460 §4.3, where protection was the trouble


def enhanced_of(code: int, text: str) -> str:
    """The enhanced status code in a reply, or the plainest that fits (RFC 3463)."""
    found = re.match(r"([245]\.\d{1,3}\.\d{1,3})\b", text)
    return found[1] if found and found[1][0] == str(code)[0] else f"{code // 100}.0.0"


def for_reply(code: int, text: str) -> Say:
    """What a reply of 4yz or 5yz means to a person."""
    status = enhanced_of(code, text)
    detail = status[2:]
    known = replies_known.find(code, text)
    if known is not None:
        return known
    if code == 421:
        return Say.BUSY
    if detail == "2.2" or (code in (452, 552) and _FULL.search(text)):
        return Say.MAILBOX_FULL
    if code == 452 or detail == "3.1":
        return Say.NO_ROOM
    if detail in ("3.4", "2.3") or code == 552:
        return Say.TOO_BIG
    if detail == "4.6":
        return Say.LOOP
    if code >= 500:
        return _for_good(detail, text)
    if _GREY.search(text) or (code in (450, 451) and detail == "7.1"):
        return Say.GREYLISTED
    return Say.NOT_NOW


def _for_good(detail: str, text: str) -> Say:
    if detail in ("1.1", "1.0", "1.6") or _UNKNOWN.search(text):
        return Say.UNKNOWN_RECIPIENT
    if _LISTED.search(text):
        return Say.LISTED
    if detail.startswith("7."):
        return Say.BY_RULES
    return Say.REFUSED


def gave_up(say: str, seconds: float) -> str:
    """For a recipient that was tried to the end of the message's life."""
    days = seconds / 86_400
    span = f"{days:.0f} days" if days >= 1.5 else f"{max(seconds / 3600, 0.1):.1f} hours"
    return f"Given up after {span}. Last reason: {say}"
