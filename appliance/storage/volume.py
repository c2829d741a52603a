"""The file system with the mailboxes: made, checked, mounted, let go.

ext4 with checksums. Mounted `nosuid,nodev,noexec`, so that nothing on the disk is ever run, and
`errors=remount-ro`, so that a fault is seen and nothing is written on top of it. Checked before
each mount.
"""

import os
import time
from dataclasses import dataclass
from pathlib import Path

from appliance.base.finding import PennypostError, Refused
from appliance.base.run import run
from appliance.storage import layout
from appliance.storage.look import probe

MOUNT, UMOUNT = "/usr/bin/mount", "/usr/bin/umount"
MKE2FS, E2FSCK, RESIZE2FS = "/usr/sbin/mke2fs", "/usr/sbin/e2fsck", "/usr/sbin/resize2fs"
OPTIONS = "rw,nosuid,nodev,noexec,noatime,errors=remount-ro"
FEATURES = "has_journal,extent,huge_file,flex_bg,metadata_csum,64bit,dir_nlink,extra_isize"
FORMAT_SECONDS = 1800.0
CHECK_SECONDS = 6 * 3600.0  # a repair of a large disk takes its time
MOUNT_SECONDS = 120.0
LET_GO_SECONDS = 20.0
CLEAN, REPAIRED, TOO_BAD = 0, 1, 4  # e2fsck(8)'s exit status


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """What the check before a mount found."""

    was_cut: bool = False  # the journal had to be replayed: the power went, or the disk
    repaired: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Mounted:
    """What is mounted at the mount point."""

    device: str  # as the kernel calls it: /dev/sdb2
    number: str  # 8:18
    is_read_only: bool


def make(part: str, volume: str) -> None:
    """A new file system on a partition, whose UUID is the volume's."""
    kib = layout.file_system_kib(layout.size_of(part))
    run(
        (
            MKE2FS, "-q", "-F", "-t", "ext4", "-U", volume, "-L", f"pp-{volume[:8]}", "-m", "1",
            "-e", "remount-ro", "-O", FEATURES, "-E", "lazy_itable_init=1,nodiscard", part,
            f"{kib}k",
        ),
        timeout_seconds=FORMAT_SECONDS,
    )  # fmt: skip


def check(device: str, volume: str, *, thoroughly: bool = False) -> Checked:
    """Check, and repair, the file system on `device`. Raises Refused when it is not this volume
    or cannot be repaired.

    `thoroughly` is for a disk that another box made: everything is looked at, and a second look
    has to find nothing.
    """
    found = probe(device)
    if found.get("TYPE") != "ext4" or found.get("UUID") != volume:
        raise Refused.because(
            "disk.volume",
            "The file system of the mailbox disk is not the one that its marker names.",
            "Do not use this disk; ask for help if there is mail on it.",
        )
    gentle = run((E2FSCK, "-p", device), timeout_seconds=CHECK_SECONDS, check=False)
    was_cut = b"recovering journal" in gentle.stdout
    status = gentle.returncode
    if status >= TOO_BAD or thoroughly:
        repair = run((E2FSCK, "-f", "-y", device), timeout_seconds=CHECK_SECONDS, check=False)
        second = run((E2FSCK, "-f", "-n", device), timeout_seconds=CHECK_SECONDS, check=False)
        if second.returncode != CLEAN:
            raise Refused.because(
                "disk.check",
                "The file system of the mailbox disk is damaged and could not be repaired.",
                "Replace the disk, and restore the mailboxes from a backup.",
            )
        return Checked(was_cut=was_cut, repaired=repair.returncode == REPAIRED)
    return Checked(was_cut=was_cut, repaired=status == REPAIRED and not was_cut)


def mount(device: str, point: Path) -> None:
    """Mount a checked file system. What is mounted there already stays."""
    if mounted_at(point) is None:
        run((MOUNT, "-t", "ext4", "-o", OPTIONS, device, str(point)), timeout_seconds=MOUNT_SECONDS)


def unmount(point: Path, *, by_force: bool = False) -> None:
    """Let the file system go. A program may need a moment to close its files.

    `by_force`, for a disk that is gone or broken, takes it out of sight at once; what is open
    stays open until its program ends, and nothing new can be written. Otherwise raises Refused
    when it is still in use.
    """
    deadline = time.monotonic() + (0 if by_force else LET_GO_SECONDS)
    while mounted_at(point) is not None:
        done = run((UMOUNT, str(point)), timeout_seconds=MOUNT_SECONDS, check=False)
        if done.returncode == 0:
            continue
        if by_force:
            run((UMOUNT, "--lazy", str(point)), timeout_seconds=MOUNT_SECONDS)
        elif time.monotonic() > deadline:
            raise Refused.because(
                "disk.busy",
                "The mailbox disk is still in use.",
                "Wait until people have closed their mail programs, then try again.",
            )
        else:
            time.sleep(0.5)


def mounted_at(point: Path) -> Mounted | None:
    """What is mounted there, the topmost; None when nothing is."""
    return parse_mountinfo(Path("/proc/self/mountinfo").read_text(), str(point))


def parse_mountinfo(text: str, point: str) -> Mounted | None:
    """One line of /proc/self/mountinfo (proc(5)); the last one lies on top. Pure."""
    found = None
    for line in text.splitlines():
        left, _, right = line.partition(" - ")
        here, there = left.split(" "), right.split(" ")
        if here[4] == point:
            flags = {*here[5].split(","), *there[2].split(",")}
            found = Mounted(
                device=there[1],
                number=here[2],
                is_read_only=bool(flags & {"ro", "emergency_ro", "shutdown"}),
            )
    return found


def grow(device: str, part: str) -> None:
    """Let the mounted file system on `device` fill its partition up to the free tail."""
    kib = layout.file_system_kib(layout.size_of(part))
    run((RESIZE2FS, device, f"{kib}K"), timeout_seconds=FORMAT_SECONDS)


def protect(point: Path) -> None:
    """Make sure that nothing can be written below the empty mount point.

    On the box it lies on the read-only root. Elsewhere the folder gets the rights of nobody and,
    where the file system knows it, cannot be changed even by root.
    """
    if mounted_at(point) is not None or os.statvfs(point).f_flag & os.ST_RDONLY:
        return
    try:
        point.chmod(0)
        run(("/usr/bin/chattr", "+i", str(point)), timeout_seconds=10)
    except (OSError, PennypostError) as error:
        raise Refused.because(
            "disk.mount_point",
            f"The folder {point} cannot be protected while no disk is mounted there: {error}",
        ) from error
