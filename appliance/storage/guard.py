"""Looks after the mailbox disk: mounts it, notices when it goes, brings it back.

`tick` is called every few seconds and at each event. It never waits for a disk longer than a
probe takes, but for the check of the file system, and then the state says so.
"""

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from appliance.base.clock import Clock
from appliance.base.finding import PennypostError
from appliance.storage import maildisk, raid, volume
from appliance.storage.hands import DiskHands, let_go
from appliance.storage.maildisk import Observed, Verdict, judge
from appliance.storage.plan import Job
from appliance.storage.probing import Prober, exists, state_of
from appliance.storage.record import Book
from hw.model import Bus, Disk, Health

FIRST_RETRY_SECONDS, LONGEST_RETRY_SECONDS = 5.0, 300.0
LONG_SERVICE_SECONDS = 600.0
RESCAN_SECONDS = 15.0
_log = logging.getLogger("pennypost.disks")


class Guard:
    """The mailbox disk's keeper. All calls come from one thread."""

    def __init__(
        self,
        *,
        book: Book,
        hands: DiskHands,
        disks: Callable[[], Sequence[Disk]],
        clock: Clock,
        run: Path,
        point: Path,
        stop_mailboxes: Callable[[], None],
        start_mailboxes: Callable[[], None],
        on_change: Callable[[], None],
    ) -> None:
        self._book = book
        self._hands = hands
        self._disks = disks
        self._clock = clock
        self._run = run
        self._point = point
        self._stop_mailboxes = stop_mailboxes
        self._start_mailboxes = start_mailboxes
        self._on_change = on_change  # the state has another word; RUN/maildisk.json says it
        self._prober = Prober()
        self._retry_at, self._pause = 0.0, FIRST_RETRY_SECONDS
        self._mounted_at = 0.0
        self._rescan_at = 0.0
        self._seen_disks: tuple[tuple[str, str], ...] = ()
        self._trouble = ("", "")
        self._written: Mapping[str, Any] = {}
        self._since = ""
        self.note = ""  # what happened last that a person should know
        self.health: Mapping[str, Health] = {}
        self.progress: Mapping[str, Any] | None = None
        self.job_at_work: Job | None = None

    def tick(self) -> Verdict:
        """Look, act, publish."""
        with self._hands.lock:
            return self._tick()

    def _tick(self) -> Verdict:
        disks = self._disks()
        self._notice(disks)
        mounted = volume.mounted_at(self._point)
        if self._hands.is_away:
            return self._publish(Observed(record=self._book.record), disks)
        if mounted is None and self._book.record.has_disk:
            self._bring_back(disks)
        elif mounted is not None:
            self._look_after(mounted, disks)
        return self._publish(self._observe(disks), disks)

    def close(self) -> None:
        self._prober.close()

    # -- bringing it into use ---------------------------------------------------------------

    def _bring_back(self, disks: Sequence[Disk]) -> None:
        """Mount the volume when a disk of it is there; not too often when that fails."""
        if not self._present(disks):
            self._trouble = ("", "")
            self._rescan()
            return
        now = self._clock.monotonic()
        if now < self._retry_at:
            return
        self._publish(Observed(record=self._book.record, is_checking=True), disks)
        joining = self._book.job.disk if self._book.job else ""
        try:
            checked = self._hands.open_volume(self._book.record, joining)
        except (PennypostError, OSError) as error:
            self._fail(error, disks)
            return
        self._trouble, self._mounted_at = ("", ""), self._clock.monotonic()
        self._tell(checked)
        self._start_mailboxes()

    def _fail(self, error: PennypostError | OSError, disks: Sequence[Disk]) -> None:
        finding = error.finding if isinstance(error, PennypostError) else None
        say = finding.say if finding else ""
        if not finding or finding.check.startswith("command."):
            say = "The mailbox disk does not answer: it was pulled, or it is broken."
        _log.warning("the mailbox disk cannot be used: %s", finding.say if finding else error)
        self._trouble = (say, finding.fix if finding and say == finding.say else "")
        self._retry_at = self._clock.monotonic() + self._pause
        self._pause = min(self._pause * 2, LONGEST_RETRY_SECONDS)
        for disk in self._members(disks):
            # A pulled SAS disk stays in the list for ever on some controllers.
            if disk.bus is Bus.SAS and not self._prober.answers(disk.device):
                let_go(disk.device)

    def _tell(self, checked: volume.Checked) -> None:
        when = self._clock.now().isoformat(timespec="seconds")
        if checked.repaired:
            self.note = f"{when}: The file system of the mailbox disk was damaged and is repaired."
        elif checked.was_cut:
            self.note = (
                f"{when}: The mailbox disk was cut off while in use (the power, or the disk was "
                "pulled). It was checked: what was accepted is there."
            )
        else:
            self.note = f"{when}: The mailbox disk is in use."
        _log.info("%s", self.note)

    # -- looking after it -------------------------------------------------------------------

    def _look_after(self, mounted: volume.Mounted, disks: Sequence[Disk]) -> None:
        """Let it go when it is of no use any more; have a second half follow."""
        alive = (
            exists(mounted.number)
            and state_of(mounted.number) in ("", "running")
            and self._prober.answers(mounted.device)
        )
        if alive and not mounted.is_read_only:
            self._mend_mirror(disks)
            return
        what = "is read-only after a fault" if alive else "does not answer"
        _log.error("the mailbox disk %s", what)
        seen = replace(self._observe(disks), mounted=mounted, answers=alive)
        self._publish(seen, disks)
        self._stop_mailboxes()
        self._hands.close_volume(by_force=True)
        verdict = judge(seen)
        self._trouble = (verdict.say, verdict.fix)
        self._pause_before_next_try()

    def _pause_before_next_try(self) -> None:
        """At once after a long time of good service; later and later when it fails again soon."""
        now = self._clock.monotonic()
        if now - self._mounted_at > LONG_SERVICE_SECONDS:
            self._pause, self._retry_at = FIRST_RETRY_SECONDS, now
            return
        self._retry_at = now + self._pause
        self._pause = min(self._pause * 2, LONGEST_RETRY_SECONDS)

    def _mend_mirror(self, disks: Sequence[Disk]) -> None:
        """A half that was away gets what it missed."""
        if self.job_at_work or len(self._book.record.members) < 2 or not raid.degraded():
            return
        parts = self._hands.parts(self._book.record)
        for part in parts:
            if Path(part).name not in raid.members():
                raid.leave_missing()
                raid.join(part)
                _log.info("%s takes part in the mirror again", part)

    def _notice(self, disks: Sequence[Disk]) -> None:
        """Another set of disks: try at once."""
        now = tuple((disk.identity, disk.device) for disk in disks)
        if now != self._seen_disks:
            self._seen_disks = now
            self._retry_at, self._pause = 0.0, FIRST_RETRY_SECONDS

    def _rescan(self) -> None:
        """Have SAS controllers look at their ports: not all of them tell what was plugged in."""
        now = self._clock.monotonic()
        if now < self._rescan_at:
            return
        self._rescan_at = now + RESCAN_SECONDS
        for host in Path("/sys/class/sas_host").glob("host*"):
            scan = Path("/sys/class/scsi_host") / host.name / "scan"
            try:
                scan.write_text("- - -")
            except OSError as error:
                _log.info("%s cannot be looked at: %s", host.name, error)

    # -- telling ----------------------------------------------------------------------------

    def _observe(self, disks: Sequence[Disk]) -> Observed:
        mounted = volume.mounted_at(self._point)
        size = free = 0
        if mounted is not None:
            try:
                found = os.statvfs(self._point)
                size = found.f_frsize * found.f_blocks
                free = found.f_frsize * found.f_bavail
            except OSError:
                pass  # said by the next probe
        return Observed(
            record=self._book.record,
            mounted=mounted,
            is_present=self._present(disks),
            size_bytes=size,
            free_bytes=free,
            missing_halves=raid.degraded() if mounted else 0,
            trouble=self._trouble[0],
            fix=self._trouble[1],
        )

    def _publish(self, seen: Observed, disks: Sequence[Disk]) -> Verdict:
        """Write the state when it changed."""
        seen = replace(
            seen,
            job=self.job_at_work or self._book.job,
            is_at_work=self.job_at_work is not None,
            is_away=self._hands.is_away,
        )
        verdict = judge(seen)
        if self._written.get("state") != str(verdict.state):
            self._since = self._clock.now().isoformat(timespec="seconds")
        content = maildisk.document(
            verdict,
            since=self._since,
            volume=seen.record.volume if seen.record.has_disk else "",
            disks=[self._shown(disk) for disk in self._members(disks)],
            size_bytes=seen.size_bytes,
            free_bytes=seen.free_bytes - seen.free_bytes % (16 << 20),
            missing_halves=seen.missing_halves if len(seen.record.members) > 1 else 0,
            job=self.progress,
            note=self.note,
        )
        if content != self._written:
            is_other = self._written.get("state") != content["state"]
            maildisk.write(self._run, content)
            self._written = content
            if is_other:
                _log.info("the mailbox disk is %s: %s", content["state"], verdict.say)
                self._on_change()
        return verdict

    def _shown(self, disk: Disk) -> Mapping[str, Any]:
        health = self.health.get(disk.identity)
        return {
            "identity": disk.identity,
            "name": disk.name,
            "bay": disk.bay,
            "bus": str(disk.bus),
            "path": disk.path,
            "health": health.result if health else "unknown",
            "health_say": health.say if health else "",
            "health_fix": health.fix if health else "",
            "temperature_celsius": health.temperature_celsius if health else None,
        }

    def _members(self, disks: Sequence[Disk]) -> list[Disk]:
        record = self._book.record
        return [d for d in disks if record.has_disk and d.identity in record.members]

    def _present(self, disks: Sequence[Disk]) -> bool:
        return bool(self._members(disks))
