"""The steps of a job on real disks. Each finds its disk anew by identity: names change."""

import contextlib
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from appliance.base.clock import Clock
from appliance.base.finding import PennypostError, Refused
from appliance.storage import layout, raid, volume
from appliance.storage.jobs import Told
from appliance.storage.look import look_at, probe
from appliance.storage.marker import SECTOR_BYTES, Key, Marker, Stage, pack, unpack
from appliance.storage.plan import Job, Kind, Record, Step
from hw.model import Disk

MAILBOXES = "pennypost-mailboxes.target"  # what has to be stopped while there is no disk
MOUNTING = frozenset({Step.MOUNT, Step.UNMOUNT, Step.ARRAY, Step.PLAIN, Step.CHECK})
DEVICE_SYS = Path("/sys/class/block")


class DiskHands:
    """Does what the plan says."""

    def __init__(
        self,
        *,
        disks: Callable[[], Sequence[Disk]],
        key: Key,
        clock: Clock,
        point: Path,
        stop_mailboxes: Callable[[], None],
        start_mailboxes: Callable[[], None],
    ) -> None:
        self._disks = disks
        self._key = key
        self._clock = clock
        self._point = point
        self._stop_mailboxes = stop_mailboxes
        self._start_mailboxes = start_mailboxes
        self.is_away = False  # the disk is let go on purpose: nobody may mount it
        self.lock = threading.RLock()  # whoever mounts or unmounts has it
        self._steps: dict[Step, Callable[[Job, Record, Told], None]] = {
            Step.WIPE: self._wipe,
            Step.TABLE: self._table,
            Step.FORMAT: self._format,
            Step.READY: self._ready,
            Step.CHECK: self._check,
            Step.SIGN: self._ready,
            Step.REMEMBER: self._nothing,
            Step.MOUNT: self._mount,
            Step.UNMOUNT: self._unmount,
            Step.FORGET: self._nothing,
            Step.RELEASE: self._release,
            Step.ARRAY: self._array,
            Step.JOIN: self._join,
            Step.COPY: self._copy,
            Step.VERIFY: self._verify,
            Step.DROP: self._drop,
            Step.PLAIN: self._plain,
            Step.RETIRE: self._retire,
            Step.GROW: self._grow,
        }

    def do(self, step: Step, job: Job, record: Record, told: Told) -> None:
        if step in MOUNTING:
            with self.lock:
                self._steps[step](job, record, told)
        else:
            self._steps[step](job, record, told)

    def give_up(self, job: Job, record: Record) -> None:
        """After a cancelled copy: the new disk leaves the mirror and loses its marker."""
        raid.interrupt()
        raid.leave(self._part(job.disk))
        layout.write_at(self._device(job.disk), layout.MARKER_AT, bytes(SECTOR_BYTES))

    def open_volume(self, record: Record, joining: str = "") -> volume.Checked:
        """Check and mount the volume from what is there of its disks.

        Only disks that the record names are looked at (and the one that is just joining), and
        only with a ready marker of this box. Raises Refused when there is none.
        """
        parts = self.parts(record, joining)
        if not parts:
            raise Refused.because("disk.missing", "The mailbox disk is not there.")
        device = parts[0]
        if any(raid.is_member(probe(part)) for part in parts):
            raid.assemble(record.volume, [p for p in parts if raid.is_member(probe(p))])
            device = raid.DEVICE
        checked = volume.check(device, record.volume)
        volume.mount(device, self._point)
        return checked

    def close_volume(self, *, by_force: bool) -> None:
        """Unmount, and end the mirror."""
        volume.unmount(self._point, by_force=by_force)
        try:
            raid.stop()
        except PennypostError:
            if not by_force:
                raise

    # -- the steps ------------------------------------------------------------------------

    def _wipe(self, job: Job, record: Record, told: Told) -> None:
        disk = self._disk(job.disk)
        if disk.refusal:  # looked at again: it may be in use by now
            raise Refused.because("disk.refused", disk.refusal.say, disk.refusal.fix)
        layout.wipe(disk.device)

    def _table(self, job: Job, record: Record, told: Told) -> None:
        """The marker before the table: a cut between leaves a disk that still looks blank."""
        device = self._device(job.disk)
        stage = Stage.FORMATTING if job.kind is Kind.CONNECT else Stage.COPYING
        marker = Marker(
            box=self._key.box,
            volume=job.volume,
            created=self._clock.now().isoformat(timespec="seconds"),
            stage=stage,
        )
        layout.write_at(device, layout.MARKER_AT, pack(marker, self._key))
        layout.write_table(device)

    def _format(self, job: Job, record: Record, told: Told) -> None:
        volume.make(self._part(job.disk), job.volume)

    def _ready(self, job: Job, record: Record, told: Told) -> None:
        """From now on the disk is one that this box mounts."""
        device = self._device(job.disk)
        read = unpack(layout.read_at(device, layout.MARKER_AT, SECTOR_BYTES), self._key)
        if read is None or read.marker.volume != job.volume:
            raise Refused.because("disk.marker", "The marker of the disk cannot be read.")
        marker = replace(read.marker, box=self._key.box, stage=Stage.READY)
        layout.write_at(device, layout.MARKER_AT, pack(marker, self._key))

    def _check(self, job: Job, record: Record, told: Told) -> None:
        told(0.0, "the file system is checked")
        device = self._part(job.disk)
        if raid.is_member(probe(device)):
            raid.assemble(job.volume, [device])
            device = raid.DEVICE
        volume.check(device, job.volume, thoroughly=True)

    def _mount(self, job: Job, record: Record, told: Told) -> None:
        self.open_volume(record, joining=job.disk)
        self.is_away = False
        self._start_mailboxes()

    def _unmount(self, job: Job, record: Record, told: Told) -> None:
        self.is_away = True
        self._stop_mailboxes()
        self.close_volume(by_force=False)

    def _release(self, job: Job, record: Record, told: Told) -> None:
        """Spin the disks down and have the kernel let go of them, so that they can be pulled."""
        for disk in self._disks():
            if disk.identity in record.members:
                let_go(disk.device)
        self.is_away = False

    def _array(self, job: Job, record: Record, told: Told) -> None:
        parts = self.parts(record)
        if not parts:
            raise Refused.because("disk.missing", "The mailbox disk is not there.")
        if any(raid.is_member(probe(part)) for part in parts):
            return  # a mirror already, or the step was done before the cut
        raid.create(job.volume, parts[0])

    def _join(self, job: Job, record: Record, told: Told) -> None:
        raid.leave_missing()
        raid.join(self._part(job.disk))

    def _copy(self, job: Job, record: Record, told: Told) -> None:
        raid.wait_until_same(self._part(job.disk), told)

    def _verify(self, job: Job, record: Record, told: Told) -> None:
        raid.compare(told)

    def _drop(self, job: Job, record: Record, told: Told) -> None:
        """The old disk goes; one that is gone or broken goes without being asked."""
        with contextlib.suppress(PennypostError, OSError):
            raid.leave(self._part(job.old))
        raid.leave_missing()
        if Path(self._part(job.disk)).name not in raid.in_sync():
            raise Refused.because(
                "disk.drop", "The new disk does not hold all the mail.", "Start the copy again."
            )

    def _plain(self, job: Job, record: Record, told: Told) -> None:
        part = self._part(job.disk)
        raid.stop()
        raid.zero(part)

    def _retire(self, job: Job, record: Record, told: Told) -> None:
        """Without its marker the old disk is none of ours; its mail is still there to be seen."""
        with contextlib.suppress(PennypostError, OSError):
            layout.write_at(self._device(job.old), layout.MARKER_AT, bytes(SECTOR_BYTES))

    def _grow(self, job: Job, record: Record, told: Told) -> None:
        mounted = volume.mounted_at(self._point)
        parts = self.parts(record)
        if mounted is None or not parts:
            raise Refused.because("disk.grow", "The mailbox disk is not in use just now.")
        if raid.is_running():
            raid.grow()
        smallest = min(parts, key=layout.size_of)
        volume.grow(mounted.device, smallest)

    def _nothing(self, job: Job, record: Record, told: Told) -> None:
        """The book is written after the step."""

    # -- finding ----------------------------------------------------------------------------

    def _disk(self, identity: str) -> Disk:
        found = [disk for disk in self._disks() if identity and disk.identity == identity]
        if len(found) != 1:
            raise Refused.because("disk.identity", "The disk is not there any more.")
        return found[0]

    def _device(self, identity: str) -> str:
        return self._disk(identity).device

    def _part(self, identity: str) -> str:
        return layout.mail_partition(self._device(identity))

    def parts(self, record: Record, joining: str = "") -> list[str]:
        """Mail partitions of the volume that may be trusted."""
        found = []
        for disk in self._disks():
            if not disk.identity or disk.identity not in (*record.members, joining):
                continue
            marked = look_at(disk, self._key).marked
            wanted = marked is not None and marked.own and marked.marker.volume == record.volume
            if marked is None or not wanted or marked.marker.stage is Stage.FORMATTING:
                continue
            if marked.marker.stage is Stage.COPYING and disk.identity in record.members:
                continue
            found.append((marked.marker.stage, layout.mail_partition(disk.device)))
        # A half that is still copied to never comes first, and never alone.
        ready = [part for stage, part in found if stage is Stage.READY]
        return ready + [part for stage, part in found if stage is Stage.COPYING] if ready else []


def let_go(device: str) -> None:
    """Have the kernel forget a disk (it spins down and flushes first). Nothing when it cannot."""
    with contextlib.suppress(OSError):
        (DEVICE_SYS / Path(device).name / "device" / "delete").write_text("1")
