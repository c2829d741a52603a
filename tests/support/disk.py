"""Looking into disk images and spoiling them: partitions by label, bytes by offset."""

from __future__ import annotations

import struct
import subprocess
from dataclasses import dataclass
from pathlib import Path

SECTOR = 512


@dataclass(frozen=True, slots=True)
class Partition:
    """One entry of a GPT: its label and where it lies, in bytes."""

    label: str
    offset: int
    size: int


def partitions(image: Path) -> dict[str, Partition]:
    """The partitions of a raw image, by label (UEFI 2.10 §5.3)."""
    with image.open("rb") as disk:
        disk.seek(SECTOR)
        header = disk.read(92)
        if header[:8] != b"EFI PART":
            raise AssertionError(f"{image} has no GPT")
        table, count, size = struct.unpack_from("<QII", header, 72)
        disk.seek(table * SECTOR)
        entries = [disk.read(size) for _ in range(count)]
    found: dict[str, Partition] = {}
    for entry in entries:
        if entry[:16] == bytes(16):
            continue
        first, last = struct.unpack_from("<QQ", entry, 32)
        label = entry[56:128].decode("utf-16-le").rstrip("\0")
        found[label] = Partition(label, first * SECTOR, (last - first + 1) * SECTOR)
    return found


def read_partition(image: Path, label: str, *, limit: int | None = None) -> bytes:
    """The raw bytes of a partition (all, or the first `limit`)."""
    part = partitions(image)[label]
    with image.open("rb") as disk:
        disk.seek(part.offset)
        return disk.read(min(part.size, limit) if limit else part.size)


def spoil(disk: Path, part: Partition, *, offset: int = 0, length: int = 1 << 20) -> None:
    """Overwrite bytes of a partition on a qcow2 overlay, as a dying card would."""
    command = f"write -P 0xa5 {part.offset + offset} {length}"
    subprocess.run(
        ["qemu-io", "-f", "qcow2", "-c", command, str(disk)],
        check=True,
        timeout=60,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )


def read_overlay(disk: Path, part: Partition, target: Path) -> Path:
    """Copy a partition's present content out of a qcow2 overlay into a raw file."""
    subprocess.run(
        [
            *("qemu-img", "dd", "-f", "qcow2", "-O", "raw", f"bs={1 << 20}"),
            *(f"skip={part.offset >> 20}", f"count={(part.offset + part.size) >> 20}"),
            *(f"if={disk}", f"of={target}"),
        ],
        check=True,
        timeout=120,
        stdin=subprocess.DEVNULL,
    )
    return target


def esp_file(image: Path, name: str, *, offset: int = 0) -> bytes:
    """A file of a FAT file system that begins at `offset` of a raw image (mtools)."""
    done = subprocess.run(
        ["mtype", "-i", f"{image}@@{offset}", f"::{name}"],
        check=True,
        timeout=60,
        stdin=subprocess.DEVNULL,
        capture_output=True,
    )
    return done.stdout


def put_esp_file(disk: Path, image: Path, name: str, data: bytes) -> None:
    """Lay a file on the boot partition of a qcow2 overlay of `image`, as any PC would."""
    part = partitions(image)["esp"]
    esp, file = disk.with_name("esp.img"), disk.with_name("esp-file")
    esp.write_bytes(read_partition(image, "esp"))
    file.write_bytes(data)
    for argv in (
        ["mcopy", "-o", "-i", str(esp), str(file), f"::{name}"],
        ["qemu-io", "-f", "qcow2", "-c", f"write -s {esp} {part.offset} {part.size}", str(disk)],
    ):
        subprocess.run(
            argv, check=True, timeout=60, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
        )
    esp.unlink()
