"""The power fails while the box takes mail: whatever is on its disk then, no letter is lost.

All writes to the disk are recorded while clients send; QEMU is killed in the midst of it. The disk
is then put together as each power cut would have left it: all up to some flush, and of the writes
after that any, some of them by half. Each must be a sound file system, and the spool on it must
hold whatever had been acknowledged by then. Some of these disks are started from.
"""

from __future__ import annotations

import asyncio
import itertools
import re
import shutil
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.support import block_log
from tests.support.block_log import Cut, Replay
from tests.support.box import Box
from tests.support.disk import Partition, partitions
from tests.support.machine import Frozen, overlay
from tests.support.smtp_client import Answer, SmtpClient
from tests.support.smtp_sink import Plan, SmtpSink
from tests.support.spool_judge import Judge
from tests.support.wait import wait_until

pytestmark = [pytest.mark.image, pytest.mark.timeout(3600)]

CLIENTS = 5
SECONDS, FULL_SECONDS = 30.0, 60.0  # how long mail is taken; the second by `soak`
FLUSHES, SUBSETS = 25, 20  # looked at; `soak` takes all flushes and 500 subsets
FULL_SUBSETS = 500
BOOTS, FULL_BOOTS = 2, 12
LIES, LIE_FLUSHES = 6, 12  # disks of the negative control, and the flushes that each swallowed
SPOOL = "/pennypost/spool"
SEED = 20261125
WHERE = (("office",), ("later",), ("office", "later"), ("office",), ("nobody",))
PLAN = Plan(
    recipients={
        "later@example.com": "450 4.2.0 come back later",
        "nobody@example.com": "550 5.1.1 nobody here by that name",
    }
)


def letter(name: str, size: int) -> bytes:
    line = f"{name} says hello to the office.\r\n"
    return (
        f"From: <a@example.org>\r\nTo: <office@example.com>\r\nSubject: {name}\r\n"
        f"Message-ID: <{name}@example.org>\r\nDate: Mon, 05 Jan 2026 08:00:00 +0000\r\n\r\n"
        + line
        * max(1, size // len(line))
    ).encode()


class Clients:
    """Send without pause, and note how much of the disk's log there was at each 250."""

    def __init__(self, box: Box, log: Path) -> None:
        self.sent: dict[str, tuple[bytes, tuple[str, ...]]] = {}  # by queue id
        self.acknowledged: list[tuple[int, str]] = []  # entries in the log, queue id
        self.names: dict[bytes, str] = {}
        self._box, self._log = box, log
        self._stopping = threading.Event()
        self._threads = [threading.Thread(target=self._send, args=(n,)) for n in range(CLIENTS)]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join(90)

    def _send(self, number: int) -> None:
        count = 0
        while not self._stopping.is_set():
            try:
                with self._box.smtp() as client:
                    answer = client.hello()
                    while answer.code == 250 and not self._stopping.is_set():
                        count += 1
                        answer = self._one(client, f"m{number}-{count}", count)
            except OSError:
                self._stopping.wait(0.2)  # it starts again, or is gone

    def _one(self, client: SmtpClient, name: str, count: int) -> Answer:
        addresses = tuple(f"{local}@example.com" for local in WHERE[count % len(WHERE)])
        body = letter(name, 100_000 if count % 12 == 7 else 500)
        answer = client.envelope("a@example.org", addresses)
        if answer.code != 250:
            return answer
        answer = client.data(body)
        if answer.code == 250:
            known = block_log.count(self._log)  # at once: what is there by now is promised
            queue_id = answer.lines[-1].split()[-1]
            self.sent[queue_id] = (body, addresses)
            self.names[name.encode()] = queue_id
            self.acknowledged.append((known, queue_id))
        return answer


@dataclass
class Recording:
    """What was written and promised until the power went."""

    start: Frozen
    log: Path
    part: Partition
    clients: Clients
    taken: set[tuple[str, str]] = field(default_factory=set)

    @property
    def judge(self) -> Judge:
        return Judge(self.clients.sent, self.taken)

    def acknowledged_by(self, cut: Cut) -> set[str]:
        return {queue_id for known, queue_id in self.clients.acknowledged if known <= cut.index}

    def replay(self, folder: Path) -> Replay:
        """The disk as it was before, in a raw file that is led through the log."""
        raw = folder / "disk.raw"
        argv = ["qemu-img", "convert", "-f", "qcow2", "-O", "raw", str(self.start.disk), str(raw)]
        subprocess.run(argv, check=True, timeout=300, stdin=subprocess.DEVNULL)
        return Replay(raw, self.log)


def record(ready: Frozen, office: SmtpSink, folder: Path, seconds: float) -> Recording:
    """Take mail for a while, the relay started anew in the middle of it, and pull the plug."""
    office.come_up()
    office.messages.clear()
    office.plan = PLAN
    with Box(folder / "box", ready.hardware) as box:
        log = box.machine.record_writes()
        box.thaw(ready)
        box.wait_for_smtp()
        clients = Clients(box, log)
        try:
            begun = time.monotonic()
            # Time itself is the condition: mail is taken for so long.
            for share in (0.5, 1.0):
                wait_until(
                    lambda end=begun + seconds * share: time.monotonic() > end,  # type: ignore[misc]
                    what="mail is taken",
                    timeout_seconds=seconds * 2,
                )
                if share < 1:  # the log is folded into the database
                    box.root("systemctl restart pennypost-relay")
            box.cut_power()
        finally:
            clients.stop()
    office.plan = Plan()
    recording = Recording(ready, log, _data_partition(ready, folder), clients)
    for one in office.messages:
        found = re.search(rb"Message-ID: <(m[\d-]+)@", one.data)
        if found and found[1] in clients.names and one.mail_from:
            recording.taken |= {(clients.names[found[1]], address) for address in one.recipients}
    return recording


def _data_partition(ready: Frozen, folder: Path) -> Partition:
    """Made at the first start, so the image does not know it: the table from the box's disk."""
    head = folder / "head.raw"
    argv = ["qemu-img", "dd", "-f", "qcow2", "-O", "raw", "bs=1M", "count=1"]
    argv += [f"if={ready.disk}", f"of={head}"]
    subprocess.run(argv, check=True, timeout=60, stdin=subprocess.DEVNULL)
    return partitions(head)["data"]


def spool_of(part: Path, folder: Path) -> Path:
    """Mend the file system as the box does, and read the spool out of it without mounting."""
    mended = _tool("e2fsck", "-fy", part)
    assert mended.returncode in (0, 1), mended.stdout
    clean = _tool("e2fsck", "-fn", part)
    assert clean.returncode == 0, clean.stdout
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    _tool("debugfs", "-R", f"rdump {SPOOL} {folder}", part)
    return folder / "spool"


def _tool(*argv: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(word) for word in argv],
        check=False, timeout=120, stdin=subprocess.DEVNULL, capture_output=True, text=True,
    )  # fmt: skip


@dataclass
class Sweep:
    """What was looked at, and what was wrong."""

    states: int = 0
    promises: int = 0
    lost: list[str] = field(default_factory=list)


def look(
    recording: Recording,
    replay: Replay,
    cut: Cut,
    folder: Path,
    sweep: Sweep,
    acknowledged: Collection[str] | None = None,
) -> None:
    """Put down the disk of one cut and judge it."""
    part, promised = folder / "part.raw", acknowledged or recording.acknowledged_by(cut)
    replay.partition_at(cut, recording.part, part)
    spool = spool_of(part, folder / "dump")
    lost = asyncio.run(recording.judge.lost(spool, promised))
    sweep.states, sweep.promises = sweep.states + 1, sweep.promises + len(promised)
    if lost:
        sweep.lost.append(f"{cut.what}: {len(lost)} lost: {'; '.join(lost[:3])}")


def start_from(recording: Recording, replay: Replay, cut: Cut, box: Box, sink: SmtpSink) -> None:
    """Switch the box on with that disk: pages and port 25 answer, and all that waited arrives."""
    replay.write_chosen(cut)
    box.machine.take_over(recording.start)
    overlay(box.machine.disk, replay.disk, base_format="raw")
    begun = time.monotonic()
    box.power_on()
    box.wait_for_smtp()
    box.wait_for_web()
    seconds = time.monotonic() - begun
    assert box.failed_units() == []
    promised = recording.acknowledged_by(cut)
    names = {queue_id: name for name, queue_id in recording.clients.names.items()}
    wanted = {
        (names[queue_id], address)
        for queue_id in promised
        for address in recording.clients.sent[queue_id][1]
        if not address.startswith("nobody") and (queue_id, address) not in recording.taken
    }

    def arrived() -> bool:
        box.root("pennypost queue send --all")
        there = {
            (found[1], address)
            for one in list(sink.messages)
            if (found := re.search(rb"Message-ID: <(m[\d-]+)@", one.data))
            for address in one.recipients
        }
        return wanted <= there

    wait_until(arrived, what="all that waited", timeout_seconds=300, every_seconds=3)
    print(f"{cut.what}: up after {seconds:.0f} s, {len(wanted)} waited and arrived")


def sweep_over(
    recording: Recording,
    folder: Path,
    sink: SmtpSink,
    *,
    flushes: int | None,  # None: all
    subsets: int,
    boots: int,
) -> Sweep:
    """Cuts before some flushes, and starts from some of them."""
    replay, sweep = recording.replay(folder), Sweep()
    chosen = some_of(replay.flushes, flushes)
    busiest = sorted(chosen, key=lambda flush: -replay.flushes[flush])
    more = Counter(itertools.islice(itertools.cycle(busiest), subsets))
    started = spread(chosen[len(chosen) // 4 :], boots)
    for flush in chosen:
        made = list(block_log.cuts(replay.entries, flush, subsets=more[flush], seed=SEED))
        for cut in made:
            look(recording, replay, cut, folder, sweep)
        if flush in started:
            with Box(folder / "started", recording.start.hardware) as box:
                start_from(recording, replay, made[-1], box, sink)
            shutil.rmtree(folder / "started")
    replay.close()
    print(
        f"{len(recording.clients.acknowledged)} acknowledged, {len(replay.entries)} writes and "
        f"flushes; {len(chosen)} of {len(replay.flushes)} flushes, {sweep.states} disks, "
        f"{sweep.promises} promises, {len(sweep.lost)} disks lose; {len(started)} started from"
    )
    return sweep


def some_of(flushes: Mapping[int, int], most: int | None) -> list[int]:
    """In order: those with most before them, such as the folding of the log, and others."""
    busiest = sorted(flushes, key=lambda flush: -flushes[flush])[: (most or 0) // 3]
    others = [flush for flush in flushes if flush not in busiest]
    return sorted([*busiest, *spread(others, most and most - len(busiest))])


def spread(found: Sequence[int], most: int | None) -> list[int]:
    """So many of them, evenly; the last among them."""
    if most is None or len(found) <= most:
        return list(found)
    return [found[(n + 1) * len(found) // most - 1] for n in range(most)]


@pytest.fixture(scope="module")
def recording(
    ready: Frozen, office: SmtpSink, tmp_path_factory: pytest.TempPathFactory
) -> Recording:
    return record(ready, office, tmp_path_factory.mktemp("cut"), SECONDS)


def test_no_power_cut_while_mail_comes_in_loses_a_letter(
    recording: Recording, next_hop: SmtpSink, tmp_path: Path
) -> None:
    sweep = sweep_over(recording, tmp_path, next_hop, flushes=FLUSHES, subsets=SUBSETS, boots=BOOTS)
    assert len(recording.clients.acknowledged) > 50
    assert sweep.states > FLUSHES + SUBSETS
    assert not sweep.lost, sweep.lost[:5]


def test_the_sweep_sees_a_disk_that_lies_about_its_flushes(
    recording: Recording, tmp_path: Path
) -> None:
    """Writes that were flushed are left out: what was acknowledged then must be missed."""
    replay, sweep = recording.replay(tmp_path), Sweep()
    known = sorted(known for known, _ in recording.clients.acknowledged)
    for now in spread(known[len(known) // 2 :], LIES):
        flushed = [flush for flush in replay.flushes if flush < now]
        kept = flushed[-LIE_FLUSHES] + 1
        cut = Cut(now, kept, (), f"nothing since flush {kept - 1}, until {now}")
        look(recording, replay, cut, tmp_path, sweep)
    replay.close()
    print("\n".join(sweep.lost))
    assert len(sweep.lost) > LIES // 2


@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_no_power_cut_at_all_while_mail_comes_in_loses_a_letter(
    ready: Frozen, next_hop: SmtpSink, tmp_path: Path
) -> None:
    recording = record(ready, next_hop, tmp_path, FULL_SECONDS)
    next_hop.messages.clear()
    sweep = sweep_over(
        recording, tmp_path, next_hop, flushes=None, subsets=FULL_SUBSETS, boots=FULL_BOOTS
    )
    assert not sweep.lost, sweep.lost[:5]
