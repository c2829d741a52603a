"""What is on a disk, found without mounting anything, said in sentences."""

import re
from collections.abc import Sequence
from dataclasses import replace

from appliance.base.finding import PennypostError
from appliance.base.run import run
from appliance.storage import layout
from appliance.storage.marker import SECTOR_BYTES, Key, Read, Stage, unpack
from appliance.storage.plan import Look
from hw.disks import clean
from hw.model import Disk

BLKID = "/usr/sbin/blkid"
PROBE_SECONDS = 20.0
MAX_SENTENCES = 12
_KINDS = {
    "ext2": "a Linux file system",
    "ext3": "a Linux file system",
    "ext4": "a Linux file system",
    "xfs": "a Linux file system",
    "btrfs": "a Linux file system",
    "f2fs": "a Linux file system",
    "ntfs": "a Windows file system",
    "vfat": "a FAT file system",
    "exfat": "a FAT file system",
    "apfs": "a Mac file system",
    "hfsplus": "a Mac file system",
    "zfs_member": "part of a ZFS pool",
    "linux_raid_member": "part of a RAID",
    "isw_raid_member": "part of a RAID",
    "ddf_raid_member": "part of a RAID",
    "LVM2_member": "part of a volume group",
    "crypto_LUKS": "an encrypted file system",
    "BitLocker": "an encrypted Windows file system",
    "swap": "swap space",
    "iso9660": "a CD image",
}


def look_at(disk: Disk, key: Key) -> Look:
    """The disk with its content, its marker, and whether it is blank."""
    if not disk.size_bytes:
        return Look(disk=disk)
    try:
        read = unpack(layout.read_at(disk.device, layout.MARKER_AT, SECTOR_BYTES), key)
        head = layout.read_at(disk.device, 0, layout.MIB)
    except OSError:
        said = ("It cannot be read.",)
        return Look(disk=replace(disk, content=said))
    found = layout.read_partitions(disk.device)
    has_layout = layout.is_ours(found)
    content = sentences(disk.device, len(found), read if has_layout else None)
    blank = not content and not head.strip(b"\0")
    if not content and not blank:
        content = ("Data of a kind that the box does not know.",)
    marker = read.marker.volume if read and has_layout else ""
    return Look(
        disk=replace(disk, content=content, marker=marker),
        read=read,
        has_layout=has_layout,
        is_blank=blank,
    )


def sentences(device: str, partitions: int, read: Read | None) -> tuple[str, ...]:
    """What is on the disk, a sentence each; empty when no program knows anything there."""
    if read is not None:
        return (_of_marker(read),)
    whole = probe(device)
    said = [text] if (text := in_words(whole, "The whole disk")) else []
    if kind := whole.get("PTTYPE", ""):
        parts = "1 partition" if partitions == 1 else f"{partitions or 'unknown'} partitions"
        said.append(f"A partition table ({clean(kind)}) with {parts}.")
    for number in range(1, min(partitions, MAX_SENTENCES) + 1):
        try:
            part = probe(layout.partition(device, number))
        except PennypostError:
            continue
        if text := in_words(part, f"Partition {number}"):
            said.append(text)
    return tuple(said[:MAX_SENTENCES])


def _of_marker(read: Read) -> str:
    day = read.marker.created[:10]
    if read.marker.stage is not Stage.READY:
        return "A Pennypost disk that was never finished."
    if read.own:
        return f"A mailbox disk of this box, made on {day}."
    return f"A mailbox disk of another Pennypost, made on {day}."


def probe(device: str) -> dict[str, str]:
    """What blkid knows of a device, read from the device itself, not from memory."""
    try:
        done = run(
            (BLKID, "--probe", "--output", "export", device),
            timeout_seconds=PROBE_SECONDS,
            check=False,
        )
    except PennypostError:
        return {}
    return parse_export(done.stdout.decode("utf-8", "replace"))


def parse_export(text: str) -> dict[str, str]:
    """`blkid --output export`: NAME=value lines, odd characters behind a backslash."""
    pairs = (line.partition("=") for line in text.splitlines())
    return {name: re.sub(r"\\(.)", r"\1", value) for name, _, value in pairs if name}


def in_words(found: dict[str, str], where: str) -> str:
    """One sentence; empty when nothing is known there. The label is the disk's own word."""
    kind = found.get("TYPE", "")
    if not kind:
        return ""
    label = clean(found.get("LABEL", ""))
    named = f" with the name “{label}”" if label else ""
    return f"{where}: {_KINDS.get(kind, 'data of the kind ' + clean(kind))}{named}."


def look_at_all(disks: Sequence[Disk], key: Key) -> tuple[Look, ...]:
    return tuple(look_at(disk, key) for disk in disks)
