"""Everything about disks in one place: what the daemon's verbs do, and its watch.

One job at a time, in a thread of its own; the guard goes on meanwhile.
"""

import logging
import queue
import threading
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from appliance.base.clock import Clock
from appliance.base.finding import Finding, PennypostError, Refused, Result
from appliance.base.run import run
from appliance.storage import maildisk
from appliance.storage.guard import Guard
from appliance.storage.hands import MAILBOXES, DiskHands
from appliance.storage.jobs import Progress, carry_out
from appliance.storage.look import look_at_all
from appliance.storage.marker import key_at
from appliance.storage.plan import Job, Kind, Look, Wish, job_of, plan, resume
from appliance.storage.record import Book
from hw import smart
from hw.model import Disk, Health

SYSTEMCTL = "/usr/bin/systemctl"
UNIT_SECONDS = 120.0
OPENER = "pennypost-mailboxes.service"  # tells the steward, who tells Dovecot
HEARTBEAT_SECONDS = 5.0
HEALTH_SECONDS = 1800.0
# While one of these is at work, nobody but the job mounts or unmounts.
ALONE = frozenset({Kind.CONNECT, Kind.TAKE, Kind.DETACH})
ListDisks = Callable[[bool], Sequence[Disk]]
_log = logging.getLogger("pennypost.disks")


class Keeper:
    """The disks of the box with its state under `data`/storage and `run`."""

    def __init__(
        self,
        *,
        data: Path,
        run: Path,
        point: Path,
        list_disks: ListDisks,
        clock: Clock,
        units: bool = True,
    ) -> None:
        (data / "storage").mkdir(mode=0o700, parents=True, exist_ok=True)
        self._list = list_disks
        self._run = run
        self._units = units
        self.key = key_at(data / "keys" / "disk.key")
        self.book = _open_book(data / "storage" / "disk.json")
        self.hands = DiskHands(
            disks=self.disks,
            key=self.key,
            clock=clock,
            point=point,
            stop_mailboxes=self._stop_mailboxes,
            start_mailboxes=self._start_mailboxes,
        )
        self.guard = Guard(
            book=self.book,
            hands=self.hands,
            disks=self.disks,
            clock=clock,
            run=run,
            point=point,
            stop_mailboxes=self._stop_mailboxes,
            start_mailboxes=self._start_mailboxes,
            on_change=self._open_or_shut,
        )
        self._busy = threading.Lock()
        self._cancelled = threading.Event()
        self._health: dict[str, Health] = {}
        self._health_at = -HEALTH_SECONDS
        self._clock = clock

    def disks(self) -> Sequence[Disk]:
        """All disks; whether one behind a USB bridge was allowed was asked when it came."""
        return self._list(True)

    # -- the watch ------------------------------------------------------------------------

    def tick(self) -> None:
        """Called every few seconds and at each event; no error ends the watch."""
        try:
            self.guard.tick()
            self._go_on_with_job()
        except Exception:
            _log.exception("looking after the disks failed")

    def _go_on_with_job(self) -> None:
        """Take up a job that a power cut left, once its disk is there."""
        job = self.book.job
        if job is None or self.guard.job_at_work or self._busy.locked():
            return
        try:
            resume(job, look_at_all(self.disks(), self.key))
        except Refused:
            return  # the state says what is waited for
        _log.info("going on with %s at the step %s", job.kind, job.step)
        self._start(job, lambda step: None)

    def look_at_health(self) -> None:
        """Ask all disks for their health, now and then. May take a while."""
        now = self._clock.monotonic()
        if now - self._health_at < HEALTH_SECONDS:
            return
        self._health_at = now
        self._health = {d.identity: smart.read(d.device) for d in self.disks() if d.identity}
        self.guard.health = self._health

    # -- verbs ----------------------------------------------------------------------------

    def list(self, *, allow_usb: bool) -> Sequence[Mapping[str, Any]]:
        """Every disk, with what is on it, how it is, and why it may not be used."""
        looks = look_at_all(self._list(allow_usb), self.key)
        for look in looks:
            disk = look.disk
            if disk.identity and disk.identity not in self._health:
                self._health[disk.identity] = smart.read(disk.device)
        return [self._shown(look) for look in looks]

    def plan(self, wish: Wish, *, allow_usb: bool) -> Mapping[str, Any]:
        """The steps that a wish would take. Raises Refused."""
        looks = look_at_all(self._list(allow_usb), self.key)
        return {"steps": [str(step) for step in plan(wish, looks, self.book.record)]}

    def carry_out(
        self, wish: Wish, progress: Progress, *, allow_usb: bool, wait: bool
    ) -> Mapping[str, Any]:
        """Fulfil a wish. With `wait` returns when it is done, with a sign of life meanwhile.

        Raises Refused when it is not done, or what made it fail.
        """
        if self.book.job is not None or self._busy.locked():
            raise Refused.because(
                "disk.job",
                "A disk is being worked on already.",
                "Wait until that is done, or give it up.",
            )
        looks = look_at_all(self._list(allow_usb), self.key)
        job = job_of(wish, looks, self.book.record, new_volume=str(uuid.uuid4()))
        ended = self._start(job, progress)
        if wait:
            _wait(ended, progress)
        return maildisk.read(self._run)

    def status(self) -> Mapping[str, Any]:
        """What RUN/maildisk.json says."""
        return maildisk.read(self._run)

    def cancel(self) -> Mapping[str, Any]:
        """Call a copy off, or forget a job that waits for a disk which is not there."""
        if self.guard.job_at_work is not None:
            self._cancelled.set()
        elif self.book.job is not None:
            self.book.keep(record=self.book.record, job=None)
            self.guard.tick()
        else:
            raise Refused.because("disk.job", "There is nothing to call off.")
        return maildisk.read(self._run)

    def test(self, kind: str) -> Mapping[str, Any]:
        """Have the disks of the mailboxes test themselves; not while one is worked on."""
        if self.book.job is not None:
            raise Refused.because("disk.test", "A disk is being worked on; no test now.")
        started = []
        for disk in self.disks():
            if disk.identity in self.book.record.members:
                try:
                    smart.start_test(disk.device, kind)
                    started.append(disk.identity)
                except PennypostError as error:
                    _log.info("%s does not test itself: %s", disk.name, error.finding.say)
        return {"started": started}

    # -- jobs -----------------------------------------------------------------------------

    def _start(self, job: Job, progress: Progress) -> "queue.SimpleQueue[Any]":
        """Begin in a thread. The queue gets what the job reports, then None or its error."""
        ended: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._busy.acquire()
        self._cancelled.clear()
        self.guard.job_at_work = job
        self.hands.is_away = job.kind in ALONE
        thread = threading.Thread(target=self._work, args=(job, ended), name="disk-job")
        thread.start()
        return ended

    def _work(self, job: Job, ended: "queue.SimpleQueue[Any]") -> None:
        def told(step: Mapping[str, Any]) -> None:
            self.guard.progress = step
            ended.put(step)

        problem: PennypostError | None = None
        try:
            carry_out(job, self.book, self.hands, told, self._cancelled.is_set)
        except PennypostError as error:
            problem = error
        except Exception as error:
            _log.exception("%s failed", job.kind)
            problem = _unexpected(error)
        if problem is not None:
            self.guard.note = f"{self._clock.now().isoformat(timespec='seconds')}: {problem}"
            _log.error("%s: %s", job.kind, problem.finding.say)
        self.guard.job_at_work, self.guard.progress = None, None
        self.hands.is_away = False
        self._busy.release()
        self.tick()
        ended.put(problem)

    def _stop_mailboxes(self) -> None:
        self._systemctl("stop", MAILBOXES)

    def _start_mailboxes(self) -> None:
        self._systemctl("--no-block", "start", MAILBOXES)

    def _open_or_shut(self) -> None:
        # One that runs already may have read the last state: it is to begin again.
        self._systemctl("--no-block", "restart", OPENER)

    def _systemctl(self, *arguments: str) -> None:
        if not self._units:
            return
        try:
            run((SYSTEMCTL, *arguments), timeout_seconds=UNIT_SECONDS)
        except PennypostError as error:
            _log.error("%s", error.finding.say)

    def _shown(self, look: Look) -> Mapping[str, Any]:
        disk, health = look.disk, self._health.get(look.disk.identity, smart.SILENT)
        mine = disk.identity in self.book.record.members and self.book.record.has_disk
        return {
            "device": disk.device,
            "identity": disk.identity,
            "bus": str(disk.bus),
            "path": disk.path,
            "bay": disk.bay,
            "vendor": disk.vendor,
            "model": disk.model,
            "serial": disk.serial,
            "size_bytes": disk.size_bytes,
            "rotation_rpm": disk.rotation_rpm,
            "content": list(disk.content),
            "is_blank": look.is_blank,
            "marker": disk.marker,
            "own": bool(look.marked and look.marked.own),
            "made": look.marked.marker.created if look.marked else "",
            "stage": str(look.marked.marker.stage) if look.marked else "",
            "in_use": list(disk.in_use),
            "is_mailbox_disk": mine,
            "eligible": disk.refusal is None,
            "say": disk.refusal.say if disk.refusal else "",
            "fix": disk.refusal.fix if disk.refusal else "",
            "health": {
                "result": health.result,
                "say": health.say,
                "fix": health.fix,
                "temperature_celsius": health.temperature_celsius,
                "hours": health.hours,
            },
        }


def _wait(ended: "queue.SimpleQueue[Any]", progress: Progress) -> None:
    last: Mapping[str, Any] = {}
    while True:
        try:
            told = ended.get(timeout=HEARTBEAT_SECONDS)
        except queue.Empty:
            progress(last)
            continue
        if told is None:
            return
        if isinstance(told, PennypostError):
            raise told
        last = told
        progress(last)


def _unexpected(error: Exception) -> PennypostError:
    say = "The disk failed while it was worked on."
    if not isinstance(error, OSError):
        say = "Something went wrong inside the box; the log has the details."
    return PennypostError(
        Finding(
            check="disk.failed", result=Result.BAD, say=say, fix="Check the disk, then try again."
        )
    )


def _open_book(path: Path) -> Book:
    """The book; one that cannot be read is put aside, for the disk itself says what it is."""
    try:
        return Book(path)
    except Refused as error:
        _log.error("%s", error.finding.say)
        path.replace(path.with_suffix(".damaged"))
        return Book(path)
