"""The mail path: from the final dot to the queue, top to bottom."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from appliance.mail import message, trace
from appliance.mail import reply as replies
from appliance.mail.envelope import Envelope, Recipient
from appliance.mail.esmtp import MailCommand
from appliance.mail.reply import Reply
from appliance.policy.chain import Chain
from appliance.policy.tools import Tools
from appliance.policy.verdict import (
    Action,
    Disposition,
    Facts,
    Stage,
    Station,
    Verdict,
    defer,
    reject,
    steps_to_json,
)
from appliance.relay import rewriting, signing, stages
from appliance.relay.data_reader import Content
from appliance.relay.shop import Shop
from appliance.spool.model import NewMessage, SpoolFailed


@dataclass(slots=True)
class Transaction:
    """One message on its way in, complete but for the verdict on its content."""

    queue_id: str
    facts: Facts
    envelope: Envelope
    content: Content
    extended: bool
    tls_version: str = ""
    tls_cipher: str = ""


async def accept_message(shop: Shop, transaction: Transaction) -> Reply:
    """Judge, trace, queue, and only then say 250 (RFC 5321 §6.1)."""
    facts, content, queue_id = transaction.facts, transaction.content, transaction.queue_id
    facts.queue_id = queue_id
    verdict = await judge(shop.chain, shop.tools, facts, content)
    if verdict.reply is not None:
        content.discard()
        to = ", ".join(str(entry.address) for entry in transaction.envelope.recipients)
        shop.refused(queue_id, facts, verdict, to=to)
        return _naming(verdict.reply, queue_id)
    plan = rewriting.plan(shop, facts, transaction.envelope)
    if plan.refusal is not None and plan.refusal.reply is not None:
        content.discard()
        shop.refused(queue_id, facts, plan.refusal)
        shop.tally.count(Station.REWRITE, plan.refusal.action)
        return _naming(plan.refusal.reply, queue_id)
    now = shop.clock.now()
    try:
        signature = await _signature(shop, facts, content)
    except OSError as error:
        content.discard()
        shop.log.event(queue_id, "not-stored", why=str(error), client=facts.client)
        return replies.TRY_AGAIN.naming(queue_id)
    base = NewMessage(
        queue_id=queue_id,
        envelope=transaction.envelope,
        received_at=now,
        size=content.size,
        trace=signature
        + trace_fields(shop, transaction, now)
        + b"".join(facts.fields)
        + (facts.new_head or b""),
        skip=len(content.head) if facts.new_head is not None else 0,
        held=facts.disposition is Disposition.QUARANTINE,
        no_reports=_may_be_forged(facts),
        steps=_steps(transaction),
        body=content.body(),
        body_file=content.hand_over(),
        direction="outgoing" if facts.is_ours else "incoming",
        client=facts.client,
        helo=facts.helo,
    )
    try:
        new = await _messages(shop, facts, base, plan)
        await shop.spool.put(*new)
    except SpoolFailed as error:
        shop.counters["storage_failures"] += 1
        shop.log.event(queue_id, "not-stored", why=error.finding.fix, client=facts.client)
        return replies.STORAGE_FULL if error.full else replies.TRY_AGAIN.naming(queue_id)
    shop.counters["accepted"] += 1
    shop.tally.count(Station.DELIVERY, Action.ACCEPT)
    for queued in new:
        _log(shop, queued, transaction)
    if facts.is_ours and shop.memories is not None:
        shop.memories.learn_correspondents(
            [str(entry.address) for entry in transaction.envelope.recipients]
        )
    for queued in new:
        if queued.held:
            note_brake(shop, facts, queued.queue_id)
    return replies.QUEUED.naming(queue_id)


def envelope(mail: MailCommand, recipients: Sequence[Recipient]) -> Envelope:
    """What the client's commands make."""
    return Envelope(
        mail.mail_from,
        tuple(recipients),
        smtputf8=mail.smtputf8,
        eight_bit=mail.eight_bit,
        ret=mail.ret,
        envid=mail.envid,
    )


async def _signature(shop: Shop, facts: Facts, content: Content) -> bytes:
    """What our own people send is signed as it leaves (D4). Raises OSError."""
    if not facts.is_ours or not shop.signing_keys:
        return b""
    head = content.head if facts.new_head is None else facts.new_head
    return await signing.signature(shop, head, content.body_blocks, content.size)


async def _messages(
    shop: Shop, facts: Facts, base: NewMessage, plan: rewriting.Plan
) -> tuple[NewMessage, ...]:
    """What is to be queued. A forward of a large message is sealed away from the loop.

    Raises SpoolFailed.
    """
    try:
        if plan.bundles and base.body_file is not None:
            return await asyncio.to_thread(rewriting.messages, shop, facts, base, plan)
        return rewriting.messages(shop, facts, base, plan)
    except OSError as error:
        if base.body_file is not None:
            base.body_file.discard()
        raise SpoolFailed(str(error)) from error


def note_brake(shop: Shop, facts: Facts, queue_id: str) -> None:
    """Remember a message that is held for the brake's sake, so that a release finds it."""
    if facts.sent is None or not facts.sent.braked or shop.book is None:
        return
    shop.book.hold(facts.user, queue_id)
    shop.counters["braked"] += 1
    shop.log.event(queue_id, "held", user=facts.user, why=f"brake: {facts.sent.braked}")


def form_of(content: Content) -> Verdict | None:
    """What can be seen from the octets alone."""
    if content.trouble is not None:
        reply = replies.STORAGE_FULL
        return defer("storage", reply, f"the content could not be written: {content.trouble}")
    if content.unstuffer.bare_newline:
        return reject("newline", replies.BARE_NEWLINE, "a CR or LF alone in the content")
    if content.unstuffer.has_nul:
        return reject("nul", replies.NUL_IN_MESSAGE, "a NUL in the content")
    if content.head_too_big or message.count_fields(content.head) > message.MAX_HEADER_FIELDS:
        return reject("header", replies.HEADER_TOO_BIG, "the header is too big")
    return None


async def judge(chain: Chain, tools: Tools, facts: Facts, content: Content) -> Verdict:
    """The verdict on the content: on its form, then the chain's."""
    found = form_of(content)
    if found is not None:
        if tools.tally is not None:
            tools.tally.count(Station.SANITY, found.action)
        return found
    stages.show_content(facts, content)
    return await chain.run(Stage.CONTENT, facts, tools)


def trace_fields(shop: Shop, transaction: Transaction, now: datetime) -> bytes:
    """What we put in front of the message."""
    facts, envelope = transaction.facts, transaction.envelope
    recipients = envelope.recipients
    hop = trace.Hop(
        helo=facts.helo,
        client=facts.client,
        hostname=shop.hostname,
        queue_id=transaction.queue_id,
        extended=transaction.extended,
        tls_version=transaction.tls_version,
        tls_cipher=transaction.tls_cipher,
        authenticated=bool(facts.user),
        smtputf8=envelope.smtputf8,
        only_recipient=str(recipients[0].address) if len(recipients) == 1 else "",
    )
    return trace.received(hop, now)


def _may_be_forged(facts: Facts) -> bool:
    """The sender's domain says that its mail does not come from there: it is told nothing."""
    return not facts.is_ours and facts.spf is not None and facts.spf.result == "fail"


def _steps(transaction: Transaction) -> tuple[str, ...]:
    """What the ledger keeps of the trace, for each recipient."""
    steps = transaction.facts.steps
    if not any(step.recipient for step in steps):
        return (steps_to_json(steps),)
    names = [str(entry.address) for entry in transaction.envelope.recipients]
    return tuple(steps_to_json(s for s in steps if s.recipient in ("", name)) for name in names)


def _naming(reply: Reply, queue_id: str) -> Reply:
    """A refusal after DATA names the id, so that the administrator finds the line."""
    return reply.naming(f"({queue_id})")


def _log(shop: Shop, new: NewMessage, transaction: Transaction) -> None:
    recipients = new.envelope.recipients
    shop.log.event(
        new.queue_id,
        "queued",
        from_=f"<{new.envelope.sender}>",
        to=",".join(f"<{entry.address}>" for entry in recipients[:10]),
        recipients=len(recipients),
        size=new.size,
        direction=new.direction,
        client=new.client,
        helo=new.helo,
        tls=transaction.tls_version,
        port=transaction.facts.port.value,
        user=transaction.facts.user,
    )
