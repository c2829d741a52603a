"""Why a delivery failed, in plain words for the queue page; beside them the other server's own.

DeliveryTrouble     an attempt failed before or outside of the replies to a recipient
"""

import re
from dataclasses import dataclass
from enum import StrEnum

_GREY = re.compile(r"gr[ea]y.?list|try again (?:later|in)|come back later", re.IGNORECASE)
_FULL = re.compile(r"quota|mailbox (?:is )?full|over.?quota|insufficient", re.IGNORECASE)
_UNKNOWN = re.compile(r"user unknown|no such (?:user|mailbox|recipient)|does not exist", re.I)
_LISTED = re.compile(r"blocklist|black ?list|blocked|listed|spamhaus|reputation", re.IGNORECASE)


class Say(StrEnum):
    """The catalogue."""

    DELIVERED = "The next mail server took the message."
    REFUSED_CONNECTION = "The next mail server refuses connections: it may be off."
    NO_ROUTE = "There is no way to the next mail server: the network may be down."
    TIMED_OUT = "The next mail server did not answer in time."
    LOST = "The connection broke off."
    LOST_AFTER_DATA = "The connection broke off after the message was sent, before the answer."
    NAME_NOT_FOUND = "The recipient's domain does not exist."
    HOST_NOT_FOUND = "The name of the next mail server does not exist."
    NO_ADDRESS = "The recipient's domain has no mail server."
    NAME_TROUBLE = "The name of the next mail server could not be looked up just now."
    NULL_MX = "The recipient's domain says that it takes no mail."
    OWN_MX = "The recipient's domain names this box as its mail server, but it is not set up here."
    NO_MAILBOX = "There is no such mailbox on this box."
    NOT_SMTP = "The next mail server answers in a way that is not understood."
    TLS_MISSING = "The smarthost offers no encryption, which the settings require."
    TLS_FAILED = "The encrypted connection could not be made."
    TLS_UNTRUSTED = "The certificate of the next mail server is not valid for its name."
    STS_UNMET = "The recipient's domain asks for a protection (MTA-STS) that its server lacks."
    STS_NOT_NAMED = "The recipient's domain has no mail server that its own policy (MTA-STS) names."
    DANE_UNMET = "The next mail server does not prove to be the one that its domain names (DANE)."
    DANE_TROUBLE = "The keys of the next mail server (DANE) could not be looked up just now."
    SIGN_IN_REFUSED = "The smarthost does not accept the user name and password."
    SIGN_IN_MISSING = "The smarthost offers no way to sign in that is known here."
    NEEDS_SMTPUTF8 = "The next mail server cannot take addresses with these letters."
    TOO_BIG = "The message is too big for the next mail server."
    UNKNOWN_RECIPIENT = "The next mail server does not know this recipient."
    MAILBOX_FULL = "The recipient's mailbox is full."
    GREYLISTED = "The next mail server asks to come back later (greylisting)."
    LISTED = "The next mail server refuses this box's address: it may be on a block list."
    BUSY = "The next mail server is busy or going down."
    NO_ROOM = "The next mail server is out of room."
    BY_RULES = "The next mail server refused the message by its rules."
    LOOP = "The message goes in a circle."
    NOT_NOW = "The next mail server cannot take the message just now."
    REFUSED = "The next mail server refused the message."
    BODY_GONE = "The message cannot be read from the disk just now."
    BAD_CONTENT = "The message holds line ends that must not be passed on."
    INTERNAL = "Something went wrong here; the log has the details."


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
