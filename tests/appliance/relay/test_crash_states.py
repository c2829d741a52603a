"""A power cut at any moment loses nothing that was acknowledged (FEATURES B1).

A relay is traced while it accepts, tries again, delivers to some, returns and deletes; each disk
that a cut may leave is opened, and every message acknowledged until then must be queued with its
content, or its end be in the ledger.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from appliance.base import control
from tests.support import crash_states
from tests.support.crash_states import Change
from tests.support.relay_process import RelayProcess
from tests.support.smtp_client import SmtpClient
from tests.support.smtp_sink import Plan, SmtpSink
from tests.support.spool_judge import Judge
from tests.support.wait import wait_until

MOST_A_CUT = 7  # states looked at in each cut; `soak` looks at all
LARGE = b"y" * 70_000  # above the threshold: a file of its own


@dataclass
class Story:
    """What the clients know: sent and acknowledged, and what the next hop took."""

    sent: dict[str, tuple[bytes, tuple[str, ...]]] = field(default_factory=dict)
    taken: set[tuple[str, str]] = field(default_factory=set)  # queue id, recipient
    changes: list[Change] = field(default_factory=list)


class Scene:
    """A traced relay, and those it talks to."""

    def __init__(self, folder: Path, sink: SmtpSink, broken: str) -> None:
        settings = {
            "mail.relay_domains": [f"example.org | {sink.address}"],
            "queue.retry_seconds": [1],
        }
        self.folder, self.sink, self.story = folder, sink, Story()
        self.relay = RelayProcess(
            folder,
            settings,
            module="tests.support.broken_relay",
            environment={"BROKEN": broken, "CHECKPOINT_PAGES": "60"},
            before=[*crash_states.STRACE, "-o", str(folder / "log1")],
        )
        self.logs = [folder / "log1"]
        self.relay.start()

    def again(self) -> None:
        """Stop and start: recovery and the folding of the log are part of it."""
        self.relay.stop()
        self.logs.append(self.folder / f"log{len(self.logs) + 1}")
        self.relay.before[-1] = str(self.logs[-1])
        self.relay.start()

    def send(self, *recipients: str, large: bool = False) -> str:
        addresses = tuple(f"{name}@example.org" for name in recipients)
        number = len(self.story.sent)
        body = b"Message-ID: <%d@client.example>\r\n\r\n%d\r\n" % (number, number)
        body += LARGE + b"\r\n" if large else b""
        with SmtpClient("127.0.0.1", self.relay.port) as client:
            answer = client.send_message("a@client.example", addresses, body)
        assert answer.code == 250, answer
        queue_id = answer.lines[-1].split()[-1]
        self.story.sent[queue_id] = (body, addresses)
        return queue_id

    def ask(self, verb: str, **arguments: Any) -> Any:
        return control.call(self.relay.socket_path, verb, arguments)

    def settle(self, waiting: int = 0) -> None:
        """Until so many are left in the queue, reports apart, and all of them were tried."""

        def settled() -> bool:
            items = self.ask("queue.list", limit=200)["items"]
            letters = [item for item in items if item["direction"] != "report"]
            tried = all(r["attempts"] for item in letters for r in item["recipients"])
            return tried and len(letters) <= waiting

        wait_until(settled, what="an emptier queue", every_seconds=0.05, timeout_seconds=20)

    def end(self) -> Story:
        self.relay.stop()
        by_number = {
            body.split(b"@")[0]: queue_id for queue_id, (body, _) in self.story.sent.items()
        }
        for one in self.sink.messages:
            number = one.data[one.data.index(b"Message-ID: <") :].split(b"@")[0]
            queue_id = by_number.get(number)
            if queue_id is not None:
                self.story.taken |= {(queue_id, address) for address in one.recipients}
        self.story.changes = crash_states.read_trace(self.logs, self.folder)
        seen = {change.name for change in self.story.changes if change.kind == "acknowledged"}
        assert seen == self.story.sent.keys()
        return self.story


def play(folder: Path, *, times: int, broken: str = "none") -> Story:
    """About ten messages each time."""
    with SmtpSink() as sink:
        scene = Scene(folder, sink, broken)
        for turn in range(times):
            sink.plan = Plan(
                recipients={
                    "later@example.org": "450 4.2.0 come back later",
                    "nobody@example.org": "550 5.1.1 no such user",
                }
            )
            for _ in range(3):
                scene.send("b")
            scene.send("b", large=True)
            scene.send("nobody")
            scene.send("nobody", "b", large=True)
            kept = [scene.send("later", "b"), scene.send("later", large=True)]
            gone = [scene.send("later"), scene.send("later", large=True)]
            scene.settle(waiting=4)
            scene.ask("queue.delete", ids=gone)
            if turn % 2:
                scene.again()
            sink.plan = Plan()
            scene.ask("queue.send", ids=kept)
            scene.settle()
        return scene.end()


@dataclass
class Sweep:
    states: int = 0
    lost: list[str] = field(default_factory=list)


def look(story: Story, rules: str, *, most_a_cut: int, stop_at_first: bool = False) -> Sweep:
    """Open every state and count the losses."""
    sweep, judge = Sweep(), Judge(story.sent, story.taken)

    known = story.sent.keys()  # reports have a queue id too

    async def work() -> None:
        for state in crash_states.states(story.changes, rules=rules, most_a_cut=most_a_cut):
            root = Path(tempfile.mkdtemp(prefix="crash-", dir=_ram()))
            try:
                state.make(root)
                sweep.states += 1
                if lost := await judge.lost(root / "spool", known & state.acknowledged):
                    sweep.lost.append(f"{state.what}: {'; '.join(lost[:3])}")
                    if stop_at_first:
                        return
            finally:
                shutil.rmtree(root)

    asyncio.run(work())
    return sweep


def _ram() -> str | None:
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


def traced(folder: Path, **how: Any) -> Story:
    if not shutil.which("strace"):
        pytest.fail("strace is needed: apt-get install strace")
    return play(folder, **how)


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Story:
    """Fifty messages, five restarts or foldings of the log."""
    return traced(tmp_path_factory.mktemp("story"), times=5)


@pytest.mark.full
@pytest.mark.parametrize("rules", ["ext4", "posix"])
def test_no_power_cut_loses_what_was_acknowledged(story: Story, rules: str) -> None:
    sweep = look(story, rules, most_a_cut=MOST_A_CUT)
    kinds = {change.kind for change in story.changes}
    assert {"write", "truncate", "create", "rename", "unlink", "sync", "acknowledged"} <= kinds
    print(f"{rules}: {len(story.sent)} messages, {sweep.states} states, {len(sweep.lost)} lose")
    assert sweep.states > 1_000
    assert not sweep.lost, sweep.lost[:5]


@pytest.mark.soak
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("rules", ["ext4", "posix"])
def test_no_power_cut_of_all_that_can_be_made_loses_anything(story: Story, rules: str) -> None:
    sweep = look(story, rules, most_a_cut=0)
    print(f"{rules}: {len(story.sent)} messages, {sweep.states} states, {len(sweep.lost)} lose")
    assert not sweep.lost, sweep.lost[:5]


@pytest.mark.full
@pytest.mark.parametrize(
    ("broken", "rules"),
    [("no-flush", "ext4"), ("no-file-flush", "ext4"), ("no-folder-flush", "posix")],
)
def test_the_explorer_sees_a_relay_that_does_not_flush(
    tmp_path: Path, broken: str, rules: str
) -> None:
    story = traced(tmp_path, times=1, broken=broken)
    sweep = look(story, rules, most_a_cut=0, stop_at_first=True)
    print(f"{broken}: {sweep.lost}")
    assert sweep.lost
