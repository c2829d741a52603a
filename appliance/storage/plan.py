"""What is done when somebody wishes something of a disk; pure.

`plan` turns a wish into named steps, or refuses it and says why. The steps are kept with how many
of them are done (record.py), before the first one begins. After a power cut the same job goes on
with the step that was under way; every step can be done again without harm. So a cut leaves
either the old state (the job was not kept yet) or a job that goes on.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from appliance.base.finding import Refused
from appliance.storage.marker import Read, Stage
from hw.model import Disk

MAX_MEMBERS = 2


class Kind(StrEnum):
    """What somebody may wish."""

    CONNECT = "connect"  # make a new mailbox disk of it
    TAKE = "take"  # bring in a disk that holds mailboxes already
    DETACH = "detach"  # so that it can be pulled
    REPLACE = "replace"  # move the mail to this disk, then leave the old one
    MIRROR = "mirror"  # keep the mail on this disk as well
    GROW = "grow"  # use all of a disk that has become larger


class Step(StrEnum):
    """One thing that is done. `disk` is the job's disk, `old` the one it takes the place of."""

    WIPE = "wipe"  # nothing is left on the disk that could be taken for something
    TABLE = "table"  # its partitions, and a marker that says: not ready
    FORMAT = "format"  # its file system
    READY = "ready"  # the marker says: ready
    CHECK = "check"  # its file system, before it is trusted
    SIGN = "sign"  # the marker becomes this box's
    REMEMBER = "remember"  # this is the mailbox disk from now on
    MOUNT = "mount"
    UNMOUNT = "unmount"
    FORGET = "forget"  # it is not waited for any more
    RELEASE = "release"  # the kernel lets go of the disk
    ARRAY = "array"  # the present disk becomes one half of a mirror, in place
    JOIN = "join"  # the disk becomes the other half
    COPY = "copy"  # until both halves are the same
    VERIFY = "verify"  # both halves are read and compared
    DROP = "drop"  # the old disk leaves the mirror
    PLAIN = "plain"  # a mirror with one half becomes a plain disk again
    RETIRE = "retire"  # the old disk's marker is taken away
    GROW = "grow"  # table and file system up to the end of the disk


# A cancelled job ends behind one of these with all mail where it was.
CAN_BE_CANCELLED = frozenset({Step.COPY, Step.VERIFY})
_NEW_HALF = (Step.WIPE, Step.TABLE, Step.UNMOUNT, Step.ARRAY, Step.MOUNT, Step.JOIN, Step.COPY)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What somebody wants. `typed` is the serial number typed to allow erasing; `agreed` that a
    disk of another box may be used."""

    kind: Kind
    disk: str = ""  # its identity; empty for detach and grow
    old: str = ""  # the disk to leave, for replace; empty: the only one
    typed: str = ""
    agreed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """A disk, and what was found on it without mounting anything.

    `has_layout`: its partitions are those of a Pennypost disk. Without them a marker is but a
    left-over of earlier times on a disk that somebody uses otherwise now.
    """

    disk: Disk
    read: Read | None = None
    has_layout: bool = False
    is_blank: bool = False

    @property
    def marked(self) -> Read | None:
        """The marker, when the disk is still the one that it speaks of."""
        return self.read if self.has_layout else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What the box remembers: the volume with the mail, the disks that hold it."""

    volume: str = ""
    members: tuple[str, ...] = ()
    attached: bool = False

    @property
    def has_disk(self) -> bool:
        return self.attached and bool(self.volume)


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A wish being carried out. `steps[done]` is the one under way."""

    kind: Kind
    disk: str
    old: str
    volume: str
    steps: tuple[Step, ...]
    done: int = 0

    @property
    def step(self) -> Step | None:
        return self.steps[self.done] if self.done < len(self.steps) else None

    def advanced(self) -> "Job":
        return replace(self, done=self.done + 1)


def plan(wish: Wish, looks: Sequence[Look], record: Record) -> tuple[Step, ...]:
    """The steps that fulfil `wish`. Raises Refused, which says why it is not done."""
    return _PLANS[wish.kind](wish, looks, record)


def job_of(wish: Wish, looks: Sequence[Look], record: Record, *, new_volume: str) -> Job:
    """The planned job. A disk that is connected gets `new_volume` as its volume."""
    steps = plan(wish, looks, record)
    volume = record.volume
    if wish.kind is Kind.CONNECT:
        volume = new_volume
    elif wish.kind is Kind.TAKE:
        volume = _found(wish, looks).disk.marker
    old = wish.old
    if wish.kind is Kind.REPLACE and not old:
        old = record.members[0]
    return Job(kind=wish.kind, disk=wish.disk, old=old, volume=volume, steps=steps)


def resume(job: Job, looks: Sequence[Look]) -> tuple[Step, ...]:
    """The steps left after a power cut. Raises Refused while the job's disk is not there.

    A disk that carries somebody else's data by now is left alone: the steps that destroy go on
    only on a blank disk, on one that we have begun, or before the first of them has ended.
    """
    look = next((look for look in looks if look.disk.identity == job.disk), None)
    if job.disk and look is None:
        raise Refused.because(
            "disk.job",
            "The disk that was being set up is not there.",
            "Put it back; the work goes on by itself. Or give it up.",
        )
    if look is not None and job.done and job.step in (Step.TABLE, Step.FORMAT):
        ours = look.read is not None and look.read.own and look.read.marker.volume == job.volume
        if not (ours or look.is_blank):
            raise Refused.because(
                "disk.job",
                "The disk that was being set up holds something else by now.",
                "Give the work up, then connect the disk anew.",
            )
    return job.steps[job.done :]


# -- one plan for each wish ---------------------------------------------------------------


def _connect(wish: Wish, looks: Sequence[Look], record: Record) -> tuple[Step, ...]:
    look = _usable(wish, looks)
    if record.has_disk:
        raise Refused.because(
            "disk.connect",
            "The box has a mailbox disk already.",
            "Replace it by this one, add this one as a mirror, or detach it first.",
        )
    _may_erase(wish, look)
    return (
        Step.WIPE, Step.TABLE, Step.FORMAT, Step.READY, Step.REMEMBER, Step.MOUNT,
    )  # fmt: skip


def _take(wish: Wish, looks: Sequence[Look], record: Record) -> tuple[Step, ...]:
    look = _usable(wish, looks)
    if record.has_disk:
        raise Refused.because(
            "disk.take", "The box has a mailbox disk already.", "Detach it first."
        )
    read = look.marked
    if read is None:
        raise Refused.because(
            "disk.take",
            "This is no Pennypost disk: nothing on it says so.",
            "To use it, everything on it has to be erased: connect it.",
        )
    if read.marker.stage is not Stage.READY:
        raise Refused.because(
            "disk.take",
            "This disk was never finished: there is no mail on it that is not elsewhere.",
            "Connect it as a new disk.",
        )
    if not read.own and not wish.agreed:
        raise Refused.because(
            "disk.agree",
            f"This disk was made by another Pennypost, on {read.marker.created[:10]}.",
            "If you know the disk, agree to use it here; its mailboxes stay as they are.",
        )
    return (Step.CHECK, Step.SIGN, Step.REMEMBER, Step.MOUNT)


def _detach(wish: Wish, looks: Sequence[Look], record: Record) -> tuple[Step, ...]:
    if not record.has_disk:
        raise Refused.because("disk.detach", "There is no mailbox disk to detach.")
    return (Step.UNMOUNT, Step.FORGET, Step.RELEASE)


def _mirror(wish: Wish, looks: Sequence[Look], record: Record) -> tuple[Step, ...]:
    look = _joins(wish, looks, record)
    present = [name for name in record.members if any(x.disk.identity == name for x in looks)]
    if len(record.members) >= MAX_MEMBERS and len(present) >= MAX_MEMBERS:
        raise Refused.because("disk.mirror", "The mail is on two disks already.")
    _may_erase(wish, look)
    return (*_NEW_HALF, Step.READY, Step.REMEMBER)


def _replace(wish: Wish, looks: Sequence[Look], record: Record) -> tuple[Step, ...]:
    look = _joins(wish, looks, record)
    if wish.old and wish.old not in record.members:
        raise Refused.because("disk.replace", "The disk to be replaced is not the mailbox disk.")
    if len(record.members) > 1 and not wish.old:
        raise Refused.because(
            "disk.replace", "The mail is on two disks.", "Say which one is to be replaced."
        )
    _may_erase(wish, look)
    # Remembered before the old one is dropped: a cut between must not bring the old one up alone.
    single = (Step.UNMOUNT, Step.PLAIN, Step.MOUNT) if len(record.members) == 1 else ()
    return (
        *_NEW_HALF, Step.VERIFY, Step.READY, Step.REMEMBER, Step.DROP, Step.RETIRE, *single,
        Step.GROW,
    )  # fmt: skip


def _grow(wish: Wish, looks: Sequence[Look], record: Record) -> tuple[Step, ...]:
    if not record.has_disk:
        raise Refused.because("disk.grow", "There is no mailbox disk.")
    return (Step.GROW,)


_PLANS: dict[Kind, Callable[[Wish, Sequence[Look], Record], tuple[Step, ...]]] = {
    Kind.CONNECT: _connect,
    Kind.TAKE: _take,
    Kind.DETACH: _detach,
    Kind.MIRROR: _mirror,
    Kind.REPLACE: _replace,
    Kind.GROW: _grow,
}


# -- what several of them ask -------------------------------------------------------------


def _found(wish: Wish, looks: Sequence[Look]) -> Look:
    matching = [look for look in looks if wish.disk and look.disk.identity == wish.disk]
    if not matching:
        raise Refused.because(
            "disk.identity", "This disk is not there any more.", "Look at the list again."
        )
    if len(matching) > 1:
        raise Refused.because(
            "disk.identity",
            "Two disks call themselves the same.",
            "Pull all but one of them.",
        )
    return matching[0]


def _usable(wish: Wish, looks: Sequence[Look]) -> Look:
    look = _found(wish, looks)
    if why := look.disk.refusal:
        raise Refused.because("disk.refused", why.say, why.fix)
    return look


def _joins(wish: Wish, looks: Sequence[Look], record: Record) -> Look:
    """The disk that takes mail over from the present one: another one, and large enough."""
    if not record.has_disk:
        raise Refused.because(
            f"disk.{wish.kind}", "There is no mailbox disk yet.", "Connect this one."
        )
    look = _usable(wish, looks)
    if wish.disk in record.members:
        raise Refused.because(f"disk.{wish.kind}", "This is the mailbox disk already.")
    sizes = [x.disk.size_bytes for x in looks if x.disk.identity in record.members]
    if not sizes:
        raise Refused.because(
            f"disk.{wish.kind}",
            "The mailbox disk is not there, so nothing can be copied from it.",
            "Put it back first.",
        )
    if look.disk.size_bytes < min(sizes):
        raise Refused.because(
            f"disk.{wish.kind}",
            "This disk is smaller than the one with the mail.",
            "Take one that is at least as large.",
        )
    return look


def _may_erase(wish: Wish, look: Look) -> None:
    """A disk with anything on it is erased only by whoever types its serial number."""
    read = look.marked  # below: begun by this box, never used
    unfinished = read is not None and read.own and read.marker.stage is not Stage.READY
    if look.is_blank or unfinished:
        return
    if wish.typed.strip() == look.disk.serial and look.disk.serial:
        return
    if wish.typed:
        raise Refused.because(
            "disk.serial",
            "This is not the serial number of the disk.",
            f"It stands on the disk and reads: {look.disk.serial}",
        )
    raise Refused.because(
        "disk.content",
        "There is something on this disk, and it would be lost: "
        + (" ".join(look.disk.content) or "what it is, the box cannot tell."),
        f"To erase everything on it, type its serial number: {look.disk.serial}",
    )
