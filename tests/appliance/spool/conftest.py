"""What the spool's tests share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from appliance.base.clock import FakeClock
from appliance.mail.address import parse
from appliance.mail.envelope import Envelope, Recipient
from appliance.spool.bodies import RealDisk
from appliance.spool.model import NewMessage


class FailingDisk(RealDisk):
    """A disk whose flushes can be made to fail."""

    def __init__(self) -> None:
        self.commits_fail = False
        self.files_fail = False
        self.folders_fail = False
        self.free = 10**12
        self.asked: list[str] = []

    def flush_file(self, descriptor: int) -> None:
        self.asked.append("file")
        if self.files_fail:
            raise OSError(5, "Input/output error")
        super().flush_file(descriptor)

    def flush_folder(self, path: Path) -> None:
        self.asked.append("folder")
        if self.folders_fail:
            raise OSError(5, "Input/output error")
        super().flush_folder(path)

    def free_bytes(self, path: Path) -> int:
        self.asked.append("free")
        return self.free

    def before_commit(self) -> None:
        self.asked.append("commit")
        if self.commits_fail:
            raise OSError(5, "Input/output error")


@pytest.fixture
def disk() -> FailingDisk:
    return FailingDisk()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def letter(clock: FakeClock) -> Callable[..., NewMessage]:
    """Makes messages: `letter("Q1")`, `letter("Q2", to=("a@b.example",))`."""

    def make(
        queue_id: str,
        *,
        to: tuple[str, ...] = ("b@example.org",),
        sender: str | None = "a@example.com",
        body: bytes = b"Subject: x\r\n\r\nhello\r\n",
    ) -> NewMessage:
        envelope = Envelope(
            parse(sender) if sender else None, tuple(Recipient(parse(address)) for address in to)
        )
        return NewMessage(
            queue_id=queue_id,
            envelope=envelope,
            received_at=clock.now(),
            size=len(body),
            trace=b"Received: us\r\n",
            body=body,
        )

    return make
