"""The EFI system partition: read-only but for the moment something is written.

It is FAT, without a journal: the less time it is writable, the less a power cut can harm. All
writers take one lock, because the first to end would make it read-only under the second.
"""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from appliance.base.run import run

MOUNT_POINT = Path("/boot/efi")
LOCK = Path("/run/pennypost-esp.lock")
MOUNT = "/usr/bin/mount"
TIMEOUT_SECONDS = 30


def is_there(mount_point: Path = MOUNT_POINT) -> bool:
    """Whether the partition is mounted; a box may go on without it."""
    return mount_point.is_mount()


@contextlib.contextmanager
def writable(mount_point: Path = MOUNT_POINT, lock: Path = LOCK) -> Iterator[Path]:
    """The partition, writable inside the `with`; flushed and read-only again after it.

    A folder that is no mount point (a test's, a checkout's) is taken as it is. Raises
    CommandFailed when the partition cannot be made writable.
    """
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        if not mount_point.is_mount():
            yield mount_point
            return
        _remount(mount_point, "rw")
        try:
            yield mount_point
        finally:
            os.sync()
            _remount(mount_point, "ro")


def _remount(mount_point: Path, mode: str) -> None:
    run((MOUNT, "-o", f"remount,{mode}", str(mount_point)), timeout_seconds=TIMEOUT_SECONDS)
