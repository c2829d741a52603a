"""The queue survives an update and the way back: what one version wrote the other sends, once.

The older version comes out of the history; without it there is nothing to compare with.
"""

from __future__ import annotations

import contextlib
import re
import sqlite3
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from appliance.base import control
from tests.support.relay_process import ROOT, RelayProcess
from tests.support.smtp_client import SmtpClient
from tests.support.smtp_sink import Plan, SmtpSink
from tests.support.wait import wait_until

OLDER = "e74258d"  # the state before "the relay complete": tables without `skip`, `steps`
LATER = Plan(recipients={"later@example.org": "450 4.2.0 come back later"})


def older_code(folder: Path) -> Path:
    found = subprocess.run(
        ["git", "archive", OLDER, "appliance"], cwd=ROOT, capture_output=True, check=False
    )
    if found.returncode:
        pytest.skip(f"the history does not reach back to {OLDER}")
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(["tar", "-x", "-C", str(folder)], input=found.stdout, check=True)
    return folder


class Box:
    """One queue, two versions."""

    def __init__(self, folder: Path, sink: SmtpSink) -> None:
        settings = {
            "mail.relay_domains": [f"example.org | {sink.address}"],
            "queue.retry_seconds": [3600],  # until it is told to send
        }
        self.sink, self.sent = sink, set[tuple[str, str]]()
        self.relay = RelayProcess(folder, settings)

    def start(self, code: Path) -> None:
        self.relay.code = code
        self.relay.start()

    def send(self, count: int) -> None:
        with SmtpClient("127.0.0.1", self.relay.port) as client:
            for _ in range(count):
                number = f"m{len(self.sent)}"
                names = ["later", "b"] if len(self.sent) % 3 else ["later"]
                body = f"Message-ID: <{number}@client.example>\r\n\r\n".encode()
                body += b"y" * (70_000 if len(self.sent) % 10 == 0 else 100) + b"\r\n"
                recipients = [f"{name}@example.org" for name in names]
                assert client.send_message("a@client.example", recipients, body).code == 250
                self.sent |= {(number, recipient) for recipient in recipients}

    def waiting(self) -> int:
        queue = control.call(self.relay.socket_path, "status")["queue"]
        return int(queue["messages"])

    def arrived(self) -> Counter[tuple[str, str]]:
        return Counter(
            (found[1].decode(), recipient)
            for one in list(self.sink.messages)
            if (found := re.search(rb"Message-ID: <(.*?)@", one.data))
            for recipient in one.recipients
        )

    def partly_done(self) -> bool:
        """All that can be delivered now is."""
        done = {one for one in self.sent if not one[1].startswith("later")}
        return done <= self.arrived().keys()


def story(folder: Path, last: str, *, spoil: bool = False) -> Box:
    """Four starts, older and newer by turns, each with fifty messages; the last sends them."""
    versions = {"older": older_code(folder / "older"), "newer": ROOT}
    (folder / "data").mkdir()
    with SmtpSink() as sink:
        box = Box(folder / "data", sink)
        sink.plan = LATER
        for version in ("older", "newer", "older", "newer"):
            box.start(versions[version])
            box.send(50)
            wait_until(box.partly_done, what=f"delivery in part by the {version}")
            box.relay.stop()
            if spoil:
                with contextlib.closing(sqlite3.connect(folder / "data/spool/spool.db")) as db:
                    db.execute("DELETE FROM messages WHERE id = (SELECT max(id) FROM messages)")
                    db.commit()
        sink.plan = Plan()
        box.start(versions[last])
        control.call(box.relay.socket_path, "queue.send", {"all": True})
        wait_until(lambda: not box.waiting(), what="an empty queue")
        box.relay.stop()
    return box


@pytest.mark.full
@pytest.mark.parametrize("last", ["older", "newer"])
def test_what_one_version_queued_the_other_sends_once(tmp_path: Path, last: str) -> None:
    box = story(tmp_path, last)
    arrived = box.arrived()
    print(f"{len(box.sent)} recipients of 200 messages, {len(arrived)} arrived; last: {last}")
    assert arrived.keys() == box.sent
    assert [one for one, times in arrived.items() if times > 1] == []


@pytest.mark.soak
def test_the_story_sees_a_version_that_drops_a_message(tmp_path: Path) -> None:
    box = story(tmp_path, "newer", spoil=True)
    assert len(box.sent - box.arrived().keys()) == 4
