"""Which reports are due after an attempt, and the reports themselves (RFC 3461 §5, RFC 3464).

Never to the null reverse-path: a report about a report would go round for ever. Nor to a sender
whose domain says that the message was not from there (SPF): strangers get no letters that they
did not cause. Nothing that could have been refused at RCPT comes here.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from appliance.mail import dsn
from appliance.mail.address import Address
from appliance.mail.dsn import Fate, Kind, Original
from appliance.mail.envelope import Envelope, Notify, Recipient
from appliance.mail.message import split_head
from appliance.spool.model import NewMessage, QueuedMessage

_WISHES = {
    Kind.FAILED: Notify.FAILURE,
    Kind.DELAYED: Notify.DELAY,
    Kind.RELAYED: Notify.SUCCESS,
    Kind.DELIVERED: Notify.SUCCESS,
}


@dataclass(frozen=True, slots=True)
class Reporter:
    """Who reports, and until when messages are tried."""

    hostname: str
    now: datetime
    final_try_at: datetime | None = None


def wanted(kind: Kind, message: QueuedMessage, fates: Sequence[Fate]) -> tuple[Fate, ...]:
    """Those of the fates that the sender wants to hear of."""
    if message.envelope.mail_from is None or message.no_reports:
        return ()
    return tuple(fate for fate in fates if fate.recipient.wants(_WISHES[kind]))


def report(
    kind: Kind,
    queued: QueuedMessage,
    fates: tuple[Fate, ...],
    *,
    head: bytes,
    content: bytes,
    report_id: str,
    reporter: Reporter,
) -> NewMessage:
    """The report as a message for the queue. `head` is the message's beginning; `content` all of
    it, or empty when it is too large to be sent back."""
    sender = queued.envelope.mail_from
    if sender is None:
        raise ValueError("no report goes to the null reverse-path")
    original = Original(
        envelope=queued.envelope,
        queue_id=queued.queue_id,
        arrived_at=queued.received_at,
        head=split_head(head)[0],
        content=content,
    )
    body = dsn.build(
        kind,
        original,
        fates,
        hostname=reporter.hostname,
        report_id=report_id,
        now=reporter.now,
        final_try_at=reporter.final_try_at,
    )
    return to_sender(sender, body, report_id=report_id, now=reporter.now)


def to_sender(sender: Address, body: bytes, *, report_id: str, now: datetime) -> NewMessage:
    """A finished report for the queue: from `<>`, and nobody is told if it cannot be delivered."""
    return NewMessage(
        queue_id=report_id,
        envelope=Envelope(
            None,
            (Recipient(sender, (Notify.NEVER,)),),
            smtputf8=not sender.is_ascii,
            eight_bit=not body.isascii(),
        ),
        received_at=now,
        size=len(body),
        body=body,
        direction="report",
    )
