"""How a Pennypost disk is laid out, and how that is read and written.

    1 MiB    partition 1, 1 MiB: the marker (marker.py)
    2 MiB    partition 2, the rest: ext4, but for its last 4 MiB

The 4 MiB stay free for the superblock of md (metadata 1.0, at the end): so one disk can become
half of a mirror, and a plain disk again, in place, without moving a byte of mail.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from appliance.base.finding import PennypostError, Refused
from appliance.base.run import run

MIB = 1 << 20
SECTOR_BYTES = 512
MARKER_AT = MIB
MARKER_TYPE = "0B3C6A52-5E0F-4C4B-9D0C-70656E6E7901"
MAIL_TYPE = "0B3C6A52-5E0F-4C4B-9D0C-70656E6E7902"
TAIL_BYTES = 4 * MIB
WIPED_BYTES = 4 * MIB
SFDISK, PARTX = "/usr/sbin/sfdisk", "/usr/bin/partx"
TOOL_SECONDS = 60.0
SYS = Path("/sys/class/block")


@dataclass(frozen=True, slots=True, kw_only=True)
class Partition:
    """A partition of a GPT."""

    number: int
    start: int  # sectors
    sectors: int
    type: str


def table_script() -> bytes:
    """What sfdisk is told. The second partition takes what is left."""
    return (
        "label: gpt\n"
        f'start=2048, size=2048, type={MARKER_TYPE}, name="pennypost-marker"\n'
        f'start=4096, type={MAIL_TYPE}, name="pennypost-mail"\n'
    ).encode()


def partitions_in(dump: Any) -> tuple[Partition, ...]:
    """The partitions in what `sfdisk --json` printed; none when it is of another kind. Pure."""
    table = dump.get("partitiontable") if isinstance(dump, Mapping) else None
    if not isinstance(table, Mapping) or table.get("label") != "gpt":
        return ()
    size = int(table.get("sectorsize") or SECTOR_BYTES)
    return tuple(
        Partition(
            number=number,
            start=int(raw["start"]) * size // SECTOR_BYTES,
            sectors=int(raw["size"]) * size // SECTOR_BYTES,
            type=str(raw.get("type", "")).upper(),
        )
        for number, raw in enumerate(table.get("partitions") or (), 1)
    )


def is_ours(found: tuple[Partition, ...]) -> bool:
    """Whether these are the partitions of a Pennypost disk."""
    return (
        [part.type for part in found] == [MARKER_TYPE, MAIL_TYPE]
        and found[0].start * SECTOR_BYTES == MARKER_AT
        and found[0].sectors * SECTOR_BYTES == MIB
    )


def read_partitions(device: str) -> tuple[Partition, ...]:
    """The partitions of the disk at `device`; none when it has no table that can be read."""
    try:
        done = run((SFDISK, "--json", device), timeout_seconds=TOOL_SECONDS, check=False)
        return partitions_in(json.loads(done.stdout)) if done.returncode == 0 else ()
    except (PennypostError, ValueError, KeyError, TypeError):
        return ()


def write_table(device: str) -> None:
    """Write both partitions and tell the kernel of them."""
    run(
        (SFDISK, "--quiet", "--no-reread", "--no-tell-kernel", "--wipe", "always", device),
        input=table_script(),
        timeout_seconds=TOOL_SECONDS,
    )
    tell_kernel(device)


def tell_kernel(device: str) -> None:
    """Have the kernel know the partitions as they are on the disk now."""
    run((PARTX, "--update", device), timeout_seconds=TOOL_SECONDS, check=False)


def forget_partitions(device: str) -> None:
    """Have the kernel know no partition of the disk any more."""
    run((PARTX, "--delete", device), timeout_seconds=TOOL_SECONDS, check=False)


def partition(device: str, number: int) -> str:
    """The device of a partition: ("/dev/sdb", 2) is "/dev/sdb2". Raises Refused without one."""
    folder = SYS / Path(device).name
    for child in folder.glob(f"{folder.name}*/partition"):
        if child.read_text().strip() == str(number):
            return f"/dev/{child.parent.name}"
    raise Refused.because("disk.partition", f"{device} has no partition {number}.")


def mail_partition(device: str) -> str:
    return partition(device, 2)


def size_of(device: str) -> int:
    """Bytes of a block device or a file. Raises OSError."""
    fd = os.open(device, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.lseek(fd, 0, os.SEEK_END)
    finally:
        os.close(fd)


def file_system_kib(partition_bytes: int) -> int:
    """How large the file system on a partition is made, KiB: the tail stays free."""
    return (partition_bytes - TAIL_BYTES) // 4096 * 4


def wipe(device: str) -> None:
    """Zero both ends of a disk, where all tables and RAID superblocks lie.

    Opened for us alone: the kernel refuses with EBUSY while anything of the disk is mounted or
    part of a RAID. Raises OSError.
    """
    forget_partitions(device)
    fd = os.open(device, os.O_RDWR | os.O_EXCL | os.O_CLOEXEC)
    try:
        size = os.lseek(fd, 0, os.SEEK_END)
        zeros = bytes(min(WIPED_BYTES, size))
        _write(fd, 0, zeros)
        _write(fd, size - len(zeros), zeros)
        os.fsync(fd)
    finally:
        os.close(fd)


def read_at(device: str, offset: int, length: int) -> bytes:
    """Bytes from a disk; fewer at its end. Raises OSError."""
    fd = os.open(device, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.posix_fadvise(fd, offset, length, os.POSIX_FADV_DONTNEED)
        return os.pread(fd, length, offset)
    finally:
        os.close(fd)


def write_at(device: str, offset: int, data: bytes) -> None:
    """Put bytes on a disk, on stable storage when it returns. Raises OSError."""
    fd = os.open(device, os.O_RDWR | os.O_CLOEXEC)
    try:
        _write(fd, offset, data)
        os.fsync(fd)
    finally:
        os.close(fd)


def _write(fd: int, offset: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        done = os.pwrite(fd, view, offset)
        offset, view = offset + done, view[done:]
