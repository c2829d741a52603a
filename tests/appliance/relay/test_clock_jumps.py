"""The wall clock jumps, an hour either way, ten days back: nothing is lost, doubled or stuck."""

from __future__ import annotations

import contextlib
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from appliance.base.clock import FakeClock
from appliance.spool.store import Spool
from tests.support.relay_box import RelayBox
from tests.support.smtp_client import SmtpClient
from tests.support.smtp_sink import Plan, SmtpSink
from tests.support.wait import TimedOut, wait_until

HOUR, DAY = 3600.0, 86_400.0
JUMPS = (HOUR, -HOUR, -10 * DAY)
RETRY_SECONDS = 300


def story(folder: Path, jumps: Sequence[float], *, patience_seconds: float = 30) -> None:
    """Accept and put off, jump, accept more; after two pauses' time all is there, once."""
    clock, sent = FakeClock(), set[str]()
    with SmtpSink() as sink:
        settings = {
            "queue.retry_seconds": [RETRY_SECONDS],
            "mail.relay_domains": [f"example.org | {sink.address}"],
        }

        def send(box: RelayBox) -> None:
            number = f"m{len(sent)}"
            body = f"Message-ID: <{number}@client.example>\r\n\r\nx\r\n".encode()
            with SmtpClient("127.0.0.1", box.port()) as client:
                answer = client.send_message("a@client.example", ["b@example.org"], body)
            assert answer.code == 250, answer
            sent.add(number)

        def put_off(box: RelayBox) -> bool:
            """Whether all that waits was tried, and nothing is under way."""
            untried = "SELECT count(*) FROM recipients WHERE attempts = 0 OR next_attempt_at <= ?"
            at = clock.now().timestamp()
            found: int = box.run(
                box.shop.spool.look(lambda db: db.execute(untried, (at,)).fetchone()[0])
            )
            return not found

        def arrived() -> Counter[str]:
            return Counter(
                found[1].decode()
                for one in list(sink.messages)
                if (found := re.search(rb"Message-ID: <(.*?)@", one.data))
            )

        with RelayBox(folder, settings, clock=clock) as box:

            def pass_time(seconds: float) -> None:
                clock.advance(seconds)
                box.run(_wake(box))

            for jump in jumps:
                sink.plan = Plan(recipient="450 4.2.0 come back later")
                for _ in range(5):
                    send(box)
                wait_until(lambda: put_off(box), what="all put off")
                clock.jump(jump)
                box.run(_wake(box))
                for _ in range(5):
                    send(box)
                wait_until(lambda: put_off(box), what="all put off")
                sink.plan = Plan()
                for last in (False, True):
                    pass_time(RETRY_SECONDS * 1.1 + 1)
                    with contextlib.nullcontext() if last else contextlib.suppress(TimedOut):
                        wait_until(
                            lambda: sent <= arrived().keys(),
                            what="all that was accepted",
                            timeout_seconds=patience_seconds if last else 2,
                        )
            assert not [m for m in sink.messages if not m.mail_from], "something was returned"
            assert set(arrived().values()) == {1}
            assert arrived().keys() == sent


async def _wake(box: RelayBox) -> None:
    box.worker.wake()


@pytest.mark.full
def test_nothing_is_lost_doubled_or_stuck_when_the_clock_jumps(tmp_path: Path) -> None:
    story(tmp_path, JUMPS)


@pytest.mark.full
def test_the_story_sees_a_queue_that_waits_for_the_old_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def nothing(self: Spool, *_: object) -> int:
        return 0

    monkeypatch.setattr(Spool, "pull_in", nothing)
    with pytest.raises(TimedOut):
        story(tmp_path, [-10 * DAY], patience_seconds=3)


@pytest.mark.full
def test_a_start_pulls_in_what_was_planned_with_a_clock_ahead(tmp_path: Path) -> None:
    """The clock was set back while the relay was not running."""
    clock = FakeClock()
    with SmtpSink() as sink:
        settings = {
            "queue.retry_seconds": [RETRY_SECONDS],
            "mail.relay_domains": [f"example.org | {sink.address}"],
        }
        sink.plan = Plan(recipient="450 4.2.0 come back later")
        with RelayBox(tmp_path, settings, clock=clock) as box:
            with SmtpClient("127.0.0.1", box.port()) as client:
                client.send_message("a@client.example", ["b@example.org"], b"Subject: x\r\n\r\n")
            wait_until(lambda: box.shop.counters["deferred"], what="it is put off")
        sink.plan = Plan()
        clock.jump(-10 * DAY)
        with RelayBox(tmp_path, settings, clock=clock):
            sink.wait_for_messages(1, timeout_seconds=20)
