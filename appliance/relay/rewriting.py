"""Station 8: one accepted message becomes what is really sent (FEATURES R1, R2, A2, A3).

A message stays one where nothing is rewritten. Else it becomes, in one transaction:

* the message itself, for recipients that stay as they are and for aliases that end in mailboxes;
* one for each alias that leads out of the box, with `Delivered-To:` in front. When it comes back
  with that field for the same alias, it is refused: no message makes a second round. Its envelope
  sender is rewritten (SRS) unless it is one of ours, so that SPF holds and bounces come home;
* copies of all mail. They bear the null sender and NOTIFY=NEVER, so nobody hears of their
  failure, and a mark. Neither a copy nor a message with the null sender (a report, a notice) is
  copied, so copies cannot breed. The mark is signed: without the key nobody can escape the copy.

They share their content. The first one has the id that the client was told, the others
`<id>-1`, `<id>-2` ...

What senders asked of reports is passed on after RFC 3461 §5.2.7: whole to a single target; to
several without SUCCESS, which is answered by an "expanded" report.
"""

import hmac
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from appliance.mail import dsn, message
from appliance.mail import reply as replies
from appliance.mail.address import Address
from appliance.mail.dsn import Fate, Kind, Original
from appliance.mail.envelope import Envelope, Notify, Recipient
from appliance.policy import relay_access, rewrite, srs
from appliance.policy.rewrite import Expansion, Target
from appliance.policy.rules import Rules
from appliance.policy.verdict import Facts, Station, Step, Verdict, defer, reject, steps_to_json
from appliance.relay.shop import Shop
from appliance.spool import bounce
from appliance.spool.model import NewMessage

MAX_RECIPIENTS = 10_000  # of one message with all its aliases followed
COPY_MARK = "X-Pennypost-Copy-Of"
DELIVERED = "Delivered-To"


@dataclass(frozen=True, slots=True)
class Way:
    """One recipient as it goes on, and the one that the client named."""

    recipient: Recipient
    origin: Recipient
    step: Step | None = None


@dataclass(frozen=True, slots=True)
class Bundle:
    """What goes on as one message. `alias` leads out of the box; `copy_of` says what was copied."""

    mail_from: Address | None
    ways: tuple[Way, ...]
    alias: str = ""
    copy_of: str = ""


@dataclass(frozen=True, slots=True)
class Plan:
    """All that becomes of a message; no bundles: it stays as it is. Or why it is refused."""

    bundles: tuple[Bundle, ...] = ()
    expanded: tuple[Recipient, ...] = ()  # wanted to hear of success, and went to several
    refusal: Verdict | None = None


def plan(shop: Shop, facts: Facts, envelope: Envelope) -> Plan:
    """Follow all recipients to their ends."""
    rules = shop.rules
    copy_to = _copy_address(shop, facts, envelope)
    aliases = bool(len(rules.aliases) or rules.accounts)
    if not aliases and not copy_to and envelope.mail_from is not None:
        return Plan()  # the usual case on a relay: nothing to look up
    following = _Following(shop, facts, envelope)
    for recipient in envelope.recipients:
        following.take(recipient)
        if following.refusal is not None:
            return Plan(refusal=following.refusal)
    bundles = following.bundles()
    if copy_to:
        bundles += _copies(rules, facts, copy_to, envelope, bundles)
    if not following.rewritten and not copy_to:
        return Plan()
    return Plan(tuple(bundles), tuple(following.expanded))


class _Following:
    """The recipients of one message on their ways."""

    def __init__(self, shop: Shop, facts: Facts, envelope: Envelope) -> None:
        self._shop = shop
        self._envelope = envelope
        self._head = facts.message.head if facts.message is not None else b""
        self._stay: list[Way] = []
        self._leave: dict[tuple[str, Address | None], list[Way]] = {}
        self._named = {
            target.key
            for recipient in envelope.recipients
            for target in self._as_named(shop.rules.expand(recipient.address))
        }
        self._met: set[rewrite.Key] = set()
        self._count = 0
        self.expanded: list[Recipient] = []
        self.rewritten = False
        self.refusal: Verdict | None = None

    @staticmethod
    def _as_named(found: Expansion) -> tuple[Target, ...]:
        return () if found.is_alias else found.targets

    def take(self, recipient: Recipient) -> None:
        """Find the ways of one recipient."""
        home = come_home(self._shop, self._envelope, recipient.address)
        if home is not None:
            self.rewritten = True
            step = _step(recipient.address, home, "a bounce of a forward")
            self._stay.append(Way(replace(recipient, address=home), recipient, step))
            return
        found = self._shop.rules.expand(recipient.address)
        if not found.is_alias:
            self._take_named(recipient, found)
            return
        self.refusal = relay_access.where_it_ends(self._shop.rules, recipient.address)
        self._count += len(found.targets)
        if self._count > MAX_RECIPIENTS:
            why = f"more than {MAX_RECIPIENTS} recipients behind the aliases"
            self.refusal = defer("alias", replies.TOO_MANY_RECIPIENTS, why)
        if self.refusal is None:
            self._take_alias(recipient, found)

    def bundles(self) -> list[Bundle]:
        """The messages that go on, the one that stays first."""
        stay = [Bundle(self._envelope.mail_from, tuple(self._stay))] if self._stay else []
        return stay + [
            Bundle(sender, tuple(ways), alias) for (alias, sender), ways in self._leave.items()
        ]

    def _take_named(self, recipient: Recipient, found: Expansion) -> None:
        """A mailbox is written to once, under whatever names the client gave it."""
        for target in found.targets:
            if target.kind is rewrite.Kind.MAILBOX:
                if target.key in self._met:
                    self.rewritten = True
                    return
                self._met.add(target.key)
        self._stay.append(Way(recipient, recipient))

    def _take_alias(self, recipient: Recipient, found: Expansion) -> None:
        self.rewritten = True
        alone = len(found.targets) == 1
        if not alone and recipient.wants(Notify.SUCCESS):
            self.expanded.append(recipient)
        for target in found.targets:
            if target.key in self._named or target.key in self._met:
                continue
            heir = inherit(recipient, target.address, alone=alone)
            if target.kind is rewrite.Kind.MAILBOX:
                self._met.add(target.key)
                step = _step(recipient.address, target.address, _via(target))
                self._stay.append(Way(heir, recipient, step))
            else:
                self._leave_by(recipient, heir, target)

    def _leave_by(self, recipient: Recipient, heir: Recipient, target: Target) -> None:
        alias = str(recipient.address)
        if _was_here(self._head, alias):
            why = f"it has left here for {alias} before"
            self.refusal = reject("alias", replies.FORWARDED_BEFORE, why)
            return
        self._met.add(target.key)
        sender = self._envelope.mail_from
        why = _via(target)
        if target.kind is rewrite.Kind.OUTSIDE:
            sender = self._sender_for(recipient.address)
            if sender != self._envelope.mail_from:
                why += f"; the sender is rewritten to {sender}"
        way = Way(heir, recipient, _step(recipient.address, target.address, why))
        self._leave.setdefault((alias, sender), []).append(way)

    def _sender_for(self, alias: Address) -> Address | None:
        """Under which sender a forward leaves. Its bounces come to the alias's own domain, for
        that one leads here: a main domain may be invented."""
        sender, rules = self._envelope.mail_from, self._shop.rules
        if sender is None or not self._shop.tools.srs_secret:
            return sender
        if sender.domain_key in rules.mail_domains or sender.domain_key in rules.relay_domains:
            return sender
        return srs.forward(
            sender,
            domain=alias.domain_key or rules.main_domain,
            secret=self._shop.tools.srs_secret,
            now=self._shop.clock.now(),
        )


def come_home(shop: Shop, envelope: Envelope, address: Address) -> Address | None:
    """Whom a bounce to one of our rewritten senders is for; None for all else."""
    rules, secret = shop.rules, shop.tools.srs_secret
    if envelope.mail_from is not None or not secret:
        return None
    domains = rules.mail_domains | rules.relay_domains.keys()
    return srs.reverse(address, domains=domains, secret=secret, now=shop.clock.now())


def to_real_sender(shop: Shop, report: NewMessage) -> NewMessage:
    """A report of our own about a forward goes to the sender before it was rewritten."""
    envelope = report.envelope
    recipients = tuple(
        replace(entry, address=come_home(shop, envelope, entry.address) or entry.address)
        for entry in envelope.recipients
    )
    return replace(report, envelope=replace(envelope, recipients=recipients))


def inherit(origin: Recipient, address: Address, *, alone: bool) -> Recipient:
    """What a target takes over of the sender's wishes (RFC 3461 §5.2.7.2, §5.2.7.3 (c))."""
    orcpt = origin.orcpt
    if not orcpt and origin.address.is_ascii and origin.address.domain:
        orcpt = f"rfc822;{dsn.encode_xtext(str(origin.address))}"  # §5.2.1
    notify = origin.notify
    if not alone and Notify.SUCCESS in notify:
        notify = tuple(w for w in notify if w is not Notify.SUCCESS) or (Notify.NEVER,)
    return Recipient(address, notify, orcpt)


# Copies


def _copy_address(shop: Shop, facts: Facts, envelope: Envelope) -> Address | None:
    """Who gets a copy of this message, if anybody."""
    wanted = (
        shop.settings.rules.copy_outgoing if facts.is_ours else shop.settings.rules.copy_incoming
    )
    if not wanted or envelope.mail_from is None:
        return None
    if facts.message is not None and _is_our_copy(shop, facts.message.head):
        facts.steps.append(Step(Station.REWRITE, "copy: none", "a copy of ours has come back"))
        return None
    local, at, domain = wanted.rpartition("@")
    if not at:
        return Address(domain, shop.rules.main_domain, shop.rules.main_domain)
    return Address(local, domain, domain)


def _copies(
    rules: Rules, facts: Facts, copy_to: Address, envelope: Envelope, bundles: Sequence[Bundle]
) -> list[Bundle]:
    """The copy, unless all its readers get the message anyway."""
    kept = {
        target.key
        for bundle in bundles
        for way in bundle.ways
        for target in rules.expand(way.recipient.address).targets
    }
    direction = "outgoing" if facts.is_ours else "incoming"
    what = f"copy of all {direction} mail"
    found = rules.expand(copy_to)
    if not found.targets:
        why = found.trouble or "nobody has this address"
        facts.steps.append(Step(Station.REWRITE, f"copy → {copy_to}: not made", why))
        return []
    ways = tuple(
        Way(
            Recipient(target.address, (Notify.NEVER,)),
            Recipient(copy_to, (Notify.NEVER,)),
            Step(Station.REWRITE, f"copy → {target.address}", what),
        )
        for target in found.targets
        if target.key not in kept
    )
    return [Bundle(None, ways, copy_of=direction)] if ways else []


def _mark(shop: Shop, queue_id: str) -> str:
    digest = hmac.digest(shop.tools.srs_secret, f"copy of {queue_id}".encode(), "sha256")
    return f"{queue_id} {digest[:12].hex()}"


def _is_our_copy(shop: Shop, head: bytes) -> bool:
    marks = (value.split(" ")[0] for value in message.field_values(head, COPY_MARK)[:10])
    given = set(message.field_values(head, COPY_MARK)[:10])
    return bool(shop.tools.srs_secret) and any(_mark(shop, mark) in given for mark in marks)


# The messages


def messages(shop: Shop, facts: Facts, base: NewMessage, made: Plan) -> tuple[NewMessage, ...]:
    """What is to be queued, in one transaction. Raises OSError when a seal cannot read the body."""
    if not made.bundles:
        return (base,)
    ids = _ids(base.queue_id)
    found = [_message(shop, facts, base, bundle, next(ids)) for bundle in made.bundles]
    if made.expanded and base.envelope.mail_from is not None:
        found.append(_expanded_report(shop, facts, base, made.expanded))
    return tuple(found)


def _ids(first: str) -> Iterator[str]:
    yield first
    number = 0
    while True:
        number += 1
        yield f"{first}-{number}"


def _message(
    shop: Shop,
    facts: Facts,
    base: NewMessage,
    bundle: Bundle,
    queue_id: str,
) -> NewMessage:
    recipients = tuple(way.recipient for way in bundle.ways)
    old = base.envelope
    plain = all(entry.address.is_ascii for entry in recipients)
    envelope = replace(
        old,
        mail_from=bundle.mail_from,
        recipients=recipients,
        smtputf8=old.smtputf8 or not plain,
    )
    front = b""
    if bundle.alias:
        front = _line(DELIVERED, bundle.alias)
    elif bundle.copy_of:
        envelope = replace(envelope, ret="", envid="")
        front = _line(COPY_MARK, _mark(shop, base.queue_id))
    if bundle.alias and shop.seal is not None:
        front = shop.seal(facts, front + base.trace + _content(base)[base.skip :]) + front
    return replace(
        base,
        queue_id=queue_id,
        envelope=envelope,
        trace=front + base.trace,
        direction="copy" if bundle.copy_of else base.direction,
        steps=tuple(_steps(facts.steps, way) for way in bundle.ways),
    )


def _content(base: NewMessage) -> bytes:
    return base.body_file.read_back() if base.body_file is not None else base.body or b""


def _steps(steps: Iterable[Step], way: Way) -> str:
    """The trace of one recipient: what was found for the one that the client named, and where
    it went from there."""
    name = str(way.origin.address)
    own = [step for step in steps if step.recipient in ("", name)]
    return steps_to_json([*own, way.step] if way.step is not None else own)


def _expanded_report(
    shop: Shop, facts: Facts, base: NewMessage, recipients: Sequence[Recipient]
) -> NewMessage:
    """RFC 3461 §5.2.7.3 (c): the alias is answered for, its targets are not."""
    sender, head = base.envelope.mail_from, b""
    if sender is None:
        raise ValueError("no report goes to the null reverse-path")
    if facts.message is not None:
        head = facts.new_head or facts.message.head
    report_id, now = shop.ids.next(), shop.clock.now()
    say = "It was passed on to all who read this address."
    body = dsn.build(
        Kind.EXPANDED,
        Original(base.envelope, base.queue_id, base.received_at, head),
        tuple(Fate(recipient, "2.1.5", say) for recipient in recipients),
        hostname=shop.hostname,
        report_id=report_id,
        now=now,
    )
    return bounce.to_sender(sender, body, report_id=report_id, now=now)


# Small things


def _was_here(head: bytes, alias: str) -> bool:
    return any(
        value.strip("<>").lower() == alias.lower()
        for value in message.field_values(head, DELIVERED)
    )


def _line(name: str, value: str) -> bytes:
    safe = "".join(c if c.isprintable() and c not in "<>" else "?" for c in value)
    return f"{name}: {safe[:400]}\r\n".encode()


def _step(origin: Address, address: Address, why: str) -> Step:
    return Step(Station.REWRITE, f"{origin} → {address}", why)


def _via(target: Target) -> str:
    return f"alias {' → '.join(target.via)}"
