"""Stations 6 and 7: what the scanner says of a message, and what becomes of it (F1, F3).

Header fields: `X-Spam-Score`, `X-Spam-Status` (the score, the rules that struck), `X-Spam-Level`
(a star a point) and, from `mark_score` on, `X-Spam-Flag: YES`. `X-Spam-Action: junk` says that
the letter belongs in the junk folder. Those that a stranger put there are taken out: a mailbox's
rules believe them. `X-Spam-Status: unknown` says that nobody judged.
"""

import itertools
import re

from appliance.mail import reply as replies
from appliance.policy.rules import Rules
from appliance.policy.scan import ScanRequest, ScanResult
from appliance.policy.tools import Tools
from appliance.policy.verdict import Disposition, Facts, Verdict, note, reject
from appliance.settings.content import MIB, Content

MAX_STARS = 50
MAX_SYMBOLS_SHOWN = 20
_OURS = re.compile(
    rb"^x-(?:spam-(?:score|status|level|flag|action)|virus-status)[ \t]*:[^\n]*\n"
    rb"(?:[ \t][^\n]*\n)*",
    re.IGNORECASE | re.MULTILINE,
)
IS_JUNK = b"X-Spam-Action: junk\r\n"  # the mailboxes' junk folder goes by it
_SUBJECT = re.compile(rb"^subject[ \t]*:[ \t]*", re.IGNORECASE | re.MULTILINE)


def wants_spam_check(facts: Facts, rules: Rules) -> bool:
    """Permitted senders are never judged (R4); our own people when a setting says so."""
    content = rules.settings.content
    if content.spam == "off" or facts.permitted:
        return False
    return content.spam_for_own or not facts.is_ours


def wants_virus_check(facts: Facts, rules: Rules) -> bool:
    """Viruses are looked for in everybody's mail, ours too."""
    content = rules.settings.content
    if not (content.virus and content.clamav):
        return False
    return content.virus_for_permitted or not facts.permitted


def is_on(rules: Rules) -> bool:
    """Whether anything is scanned: the one question serves both stations."""
    return rules.settings.content.spam != "off" or viruses_on(rules)


def viruses_on(rules: Rules) -> bool:
    """The switch, and somebody who knows viruses."""
    content = rules.settings.content
    return bool(content.virus and content.clamav)


async def ask(facts: Facts, rules: Rules, tools: Tools) -> None:
    """Have the message scanned, when anything is wanted of it and there is a scanner."""
    if tools.scanner is None or facts.message is None:
        return
    if not (wants_spam_check(facts, rules) or wants_virus_check(facts, rules)):
        return
    if facts.size > (most := rules.settings.content.scan_bytes):
        facts.scan = ScanResult(judged=False, why=_too_large(most))
        return
    message = facts.message
    facts.scan = await tools.scanner.scan(
        ScanRequest(
            blocks=lambda: itertools.chain((message.head + b"\r\n",), message.body_blocks()),
            # A message that is nothing but a header gets the empty line that it lacks.
            size=max(facts.size, len(message.head) + 2),
            client=facts.client,
            helo=facts.helo,
            mail_from="" if facts.mail_from is None else str(facts.mail_from),
            recipients=tuple(str(recipient) for recipient in facts.recipients),
            queue_id=facts.queue_id,
            user=facts.user,
        )
    )


def _too_large(most: int) -> str:
    return f"larger than the {most / MIB:.3g} MB that are scanned"


def without_forged(facts: Facts, rules: Rules) -> Verdict | None:
    """Take out the fields with our names that a stranger put there."""
    head = _head(facts)
    if b"x-spam-" not in (lower := head.lower()) and b"x-virus-status" not in lower:
        return None
    clean = _OURS.sub(b"", head)
    if clean == head:
        return None
    facts.new_head = clean
    return note("forged", "fields with the names of the filter's own were taken out")


def spam(facts: Facts, rules: Rules) -> Verdict | None:
    """The score's consequence."""
    scan, content = facts.scan, rules.settings.content
    if scan is None or not wants_spam_check(facts, rules):
        return None
    if not scan.judged:
        facts.fields.append(_line("X-Spam-Status", f"unknown, not judged ({scan.why})"))
        return note("spam", f"not judged: {scan.why}")
    why = f"score {scan.score:.1f}; {' '.join(scan.symbols[:MAX_SYMBOLS_SHOWN])}".rstrip("; ")
    if _reaches(scan.score, content.refuse_score):
        return reject("spam", replies.LOOKS_LIKE_SPAM, why)
    facts.fields += score_fields(scan, content)
    disposition = disposition_of(scan.score, content)
    facts.worsen(disposition)
    if disposition is Disposition.JUNK:
        facts.fields.append(IS_JUNK)
    if disposition is not Disposition.DELIVER:
        _tag_subject(facts, rules)
    return note("spam", f"{disposition}; {why}")


def viruses(facts: Facts, rules: Rules) -> Verdict | None:
    """A message with a virus is not delivered; one that could not be looked at says so."""
    scan = facts.scan
    if scan is None or not wants_virus_check(facts, rules):
        return None
    if scan.viruses:
        why = ", ".join(scan.viruses)
        if rules.settings.content.virus_action == "refuse":
            return reject("virus", replies.HOLDS_VIRUS, why)
        facts.fields.append(_line("X-Virus-Status", f"infected ({why})"))
        facts.worsen(Disposition.QUARANTINE)
        return note("virus", f"kept back: {why}")
    if scan.stopped_early:
        # Otherwise the test word would carry any virus past: rspamd asks ClamAV no more then.
        return reject("virus", replies.LOOKS_LIKE_SPAM, "a test word for spam filters; not scanned")
    if scan.virus_scan_failed or not scan.judged:
        why = scan.why or "ClamAV does not answer"
        facts.fields.append(_line("X-Virus-Status", f"unknown, not looked at ({why})"))
        return note("virus", f"not looked at: {why}")
    return None


def disposition_of(score: float, content: Content) -> Disposition:
    """What becomes of a message that is taken, by its score alone."""
    if _reaches(score, content.quarantine_score):
        return Disposition.QUARANTINE
    if _reaches(score, content.junk_score):
        return Disposition.JUNK
    return Disposition.MARK if _reaches(score, content.mark_score) else Disposition.DELIVER


def score_fields(scan: ScanResult, content: Content) -> list[bytes]:
    """The fields that tell the score, whole lines."""
    is_spam = _reaches(scan.score, content.mark_score)
    stars = "*" * max(0, min(MAX_STARS, int(scan.score)))
    rules = "".join(f"\r\n\t{_shown(symbol)}" for symbol in scan.symbols[:MAX_SYMBOLS_SHOWN])
    head = f"{'Yes' if is_spam else 'No'}, score={scan.score:.1f} required={content.mark_score}"
    fields = [
        _line("X-Spam-Score", f"{scan.score:.1f}"),
        f"X-Spam-Status: {head}{rules}\r\n".encode("ascii", "replace"),
    ]
    if stars:
        fields.append(_line("X-Spam-Level", stars))
    if is_spam:
        fields.append(_line("X-Spam-Flag", "YES"))
    return fields


def _reaches(score: float, threshold: int) -> bool:
    """0 is never reached."""
    return threshold > 0 and score >= threshold


def _tag_subject(facts: Facts, rules: Rules) -> None:
    """Relay domains have no Junk folder here: their users see the mark in the subject."""
    tag = rules.settings.content.subject_tag
    goes_on = any(recipient.domain_key in rules.relay_domains for recipient in facts.recipients)
    if not tag or not goes_on:
        return
    word = tag.encode("ascii", "ignore")
    head = _head(facts)
    if not word:
        return
    if _SUBJECT.search(head):
        facts.new_head = _SUBJECT.sub(lambda found: found[0] + word + b" ", head, count=1)
    else:
        facts.new_head = head + b"Subject: " + word + b"\r\n"


def _head(facts: Facts) -> bytes:
    if facts.new_head is not None:
        return facts.new_head
    return facts.message.head if facts.message is not None else b""


def _line(name: str, value: str) -> bytes:
    """A field in one line; what does not belong there is replaced."""
    return f"{name}: {_shown(value)}\r\n".encode("ascii")


def _shown(text: str) -> str:
    return "".join(c if " " <= c <= "~" else "?" for c in text)[:900]
