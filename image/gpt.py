"""A GUID partition table as bytes (UEFI specification 2.10, chapter 5).

Pure: partitions in, sectors out. All GUIDs are fixed, so that the same input gives the
same table.
"""

from __future__ import annotations

import struct
import uuid
import zlib
from dataclasses import dataclass

SECTOR = 512
MIB = 1 << 20
ENTRIES, ENTRY_BYTES = 128, 128
TABLE_SECTORS = ENTRIES * ENTRY_BYTES // SECTOR
# Our own name space: what follows from it is the same in every build.
SPACE = uuid.UUID("5e9e4f0c-54ae-4dbb-9b49-70656e6e7970")
TYPES = {
    "esp": uuid.UUID("c12a7328-f81f-11d2-ba4b-00a0c93ec93b"),
    "linux": uuid.UUID("0fc63daf-8483-4772-8e79-3d69d8477de4"),
}


@dataclass(frozen=True, slots=True)
class Partition:
    """One partition; `start` and `size` in bytes, multiples of a MiB."""

    label: str
    kind: str
    start: int
    size: int


def guid(name: str) -> uuid.UUID:
    """The fixed GUID of a disk or partition."""
    return uuid.uuid5(SPACE, name)


def disk_bytes(partitions: tuple[Partition, ...]) -> int:
    """Size of an image that just holds the partitions and the backup table."""
    return max(p.start + p.size for p in partitions) + MIB


def pieces(partitions: tuple[Partition, ...], size: int, name: str) -> dict[int, bytes]:
    """What is to be written where (offset in bytes) on a disk of `size` bytes.

    Raises ValueError for partitions that overlap or do not fit.
    """
    _check(partitions, size)
    last = size // SECTOR - 1
    table = b"".join(_entry(p) for p in partitions).ljust(ENTRIES * ENTRY_BYTES, b"\0")
    primary = _header(table, name, here=1, other=last, entries=2, last=last)
    backup = _header(table, name, here=last, other=1, entries=last - TABLE_SECTORS, last=last)
    return {
        0: _protective_mbr(last),
        SECTOR: primary + table,
        (last - TABLE_SECTORS) * SECTOR: table + backup,
    }


def _check(partitions: tuple[Partition, ...], size: int) -> None:
    end = MIB
    for part in sorted(partitions, key=lambda p: p.start):
        if part.start < end or part.start % MIB or part.size % MIB or part.size <= 0:
            raise ValueError(f"{part.label} overlaps another partition or is not aligned")
        end = part.start + part.size
    if end > size - (TABLE_SECTORS + 1) * SECTOR:
        raise ValueError(f"the partitions end at {end}, the disk has {size} bytes")


def _entry(part: Partition) -> bytes:
    return struct.pack(
        "<16s16sQQQ72s",
        TYPES[part.kind].bytes_le,
        guid(part.label).bytes_le,
        part.start // SECTOR,
        (part.start + part.size) // SECTOR - 1,
        0,
        part.label.encode("utf-16-le"),
    )


def _header(table: bytes, name: str, *, here: int, other: int, entries: int, last: int) -> bytes:
    def pack(crc: int) -> bytes:
        return struct.pack(
            "<8sIIIIQQQQ16sQIII",
            b"EFI PART",
            0x00010000,
            92,
            crc,
            0,
            here,
            other,
            2 + TABLE_SECTORS,
            last - TABLE_SECTORS - 1,
            guid(name).bytes_le,
            entries,
            ENTRIES,
            ENTRY_BYTES,
            zlib.crc32(table),
        )

    return pack(zlib.crc32(pack(0))).ljust(SECTOR, b"\0")


def _protective_mbr(last: int) -> bytes:
    """One entry of type 0xEE over the whole disk keeps old tools away."""
    entry = struct.pack("<B3sB3sII", 0, b"\0\2\0", 0xEE, b"\xff\xff\xff", 1, min(last, 0xFFFFFFFF))
    return entry.rjust(446 + 16, b"\0").ljust(510, b"\0") + b"\x55\xaa"
