"""From the results of an attempt to what is recorded and reported. Pure."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from appliance.mail.dsn import Fate, Kind
from appliance.relay import reasons
from appliance.relay.reasons import DeliveryTrouble
from appliance.relay.say import next_step
from appliance.relay.smtp_out import Result
from appliance.spool import schedule
from appliance.spool.model import Outcome, QueuedMessage, QueuedRecipient, State
from appliance.spool.schedule import Plan


@dataclass(slots=True)
class Judgement:
    """The attempt's outcomes, recipient by recipient, and who is to be reported in which way."""

    recipients: list[QueuedRecipient] = field(default_factory=list)
    outcomes: list[Outcome] = field(default_factory=list)
    fates: dict[Kind, list[Fate]] = field(default_factory=dict)

    def take(self, other: "Judgement") -> None:
        """Put another one's content in with this one's."""
        self.recipients += other.recipients
        self.outcomes += other.outcomes
        for kind, fates in other.fates.items():
            self.fates.setdefault(kind, []).extend(fates)

    def cut(self, kinds: Collection[Kind]) -> "Judgement":
        """Take out what is to be reported in one of these ways."""
        out = Judgement(fates={k: self.fates.pop(k) for k in kinds if k in self.fates})
        states = {_STATES[kind] for kind in out.fates}
        pairs = list(zip(self.recipients, self.outcomes, strict=True))
        self.recipients, self.outcomes = [], []
        for recipient, outcome in pairs:
            whose = out if outcome.state in states else self
            whose.recipients.append(recipient)
            whose.outcomes.append(outcome)
        return out


_FULL, _FULL_FOR_GOOD = "4.2.2", "5.2.2"
_STATES = {Kind.FAILED: State.BOUNCED, Kind.DELAYED: State.DEFERRED}


def judge(
    message: QueuedMessage,
    results: Sequence[Result],
    *,
    plan: Plan,
    now: datetime,
    host: str,
    route: str,
) -> Judgement:
    """What each recipient's result means: delivered, once more, or given up."""
    found = Judgement(list(message.recipients))
    tell_delay = schedule.delay_notice_is_due(
        plan, received_at=message.received_at, now=now, notified=message.delay_notified
    )
    for entry, result in zip(message.recipients, results, strict=True):
        next_at = _next_attempt(message, entry, result, plan, now)
        state = _state(result, next_at)
        say = result.say
        if state is State.BOUNCED and not result.permanent:
            say = reasons.gave_up(say, (now - message.received_at).total_seconds())
        found.outcomes.append(
            Outcome(
                recipient_id=entry.id,
                state=state,
                say=say,
                reply=result.reply,
                host=host,
                status=result.status,
                route=route,
                next_attempt_at=next_at,
            )
        )
        kind = _kind(state, result, tell_delay=tell_delay)
        if kind is not None:
            fate = _fate(entry, state, result, say, host)
            found.fates.setdefault(kind, []).append(fate)
    return found


def results_of(trouble: DeliveryTrouble, recipients: int) -> list[Result]:
    """The same trouble for everybody."""
    result = Result(trouble.say, trouble.reply, trouble.status, permanent=trouble.permanent)
    return [result] * recipients


def _next_attempt(
    message: QueuedMessage, entry: QueuedRecipient, result: Result, plan: Plan, now: datetime
) -> datetime | None:
    if result.delivered or result.permanent:
        return None
    return schedule.next_attempt(
        plan, received_at=message.received_at, now=now, attempts=entry.attempts + 1
    )


def _state(result: Result, next_at: datetime | None) -> State:
    if result.delivered:
        return State.DELIVERED
    return State.DEFERRED if next_at is not None else State.BOUNCED


def _fate(entry: QueuedRecipient, state: State, result: Result, say: str, host: str) -> Fate:
    status = result.status or "4.0.0"
    if state is State.BOUNCED and status.startswith("4"):
        # RFC 3463 §3.3 and §3.5: that it is full says more than that it took too long.
        expired = _FULL_FOR_GOOD if status == _FULL else "5.4.7"
        status = expired if not result.permanent else "5" + status[1:]
    told = f"{say} {next_step(say)}" if state is State.BOUNCED else say
    return Fate(entry.recipient, status, told.rstrip(), result.reply, host if result.reply else "")


def _kind(state: State, result: Result, *, tell_delay: bool) -> Kind | None:
    """How it would be reported, if the sender wants to know."""
    if state is State.BOUNCED:
        return Kind.FAILED
    if state is State.DEFERRED:
        return Kind.DELAYED if tell_delay else None
    if result.is_final:
        return Kind.DELIVERED
    return Kind.RELAYED if result.relayed_without_dsn else None
