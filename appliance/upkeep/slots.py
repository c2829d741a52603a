"""Two slots, so that one can always start: keeps the other one fit.

The image ships slot A filled and slot B empty. Once the box is up, what it runs from is copied
to the other slot, block for block, and read back; only then is the other slot confirmed. The
same way back: a box that had to start from B makes a broken A anew.

Done at the lowest priority. A cut leaves the other slot unconfirmed and half written: the boot
loader does not start it, and the next run goes on where the copies are the same already.
"""

import hashlib
import logging
import os
import re
import struct
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from appliance.base.finding import PennypostError, Refused
from appliance.upkeep import bootstate, esp
from appliance.upkeep.bootstate import BootState

SLOTS = ("a", "b")
DEVICES = Path("/dev/pennypost")
BLOCK_BYTES = 1024 * 1024
# squashfs superblock (kernel documentation, squashfs.rst): magic, and bytes_used at offset 40.
SQUASHFS_MAGIC = b"hsqs"
SUPERBLOCK = struct.Struct("<4s36xQ")
_log = logging.getLogger("pennypost.slots")


@dataclass(frozen=True, slots=True)
class Slot:
    """A slot: its partition with kernel and initrd, and its root. Block devices, or files."""

    name: str
    boot: Path
    root: Path

    @property
    def partitions(self) -> tuple[Path, Path]:
        return (self.boot, self.root)


def slot(name: str, devices: Path = DEVICES) -> Slot:
    """The slot `name` ("a" or "b") of the disk the box started from."""
    return Slot(name, devices / f"boot_{name}", devices / f"root_{name}")


def other(name: str) -> str:
    return SLOTS[1] if name == SLOTS[0] else SLOTS[0]


def used_bytes(partition: Path) -> int:
    """Length of the squashfs on `partition`; 0 when there is none."""
    with partition.open("rb") as file:
        head = file.read(SUPERBLOCK.size)
    if len(head) < SUPERBLOCK.size:
        return 0
    magic, used = SUPERBLOCK.unpack(head)
    return int(used) if magic == SQUASHFS_MAGIC else 0


def digest(partition: Path, length: int) -> str:
    """SHA-256 of the first `length` bytes, hexadecimal."""
    total = hashlib.sha256()
    with partition.open("rb") as file:
        _forget_cached(file)
        for size in _blocks(length):
            total.update(file.read(size))
    return total.hexdigest()


def copy(source: Path, target: Path) -> str:
    """Copy the file system on `source` to `target` and read it back; its SHA-256.

    The superblock comes last, so that a half-written copy is never taken for one. Blocks that
    are the same already are not written: a copy that was cut off goes on quickly. Raises
    Refused when the source holds no file system or the copy reads back otherwise, OSError when
    a device fails.
    """
    length = used_bytes(source)
    if not length:
        raise Refused.because("slots.source", f"{source} holds no system to copy.")
    expected = hashlib.sha256()
    with source.open("rb") as old, target.open("r+b", buffering=0) as new:
        first = old.read(min(BLOCK_BYTES, length))
        expected.update(first)
        if _read_at(new, 0, len(first)) != first:
            _write_at(new, 0, bytes(len(first)))
        offset = len(first)
        for size in _blocks(length - offset):
            block = old.read(size)
            expected.update(block)
            if _read_at(new, offset, size) != block:
                _write_at(new, offset, block)
            offset += size
        os.fsync(new.fileno())
        _write_at(new, 0, first)
        os.fsync(new.fileno())
    if digest(target, length) != expected.hexdigest():
        raise Refused.because("slots.verify", f"{target} does not hold what was written to it.")
    return expected.hexdigest()


def refill(running: Slot, twin: Slot) -> None:
    """Copy the running slot to its twin. The root first: a slot without kernel is passed over."""
    for source, target in reversed(list(zip(running.partitions, twin.partitions, strict=True))):
        _log.info("copying %s to %s", source.name, target.name)
        _log.info("%s holds %s", target.name, copy(source, target))


def booted(command_line: str) -> str:
    """The slot named on the kernel's command line; empty when it names none."""
    found = re.search(r"(?:^|\s)pennypost\.slot=([ab])(?:\s|$)", command_line)
    return found[1] if found else ""


def _blocks(length: int) -> list[int]:
    whole, rest = divmod(length, BLOCK_BYTES)
    return [BLOCK_BYTES] * whole + ([rest] if rest else [])


def _read_at(file: BinaryIO, offset: int, size: int) -> bytes:
    return os.pread(file.fileno(), size, offset)


def _write_at(file: BinaryIO, offset: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(file.fileno(), view, offset)
        offset, view = offset + written, view[written:]


def _forget_cached(file: BinaryIO) -> None:
    """Read back from the medium, not from memory (as far as the kernel obliges)."""
    os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def needs_refill(state: BootState, twin: Slot) -> str:
    """Why the twin has to be made anew; empty when it is to be left alone.

    A slot that has tries left holds something that is being tried: never touched.
    """
    marks = state.marks(twin.name)
    if not marks.confirmed:
        return "" if marks.tries else "it was never proved good"
    if not all(used_bytes(partition) for partition in twin.partitions):
        return "it holds no system"
    if state.order[0] == twin.name:
        # The boot loader passes over a confirmed slot only when it cannot be loaded.
        return "it comes first but was not started"
    return ""


def keep_fit(running: Slot, twin: Slot) -> bool:
    """Make the twin anew when it needs it, from a running slot that is proved good.

    The twin is not startable from before the first write until its copy is verified.
    """
    state = bootstate.read()
    if not state.marks(running.name).confirmed:
        _log.info("slot %s is not confirmed yet; it is not copied", running.name)
        return False
    why = needs_refill(state, twin)
    if not why:
        _log.info("slot %s is fit", twin.name)
        return False
    _log.info("making slot %s from slot %s: %s", twin.name, running.name, why)
    _write(lambda now: now.doubt(twin.name))
    refill(running, twin)
    _write(lambda now: now.confirm(twin.name))
    _log.info("slot %s is fit to start from", twin.name)
    return True


def _write(change: Callable[[BootState], BootState]) -> None:
    """Change the slot state as it is now; nothing is written when nothing changes."""
    now = bootstate.read()
    if (wanted := change(now)) != now:
        with esp.writable():
            bootstate.write(wanted)


def main() -> int:
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    name = booted(Path("/proc/cmdline").read_text())
    if not name or not esp.is_there():
        _log.warning("no slot is named, or the boot partition is not mounted: nothing is copied")
        return 0
    try:
        keep_fit(slot(name), slot(other(name)))
    except (PennypostError, OSError) as error:
        _log.error("the other slot could not be made: %s", error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
