"""From the results of an attempt to what is recorded and reported. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from appliance.mail.dsn import Fate
from appliance.relay import reasons
from appliance.relay.reasons import DeliveryTrouble
from appliance.relay.say import next_step
from appliance.relay.smtp_out import Result
from appliance.spool import schedule
from appliance.spool.model import Outcome, QueuedMessage, QueuedRecipient, State
from appliance.spool.schedule import Plan


@dataclass(slots=True)
class Judgement:
    """The attempt's outcomes, and who is to be reported in which way."""

    outcomes: list[Outcome] = field(default_factory=list)
    failed: list[Fate] = field(default_factory=list)
    delayed: list[Fate] = field(default_factory=list)
    relayed: list[Fate] = field(default_factory=list)


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
    found = Judgement()
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
        _report(found, entry, state, result, _fate(entry, state, result, say, host))
    due = schedule.delay_notice_is_due(
        plan, received_at=message.received_at, now=now, notified=message.delay_notified
    )
    if not due:
        found.delayed.clear()
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
        status = "5.4.7" if not result.permanent else "5" + status[1:]  # RFC 3463: expired
    told = f"{say} {next_step(say)}" if state is State.BOUNCED else say
    return Fate(entry.recipient, status, told.rstrip(), result.reply, host if result.reply else "")


def _report(
    found: Judgement, entry: QueuedRecipient, state: State, result: Result, fate: Fate
) -> None:
    if state is State.BOUNCED:
        found.failed.append(fate)
    elif state is State.DEFERRED:
        found.delayed.append(fate)
    elif result.relayed_without_dsn:
        found.relayed.append(fate)
