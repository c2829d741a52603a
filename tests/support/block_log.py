"""The log of all that a machine wrote to its disk, and the disks that a power cut would leave.

QEMU's `blklogwrites` keeps the log in the format of dm-log-writes, version 1 (the kernel's
Documentation/admin-guide/device-mapper/log-writes.rst): a superblock in the first sector, then one
sector for each entry, followed by what was written. A disk may lose, or have half of, what it
took after its last flush; nothing else.
"""

from __future__ import annotations

import os
import random
import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.support.disk import SECTOR, Partition

_MAGIC, _VERSION = 0x6A736677736872, 1
_SUPERBLOCK, _HEADER = struct.Struct("<QQQI"), struct.Struct("<QQQQ")
_FLUSH, _FUA, _DISCARD, _MARK = 1, 2, 4, 8
_BLOCK_BYTES = 1 << 20
TORN = 0.15  # of the writes that got through, how many did by half


class NotALog(AssertionError):
    """The file does not begin as such a log does."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One write or flush. `at` is where in the log its bytes are."""

    index: int
    offset: int
    size: int
    flags: int
    at: int

    @property
    def is_flush(self) -> bool:
        return bool(self.flags & _FLUSH)

    @property
    def is_write(self) -> bool:
        """Discards are none: what was discarded may read as what it was."""
        return self.size > 0 and not self.flags & (_DISCARD | _MARK)

    @property
    def is_durable(self) -> bool:
        """Whether it is safe by itself, without a flush after it."""
        return bool(self.flags & _FUA)


def count(log: Path) -> int:
    """How many entries the log has by now; also while it is being written."""
    with log.open("rb", buffering=0) as file:
        head = file.read(_SUPERBLOCK.size)
    if len(head) < _SUPERBLOCK.size:
        return 0
    magic, version, entries, _ = _SUPERBLOCK.unpack(head)
    if (magic, version) != (_MAGIC, _VERSION):
        raise NotALog(f"{log} begins with {head!r}")
    return int(entries)


def read(log: Path) -> list[Entry]:
    """All entries but a torn one at the end. Raises NotALog."""
    expected, length = count(log), log.stat().st_size
    found: list[Entry] = []
    with log.open("rb") as file:
        sector_bytes = _SUPERBLOCK.unpack(file.read(_SUPERBLOCK.size))[3]
        at = sector_bytes
        for index in range(expected):
            file.seek(at)
            head = file.read(_HEADER.size)
            if len(head) < _HEADER.size:
                break
            sector, sectors, flags, data_bytes = _HEADER.unpack(head)
            at += sector_bytes
            size = sectors * sector_bytes
            follows = _follows(flags, size, data_bytes, sector_bytes)
            if at + follows > length:
                break
            found.append(Entry(index, sector * sector_bytes, size, flags, at))
            at += follows
    return found


def _follows(flags: int, size: int, data_bytes: int, sector_bytes: int) -> int:
    """Bytes between an entry's header and the next entry."""
    if flags & _DISCARD:
        return 0
    if flags & _MARK:
        return -(-data_bytes // sector_bytes) * sector_bytes
    return size


@dataclass(frozen=True, slots=True)
class Cut:
    """A moment at which the power goes: just before the flush at `index` takes effect.

    What was written up to `settled` is safe. `chosen` is what else got through, with how many
    bytes of it.
    """

    index: int
    settled: int
    chosen: tuple[tuple[Entry, int], ...]
    what: str


def cuts(entries: Sequence[Entry], flush: int, *, subsets: int, seed: int) -> Iterator[Cut]:
    """The cuts just before one flush: all got through, nothing did, some of it did."""
    settled = next((n + 1 for n in range(flush - 1, -1, -1) if entries[n].is_flush), 0)
    pending = [entry for entry in entries[settled:flush] if entry.is_write]
    everything = tuple((entry, entry.size) for entry in pending)
    yield Cut(flush, settled, everything, f"all {len(pending)} writes before flush {flush}")
    if not pending:
        return
    safe = tuple((entry, entry.size) for entry in pending if entry.is_durable)
    yield Cut(flush, settled, safe, f"none of {len(pending)} writes before flush {flush}")
    chance = random.Random(seed * 1_000_003 + flush)
    for number in range(subsets):
        chosen = tuple(_some(pending, chance))
        yield Cut(
            flush, settled, chosen,
            f"{len(chosen)} of {len(pending)} writes before flush {flush}, choice {number}",
        )  # fmt: skip


def _some(pending: Iterable[Entry], chance: random.Random) -> Iterator[tuple[Entry, int]]:
    likelihood = chance.random()
    for entry in pending:
        if entry.is_durable:
            yield entry, entry.size
        elif chance.random() < likelihood:
            sectors = entry.size // SECTOR
            torn = sectors > 1 and chance.random() < TORN
            yield entry, (chance.randrange(1, sectors) if torn else sectors) * SECTOR


class Replay:
    """A raw disk image that is led through the log, onwards only."""

    def __init__(self, disk: Path, log: Path) -> None:
        """`disk` is as it was when the log began; it is written."""
        self.entries = read(log)
        self.settled = 0
        self.disk = disk
        self._disk = os.open(disk, os.O_RDWR)
        self._log = os.open(log, os.O_RDONLY)

    def close(self) -> None:
        os.close(self._disk)
        os.close(self._log)

    @property
    def flushes(self) -> dict[int, int]:
        """The flushes before which something was written, and how many writes that were.

        The end of the log is one of them: there the power did go.
        """
        found, pending = {}, 0
        for entry in self.entries:
            pending += entry.is_write
            if entry.is_flush and pending:
                found[entry.index] = pending
                pending = 0
        return {**found, len(self.entries): pending} if pending else found

    def advance(self, settled: int) -> None:
        """Do all that comes before the entry `settled`."""
        if settled < self.settled:
            raise AssertionError("a disk does not go back")
        for entry in self.entries[self.settled : settled]:
            if entry.is_write:
                os.pwrite(self._disk, self._data(entry, entry.size), entry.offset)
        self.settled = settled

    def partition_at(self, cut: Cut, part: Partition, target: Path) -> None:
        """Put down a partition as the cut leaves it."""
        self.advance(cut.settled)
        number = os.open(target, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            os.truncate(number, part.size)
            self._copy(part, number)
            for entry, size in cut.chosen:
                self._write_within(entry, size, part, number)
        finally:
            os.close(number)

    def write_chosen(self, cut: Cut) -> None:
        """Let the cut happen to the disk itself, to be started from; the last thing done to it."""
        self.advance(cut.settled)
        for entry, size in cut.chosen:
            os.pwrite(self._disk, self._data(entry, size), entry.offset)

    def _data(self, entry: Entry, size: int) -> bytes:
        return os.pread(self._log, size, entry.at)

    def _write_within(self, entry: Entry, size: int, part: Partition, number: int) -> None:
        begin = max(entry.offset, part.offset)
        end = min(entry.offset + size, part.offset + part.size)
        if begin < end:
            data = self._data(entry, size)[begin - entry.offset : end - entry.offset]
            os.pwrite(number, data, begin - part.offset)

    def _copy(self, part: Partition, number: int) -> None:
        """What is not a hole."""
        at, end = part.offset, part.offset + part.size
        while at < end:
            try:
                at = os.lseek(self._disk, at, os.SEEK_DATA)
            except OSError:  # nothing but holes from here on
                return
            stop = min(os.lseek(self._disk, at, os.SEEK_HOLE), end)
            while at < stop:
                block = os.pread(self._disk, min(_BLOCK_BYTES, stop - at), at)
                os.pwrite(number, block, at - part.offset)
                at += len(block)
