"""After an attempt: put down what it did, report to the sender, write the log.

One report tells of all the recipients of a message that failed together: what is to be reported
waits, in hand, for the message's other parcels, a short while at most.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from appliance.mail.dsn import MAX_RETURNED_BYTES, Kind
from appliance.relay import outcome, rewriting, signing
from appliance.relay.destinations import Destination, Roster
from appliance.relay.outcome import Judgement
from appliance.relay.shop import Shop
from appliance.relay.smtp_out import Result
from appliance.spool import bounce, schedule
from appliance.spool.bounce import Reporter
from appliance.spool.model import NewMessage, QueuedMessage, SpoolFailed, State

RECORD_AGAIN_SECONDS = 2.0
WAIT_FOR_OTHERS_SECONDS = 15.0
_TOGETHER = (Kind.FAILED, Kind.DELAYED)
_EVENTS = {State.DELIVERED: "delivered", State.DEFERRED: "deferred"}
_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Held:
    """Outcomes of one message that wait to be recorded with its others."""

    message: QueuedMessage
    judgement: Judgement
    timer: asyncio.TimerHandle


class Clerk:
    """Shared by all lanes."""

    def __init__(self, shop: Shop, roster: Roster, on_room: Callable[[Destination], None]) -> None:
        self._shop = shop
        self._roster = roster
        self._on_room = on_room
        self._held: dict[int, Held] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def close(self) -> None:
        """Put down what still waits."""
        for number in list(self._held):
            self._release(number)
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def finish(
        self,
        message: QueuedMessage,
        results: Sequence[Result],
        destination: Destination,
        host: str,
        *,
        after: "asyncio.Task[None] | None" = None,
    ) -> None:
        """Record, report and log; tried until the disk takes it, for it has happened."""
        shop = self._shop
        if after is not None:
            await after
        judgement = outcome.judge(
            message,
            results,
            plan=shop.plan,
            now=shop.clock.now(),
            host=host,
            route=str(destination.route),
        )
        try:
            if self._is_for_later(message, judgement):
                message = self._hold(message, judgement)
            elif held := self._take_held(message.id):
                judgement.take(held.judgement)
                message = replace(message, recipients=tuple(judgement.recipients))
            if judgement.outcomes:
                await self._put_down(message, judgement)
        finally:
            self._roster.finish(message)
            self._on_room(destination)
            held = self._held.get(message.id)
            if held and self._roster.of_message(message.id) <= len(held.message.recipients):
                self._release(message.id)  # nobody else is on the way any more

    # Waiting for a message's other parcels

    def _is_for_later(self, message: QueuedMessage, judgement: Judgement) -> bool:
        """Whether something is to be reported while others of the message are on their way."""
        if not judgement.fates or not any(
            bounce.wanted(kind, message, judgement.fates.get(kind, ())) for kind in _TOGETHER
        ):
            return False
        held = self._held.get(message.id)
        waiting = len(held.judgement.recipients) if held is not None else 0
        return self._roster.of_message(message.id) > len(message.recipients) + waiting

    def _hold(self, message: QueuedMessage, judgement: Judgement) -> QueuedMessage:
        """Set aside what is to be reported; returns the message with the others."""
        part = judgement.cut(_TOGETHER)
        held = self._take_held(message.id)
        if held is not None:
            part.take(held.judgement)
        timer = asyncio.get_running_loop().call_later(
            WAIT_FOR_OTHERS_SECONDS, self._release, message.id
        )
        # Without its body: that is freed with the rest.
        aside = replace(message, recipients=tuple(part.recipients), body=None)
        self._held[message.id] = Held(aside, part, timer)
        return replace(message, recipients=tuple(judgement.recipients))

    def _take_held(self, number: int) -> Held | None:
        held = self._held.pop(number, None)
        if held is not None:
            held.timer.cancel()
        return held

    def _release(self, number: int) -> None:
        """The others take too long."""
        held = self._take_held(number)
        if held is not None:
            task = asyncio.create_task(self._record_held(held))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _record_held(self, held: Held) -> None:
        try:
            await self._put_down(held.message, held.judgement)
        finally:
            self._roster.finish(held.message)

    # Putting down

    async def _put_down(self, message: QueuedMessage, judgement: Judgement) -> None:
        shop = self._shop
        reports = await self._reports(message, judgement)
        while True:
            try:
                queued = await shop.spool.record(
                    message,
                    judgement.outcomes,
                    reports=reports,
                    delay_notified=Kind.DELAYED in judgement.fates,
                )
                break
            except SpoolFailed as error:
                shop.log.event(message.queue_id, "not-recorded", why=error.finding.fix)
                await asyncio.sleep(RECORD_AGAIN_SECONDS)
        self._write_log(message, judgement)
        for report in queued:
            shop.log.event(
                report.queue_id,
                "queued",
                from_="<>",
                to=f"<{message.envelope.sender}>",
                size=report.size,
                direction="report",
                about=message.queue_id,
            )

    async def _reports(self, message: QueuedMessage, judgement: Judgement) -> list[NewMessage]:
        shop = self._shop
        due = [
            (kind, fates)
            for kind, candidates in judgement.fates.items()
            if (fates := bounce.wanted(kind, message, candidates))
        ]
        if not due:
            return []
        head, content = await self._returned(message)
        reporter = Reporter(
            shop.hostname,
            shop.clock.now(),
            schedule.final_attempt(shop.plan, message.received_at),
        )
        return [
            signing.signed(
                shop,
                rewriting.to_real_sender(
                    shop,
                    bounce.report(
                        kind,
                        message,
                        fates,
                        head=head,
                        content=content,
                        report_id=shop.ids.next(),
                        reporter=reporter,
                    ),
                ),
            )
            for kind, fates in due
        ]

    async def _returned(self, message: QueuedMessage) -> tuple[bytes, bytes]:
        """The message's beginning, and all of it where that is short. A report goes out even
        when the message cannot be read any more."""
        try:
            head = await self._shop.spool.head(message)
        except (LookupError, OSError) as error:
            _log.warning("the message %s cannot be returned: %s", message.queue_id, error)
            return b"", b""
        size = message.size - message.skip + len(message.trace)
        return head, head if size <= MAX_RETURNED_BYTES else b""

    def _write_log(self, message: QueuedMessage, judgement: Judgement) -> None:
        for entry, found in zip(judgement.recipients, judgement.outcomes, strict=True):
            event = _EVENTS.get(found.state, "bounced")
            self._shop.counters[event] += 1
            self._shop.log.event(
                message.queue_id,
                event,
                to=f"<{entry.recipient.address}>",
                host=found.host,
                route=found.route,
                status=found.status,
                say=found.say,
                reply=found.reply,
                next=found.next_attempt_at.isoformat(timespec="seconds")
                if found.next_attempt_at
                else None,
            )
