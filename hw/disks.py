"""The disks of the box: from what udev and the kernel say of each, to a `Disk`.

`disk_of` is pure: a mapping of facts in, a `Disk` out. `list_disks` reads the facts; `watch`
tells that something changed. What hangs where is told by facts, never by a device's name: names
follow neither ports nor controllers and change from start to start.
"""

import re
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from hw.model import Bus, Disk, Why

SYS = Path("/sys")
SECTOR_BYTES = 512  # /sys/block/*/size counts these, whatever the disk's own sectors are
SMALLEST_BYTES = 1 << 30
MAX_TEXT_CHARACTERS = 64
MAILBOXES = "/srv/mail"
SYSTEM_MOUNTS = frozenset({"/", "/data", "/boot/efi"})
PROBE_SECONDS = 3.0
# Kernel drivers of controllers that hide their disks behind volumes of their own.
RAID_DRIVERS = frozenset({"megaraid_sas", "megaraid_legacy", "hpsa", "smartpqi", "aacraid"})
HYPERVISOR_DRIVERS = frozenset({"vmw_pvscsi", "storvsc", "virtio_scsi", "Virtio SCSI HBA"})
_OTHER_BUSES = {
    Bus.USB: "This disk is attached by USB; only SATA and SAS disks hold mailboxes.",
    Bus.NVME: "This disk is attached as NVMe; only SATA and SAS disks hold mailboxes.",
    Bus.MMC: "This disk is an SD card or eMMC; only SATA and SAS disks hold mailboxes.",
    Bus.VIRTUAL: "This is a virtual disk; only SATA and SAS disks hold mailboxes.",
    Bus.OTHER: "The box does not know how this disk is attached; only SATA and SAS disks hold "
    "mailboxes.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What udev and sysfs say of one disk, as it came."""

    device: str
    properties: Mapping[str, str] = field(default_factory=dict)  # udev's, DEVPATH among them
    size_sectors: int = 0
    is_rotational: bool | None = None
    is_read_only: bool = False
    state: str = ""  # SCSI's: running, offline, ...
    driver: str = ""  # proc_name of the SCSI host
    slot: str = ""  # of the enclosure, or the bay that the SAS expander tells
    mounts: tuple[str, ...] = ()  # of the disk and its partitions
    holders: tuple[str, ...] = ()  # md or dm devices on top
    is_swap: bool = False


def clean(raw: str) -> str:
    """Text from a disk, fit to be shown: printable, one line, at most 64 characters.

    udev escapes what it does not like as `\\x20`; what is no UTF-8 becomes a replacement sign.
    """
    data = re.sub(
        rb"\\x([0-9a-fA-F]{2})",
        lambda match: bytes([int(match[1], 16)]),
        raw.encode("utf-8", "surrogateescape"),
    )
    text = data.decode("utf-8", "replace")
    shown = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text.strip())
    return " ".join(shown.split())[:MAX_TEXT_CHARACTERS].strip()


def bus_of(facts: Facts) -> Bus:
    """What the disk hangs on, by the path of devices that leads to it."""
    told, path = facts.properties, facts.properties.get("DEVPATH", "")
    if re.search(r"/usb\d+/", path) or told.get("ID_BUS") == "usb":
        return Bus.USB  # also a SATA disk behind a bridge
    if "/nvme/" in path:
        return Bus.NVME
    if "/mmc_host/" in path:
        return Bus.MMC
    if re.search(r"/virtio\d+/", path) or "/devices/virtual/" in path or "/vbd-" in path:
        return Bus.VIRTUAL
    if facts.driver in HYPERVISOR_DRIVERS:
        return Bus.VIRTUAL
    if "/end_device-" in path or facts.driver in RAID_DRIVERS:
        return Bus.SAS
    if told.get("ID_ATA_SATA") == "1":
        return Bus.SATA
    return Bus.OTHER


def identity_of(told: Mapping[str, str]) -> str:
    """By which the disk is found again: its WWN, else its serial number."""
    if re.fullmatch(r"0x[0-9a-f]{8,32}", wwn := told.get("ID_WWN_WITH_EXTENSION", "")) or (
        re.fullmatch(r"0x[0-9a-f]{8,32}", wwn := told.get("ID_WWN", ""))
    ):
        return f"wwn-{wwn}"
    model, serial = told.get("ID_MODEL", ""), serial_of(told)
    return f"serial-{_word(model)}_{_word(serial)}" if serial else ""


def serial_of(told: Mapping[str, str]) -> str:
    """The serial number that is printed on the disk.

    Of a SAS disk ID_SERIAL_SHORT is the WWN; what is printed is ID_SCSI_SERIAL.
    """
    return clean(told.get("ID_SCSI_SERIAL", "") or told.get("ID_SERIAL_SHORT", ""))


def _word(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9.-]+", "-", clean(text)).strip("-")


def _rotation(facts: Facts) -> int | None:
    told = facts.properties.get("ID_ATA_ROTATION_RATE_RPM", "")
    if told.isdecimal() and len(told) < 7:
        return int(told)
    return 0 if facts.is_rotational is False else None


def _vendor(told: Mapping[str, str]) -> str:
    """The maker; an ATA disk behind SCSI commands calls itself ATA, which is none."""
    vendor = clean(told.get("ID_VENDOR_ENC", "") or told.get("ID_VENDOR", ""))
    return "" if vendor == "ATA" else vendor


def in_use(facts: Facts) -> tuple[str, ...]:
    """What the disk serves at present, as sentences; empty when nothing."""
    said = []
    if is_system(facts):
        said.append("The box itself runs from this disk.")
    elif facts.mounts:
        mailboxes = MAILBOXES in facts.mounts
        said.append(
            "The mailboxes are on this disk."
            if mailboxes
            else "A file system of this disk is in use."
        )
    if facts.is_swap:
        said.append("The box swaps memory to this disk.")
    if facts.holders:
        said.append("This disk is part of a RAID or of a volume group that is running.")
    return tuple(said)


def is_system(facts: Facts) -> bool:
    """Whether the box started from this disk, or has its data on it."""
    own = any(mount in SYSTEM_MOUNTS for mount in facts.mounts)
    return own or "/dev/pennypost/" in facts.properties.get("DEVLINKS", "")


def refusal(facts: Facts, bus: Bus, *, allow_usb: bool) -> Why | None:
    """Why the disk may not be used for mailboxes; None when it may."""
    if used := in_use(facts):
        return Why(used[0], "Choose another disk.")
    if bus is Bus.USB and allow_usb and "ID_ATA" in facts.properties:
        pass  # a SATA disk behind a bridge: the owner has been warned and wants it
    elif bus in _OTHER_BUSES:
        hint = "Attach it by SATA or SAS."
        if bus is Bus.USB and "ID_ATA" in facts.properties:
            hint = "Attach it by SATA or SAS, or allow disks behind USB bridges in the settings."
        return Why(_OTHER_BUSES[bus], hint)
    if not facts.size_sectors:
        return Why("This disk has no size: it is broken, or asleep.", "Take it out and put it in.")
    if facts.size_sectors * SECTOR_BYTES < SMALLEST_BYTES:
        return Why("This disk is smaller than 1 GB.", "Take a larger one.")
    if facts.is_read_only:
        return Why("This disk is write-protected.", "Remove the protection, or take another one.")
    if facts.state not in ("", "running"):
        return Why("This disk does not answer.", "Check its cable, or take another one.")
    if not identity_of(facts.properties) or not serial_of(facts.properties):
        return Why(
            "This disk tells no serial number, so it could not be told from another one.",
            "Take another disk.",
        )
    return None


def disk_of(facts: Facts, *, allow_usb: bool = False) -> Disk:
    """The disk that these facts are about. Pure."""
    told, bus = facts.properties, bus_of(facts)
    return Disk(
        device=facts.device,
        identity=identity_of(told),
        bus=bus,
        path=clean(told.get("ID_PATH", "")),
        bay=clean(facts.slot),
        vendor=_vendor(told),
        model=clean(told.get("ID_MODEL_ENC", "") or told.get("ID_MODEL", "")),
        serial=serial_of(told),
        size_bytes=facts.size_sectors * SECTOR_BYTES,
        rotation_rpm=_rotation(facts),
        in_use=in_use(facts),
        refusal=refusal(facts, bus, allow_usb=allow_usb),
    )


# -- the edge: reading the facts ---------------------------------------------------------


def is_disk(told: Mapping[str, str]) -> bool:
    """Whether a block device is a disk of its own: no CD, no part of one, nothing in memory."""
    path = told.get("DEVPATH", "")
    if told.get("DEVTYPE") != "disk" or told.get("ID_CDROM") or "/devices/virtual/" in path:
        return False
    return not re.search(r"/block/[^/]+/", path)  # below a disk: the boot areas of an eMMC


def list_disks(*, allow_usb: bool = False) -> tuple[Disk, ...]:
    """All disks of the box, whether they may be used or not, by where they are plugged in."""
    found = (disk_of(facts, allow_usb=allow_usb) for facts in read_facts())
    return tuple(sorted(found, key=lambda disk: (disk.path, disk.device)))


def read_facts() -> Iterator[Facts]:
    """The facts of each disk, from udev's data base and sysfs."""
    import pyudev  # not needed for the pure half, nor there in every checkout

    mounts, swaps = _mounts(), _swaps()
    for device in pyudev.Context().list_devices(subsystem="block", DEVTYPE="disk"):
        told = {name: str(value) for name, value in device.properties.items()}
        if is_disk(told):
            yield _facts(Path(device.sys_path), told, mounts, swaps)


def _facts(
    folder: Path, told: Mapping[str, str], mounts: Mapping[str, list[str]], swaps: set[str]
) -> Facts:
    parts = [folder, *(path.parent for path in folder.glob("*/partition"))]
    holders = sorted(h.name for part in parts for h in (part / "holders").glob("*"))
    above = [SYS / "class/block" / name for name in holders]
    numbers = [_text(path / "dev") for path in (*parts, *above)]
    rotational = _text(folder / "queue/rotational")
    return Facts(
        device=told.get("DEVNAME", f"/dev/{folder.name}"),
        properties=told,
        size_sectors=int(_text(folder / "size") or 0),
        is_rotational={"0": False, "1": True}.get(rotational),
        is_read_only=_text(folder / "ro") == "1",
        state=_text(folder / "device/state"),
        driver=_driver(folder),
        slot=_slot(folder),
        mounts=tuple(sorted(m for number in numbers for m in mounts.get(number, ()))),
        holders=tuple(holders),
        is_swap=any(f"/dev/{part.name}" in swaps for part in parts),
    )


def _driver(folder: Path) -> str:
    """The driver's name of the SCSI host above the disk; empty when there is none."""
    host = re.search(r"/(host\d+)/", str((folder / "device").resolve()))
    return _text(SYS / "class/scsi_host" / host[1] / "proc_name") if host else ""


def _slot(folder: Path) -> str:
    """The bay: what an SES enclosure says, else the SAS expander or controller."""
    for slot in sorted((folder / "device").glob("enclosure_device:*")):
        return slot.name.partition(":")[2]
    end = re.search(r"/(end_device-[\d:]+)/", str((folder / "device").resolve()))
    bay = _text(SYS / "class/sas_device" / end[1] / "bay_identifier") if end else ""
    return bay if bay.isdecimal() and int(bay) else ""


def _mounts() -> dict[str, list[str]]:
    """Mount points by the device's number, `8:1`."""
    found: dict[str, list[str]] = {}
    for line in _text(Path("/proc/self/mountinfo")).splitlines():
        words = line.split(" ")
        found.setdefault(words[2], []).append(words[4])
    return found


def _swaps() -> set[str]:
    return {line.split()[0] for line in _text(Path("/proc/swaps")).splitlines()[1:]}


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8", "replace").strip()
    except OSError:
        return ""


def watch(changed: Callable[[], None], ended: threading.Event) -> None:
    """Call `changed` at each event of a disk and every few seconds, until `ended`.

    The seconds are needed: a SAS disk that is pulled sends no event.
    """
    import pyudev

    monitor = pyudev.Monitor.from_netlink(pyudev.Context())
    monitor.filter_by(subsystem="block")
    monitor.start()
    while not ended.is_set():
        changed()
        monitor.poll(timeout=PROBE_SECONDS)
        while monitor.poll(timeout=0):
            pass  # a disk with partitions sends many at once
