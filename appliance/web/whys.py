"""Why a check decided as it did, in the language of the page.

The checks write their reasons in English, with names and numbers in them, and so they lie in the
ledger. Here are the patterns of the usual ones. Several reasons stand beside each other with a
semicolon between; a blank called `why` holds a reason itself, one called `said` any text, the
others one word. What fits no pattern is shown as it is.
"""

from __future__ import annotations

import re
from functools import cache

from appliance.web.i18n import N_, _, current_language

BETWEEN = "; "
PATTERNS: tuple[str, ...] = (
    # Form and limits
    N_("%(size)s bytes announced"),
    N_("%(size)s bytes sent"),
    N_("the queue's reserve is reached"),
    N_("over %(limit)s"),
    N_("over the limit: %(limit)s"),
    N_("%(number)s Received fields"),
    N_("the content could not be written: %(said)s"),
    N_("the content could not be read: %(said)s"),
    N_("a CR or LF alone in the content"),
    N_("a NUL in the content"),
    N_("the header is too big"),
    # Who sends, and as whom
    N_("not signed in, and not a trusted network"),
    N_("signed in as %(user)s"),
    N_("the account %(user)s is gone or disabled"),
    N_("%(user)s signed in and sends as %(sender)s"),
    N_("%(user)s signed in and writes in %(field)s: %(why)s"),
    N_("a name that shows %(address)s"),
    N_("%(user)s sends without a sender to several"),
    N_("%(user)s: %(why)s"),
    N_("more than %(number)s messages in an hour"),
    N_("more than %(number)s recipients in an hour"),
    N_("%(number)s new recipients in an hour"),
    N_("%(number)s new recipients in a day"),
    N_("%(number)s new domains in an hour"),
    N_("%(number)s new domains in a day"),
    N_("%(number)s messages are held already"),
    N_("held, for %(user)s wrote to %(why)s"),
    N_("Date added"),
    N_("Message-ID added"),
    N_("Bcc removed"),
    N_("Date added, %(why)s"),
    N_("Message-ID added, Bcc removed"),
    # Recipients
    N_("%(domain)s is not a domain of ours"),
    N_("the address holds a route of its own"),
    N_("the alias %(alias)s leads to no mailbox"),
    N_("%(recipient)s is an account, but mailboxes are not kept here"),
    N_("no mailbox %(recipient)s here"),
    N_("the next hop does not know %(recipient)s: %(said)s"),
    N_("the next hop could not be asked (%(said)s)"),
    N_("taken"),
    N_("the next hop takes even an invented address, so its yes tells nothing"),
    N_("%(alias)s leads %(why)s"),
    N_("over more than %(number)s aliases in a row"),
    N_("to more than %(number)s targets"),
    N_("more than %(number)s recipients behind the aliases"),
    N_("it has left here for %(alias)s before"),
    N_("a copy of ours has come back"),
    N_("nobody has this address"),
    N_("copy of all incoming mail"),
    N_("copy of all outgoing mail"),
    N_("alias %(said)s"),
    # Lists
    N_("“%(entry)s” is forbidden"),
    N_("“%(entry)s” is permitted"),
    N_("“%(entry)s” (%(said)s) is forbidden"),
    N_("“%(entry)s” (%(said)s) is permitted"),
    N_("%(why)s: no spam checks"),
    N_("%(why)s, but that frees from the spam checks only (from greylisting on)"),
    N_("this refusal is of station %(number)s, %(check)s, which holds for everybody"),
    N_("listed by %(zone)s (%(said)s)"),
    N_("listed by %(zone)s (%(codes)s): %(said)s"),
    N_("no answer in time from %(said)s"),
    N_("but %(why)s, and permitted addresses skip the lists"),
    N_("put off, not refused, for somebody here has written to %(sender)s"),
    # Greylisting
    N_("first seen: %(sender)s from %(said)s"),
    N_("asked before: %(sender)s from %(said)s"),
    N_("may come back in %(why)s"),
    N_("%(number)s seconds"),
    N_("%(number)s minutes"),
    N_("came back after %(number)s seconds: %(said)s"),
    N_("its signature decides"),
    N_("known signer %(domain)s"),
    N_("no signature of a known signer"),
    # Proofs of the sender
    N_("%(domain)s has neither MX nor address"),
    N_("%(domain)s says that it takes no mail (null MX)"),
    N_("nobody could say whether %(domain)s exists"),
    N_("not looked up: no name server answers this box"),
    N_("%(result)s for %(domain)s: %(why)s"),
    N_("%(result)s for %(domain)s"),
    N_("%(result)s for %(domain)s (%(why)s)"),
    N_("arc %(result)s"),
    N_("arc %(result)s (%(why)s)"),
    N_("message signature %(number)s: %(why)s"),
    N_("seal %(number)s: %(why)s"),
    N_("set %(number)s says that the chain was broken before it"),
    N_("%(domain)s publishes no SPF record"),
    N_("%(client)s matches “%(said)s” of %(domain)s"),
    N_("%(client)s matches nothing in the SPF record of %(domain)s"),
    N_("the domain says: %(said)s"),
    N_("%(type)s of %(name)s: no answer"),
    N_("the signature does not fit the header"),
    N_("the body was changed"),
    N_("the signature has expired"),
    N_("there is no key at this selector"),
    N_("the key was withdrawn"),
    N_("the domain is testing"),
    N_("the name servers are too slow"),
    N_("the message is not signed"),
    N_("a signature vouches for %(domain)s"),
    N_("SPF of %(other)s vouches for %(domain)s"),
    N_("what may vouch for %(domain)s: no answer"),
    N_("neither SPF nor DKIM vouches for %(domain)s, which asks for “%(policy)s”"),
    N_("%(domain)s has no DMARC policy"),
    N_("the DMARC policy: no answer"),
    N_("the public suffix list is missing"),
    N_("the From field names several domains"),
    N_("the From field names no domain"),
    N_("taken as junk"),
    N_("result fields with the name of this box were taken out"),
    N_("there is no From field"),
    N_("there are several %(field)s fields"),
    N_("the %(field)s field names several mailboxes"),
    N_("the %(field)s field names a group"),
    N_("the %(field)s field is empty"),
    N_("the name of the %(field)s field is written oddly"),
    N_("there is text behind the address"),
    N_("the address has no domain"),
    N_("the display name holds another address"),
    # Deliveries
    N_("Given up after %(number)s days. Last reason: %(why)s"),
    N_("Given up after %(number)s hours. Last reason: %(why)s"),
    # Content
    N_("fields with the names of the filter's own were taken out"),
    N_("not judged: %(why)s"),
    N_("larger than the %(number)s MB that are scanned"),
    N_("score %(number)s"),
    N_("mark"),
    N_("junk"),
    N_("quarantine"),
    N_("kept back: %(said)s"),
    N_("kept back, not looked into: %(said)s"),
    N_("not looked into: %(said)s"),
    N_("not looked at: %(why)s"),
    N_("ClamAV does not answer"),
    N_("a test word for spam filters"),
    N_("not scanned"),
)
_BLANK = re.compile(r"%\((\w+)\)s")
_ANYTHING = ("why", "said", "codes")


def in_words(text: str) -> str:
    """The reason in the page's language."""
    if current_language() == "en":
        return text
    whole = _(text)
    return whole if whole != text else BETWEEN.join(map(_one, text.split(BETWEEN)))


def is_known(text: str) -> bool:
    """Whether all of the reason fits a pattern."""
    return all(_find(part) is not None for part in text.split(BETWEEN))


def _one(text: str) -> str:
    found = _find(text)
    if found is None:
        return _(text)  # a whole sentence of the catalogue, perhaps
    pattern, values = found
    return _(pattern, **{name: _one(v) if name == "why" else v for name, v in values.items()})


def _find(text: str) -> tuple[str, dict[str, str]] | None:
    for pattern, expression in _expressions():
        if match := expression.fullmatch(text):
            return pattern, match.groupdict()
    return None


@cache
def _expressions() -> tuple[tuple[str, re.Pattern[str]], ...]:
    """The patterns, those with the most fixed text first."""
    ordered = sorted(PATTERNS, key=lambda pattern: -len(_BLANK.sub("", pattern)))
    return tuple((pattern, _expression(pattern)) for pattern in ordered)


def _expression(pattern: str) -> re.Pattern[str]:
    fixed = _BLANK.split(pattern)  # text, name, text, name, ..., text
    parts = [
        (f"(?P<{text}>{'.+' if text in _ANYTHING else '[^ ]+'})" if at % 2 else re.escape(text))
        for at, text in enumerate(fixed)
    ]
    return re.compile("".join(parts), re.DOTALL)
