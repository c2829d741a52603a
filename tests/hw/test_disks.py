"""From what udev says of a disk to what a person is shown. Facts as QEMU's devices gave them."""

from __future__ import annotations

from typing import Any

import pytest

from hw.disks import Facts, clean, disk_of, is_disk
from hw.model import Bus

PCI = "/devices/pci0000:00"
SATA: dict[str, str] = {
    "DEVTYPE": "disk",
    "DEVPATH": f"{PCI}/0000:00:1f.2/ata1/host0/target0:0:0/0:0:0:0/block/sda",
    "ID_BUS": "ata",
    "ID_ATA": "1",
    "ID_ATA_SATA": "1",
    "ID_MODEL": "LABDISK",
    "ID_SERIAL": "LABDISK_PPSATA0000",
    "ID_SERIAL_SHORT": "PPSATA0000",
    "ID_WWN": "0x5000c500a1b2c3d0",
    "ID_PATH": "pci-0000:00:1f.2-ata-1.0",
}
SAS = {
    "DEVTYPE": "disk",
    "DEVPATH": f"{PCI}/0000:00:04.0/host9/port-9:0/end_device-9:0/target9:0:0/9:0:0:0/block/sdd",
    "ID_BUS": "scsi",
    "ID_SERIAL": "35000c500b1b2c3d0",
    "ID_SERIAL_SHORT": "5000c500b1b2c3d0",
    "ID_SCSI_SERIAL": "PPSAS0",
    "ID_WWN": "0x5000c500b1b2c3d0",
    "ID_VENDOR": "PENNY",
    "ID_MODEL": "LABSAS",
    "ID_PATH": "pci-0000:00:04.0-sas-phy0-lun-0",
}
VIRTIO = {"DEVTYPE": "disk", "DEVPATH": f"{PCI}/0000:00:01.0/virtio0/block/vda"}
VIRTIO_SCSI = SAS | {
    "DEVPATH": f"{PCI}/0000:00:05.0/virtio2/host8/target8:0:0/8:0:0:0/block/sdc",
    "ID_PATH": "pci-0000:00:05.0-scsi-0:0:0:0",
}
MEGARAID = SAS | {
    "DEVPATH": f"{PCI}/0000:00:06.0/host7/target7:2:0/7:2:0:0/block/sdb",
    "ID_PATH": "pci-0000:00:06.0-scsi-0:2:0:0",
}
USB_STICK = {
    "DEVTYPE": "disk",
    "DEVPATH": f"{PCI}/0000:00:07.0/usb1/1-1/1-1:1.0/host10/target10:0:0/10:0:0:0/block/sde",
    "ID_BUS": "usb",
    "ID_SERIAL_SHORT": "STICK1",
    "ID_MODEL": "Stick",
}
USB_BRIDGE = SATA | {"DEVPATH": USB_STICK["DEVPATH"], "ID_BUS": "ata"}
NVME = {
    "DEVTYPE": "disk",
    "DEVPATH": f"{PCI}/0000:00:08.0/nvme/nvme0/nvme0n1",
    "ID_SERIAL_SHORT": "N1",
    "ID_WWN": "eui.0025385b71b00a5c",
}
MMC = {
    "DEVTYPE": "disk",
    "DEVPATH": "/devices/platform/fe340000.mmc/mmc_host/mmc0/mmc0:0001/block/mmcblk0",
}


def facts(told: dict[str, str], **more: Any) -> Facts:
    return Facts(device="/dev/sdx", properties=told, size_sectors=8 << 21, **more)


@pytest.mark.parametrize(
    ("told", "bus"),
    [
        (SATA, Bus.SATA),
        (SAS, Bus.SAS),
        (VIRTIO, Bus.VIRTUAL),
        (VIRTIO_SCSI, Bus.VIRTUAL),
        (USB_STICK, Bus.USB),
        (USB_BRIDGE, Bus.USB),
        (NVME, Bus.NVME),
        (MMC, Bus.MMC),
    ],
)
def test_the_bus_is_told_by_facts(told: dict[str, str], bus: Bus) -> None:
    disk = disk_of(facts(told))
    assert disk.bus is bus
    assert (disk.refusal is None) == (bus in (Bus.SATA, Bus.SAS))


def test_a_volume_of_a_raid_controller_is_told_from_a_hypervisor_s_by_its_driver() -> None:
    assert disk_of(facts(MEGARAID, driver="megaraid_sas")).bus is Bus.SAS
    assert disk_of(facts(MEGARAID, driver="vmw_pvscsi")).bus is Bus.VIRTUAL
    assert disk_of(facts(MEGARAID)).bus is Bus.OTHER


def test_a_disk_is_known_by_its_wwn_and_named_by_its_printed_serial() -> None:
    disk = disk_of(facts(SAS, slot="2", is_rotational=False))
    assert disk.identity == "wwn-0x5000c500b1b2c3d0"
    assert (disk.serial, disk.vendor, disk.model, disk.bay) == ("PPSAS0", "PENNY", "LABSAS", "2")
    assert (disk.size_bytes, disk.rotation_rpm) == (8 << 30, 0)
    assert disk.name == "PENNY LABSAS (PPSAS0)"
    without = {name: value for name, value in SATA.items() if name != "ID_WWN"}
    assert disk_of(facts(without)).identity == "serial-LABDISK_PPSATA0000"


def test_a_refused_disk_says_why() -> None:
    stick = disk_of(facts(USB_STICK), allow_usb=True).refusal
    assert stick is not None
    assert stick.say == "This disk is attached by USB; only SATA and SAS disks hold mailboxes."
    assert disk_of(facts(USB_BRIDGE), allow_usb=True).refusal is None
    bridge = disk_of(facts(USB_BRIDGE)).refusal
    assert bridge is not None
    assert "allow disks behind USB bridges" in bridge.fix


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"mounts": ("/boot/efi", "/data")}, "runs from this disk"),
        ({"mounts": ("/media/x",)}, "is in use"),
        ({"mounts": ("/srv/mail",)}, "mailboxes are on this disk"),
        ({"holders": ("md0",)}, "RAID"),
        ({"is_swap": True}, "swaps"),
        ({"is_read_only": True}, "write-protected"),
        ({"state": "offline"}, "does not answer"),
    ],
)
def test_what_is_in_use_is_never_offered(more: dict[str, Any], words: str) -> None:
    refused = disk_of(facts(SATA, **more)).refusal
    assert refused is not None
    assert words in refused.say


def test_the_slots_disk_is_the_system_also_when_nothing_of_it_is_mounted() -> None:
    told = SATA | {"DEVLINKS": "/dev/disk/by-id/x /dev/pennypost/root_a"}
    refused = disk_of(facts(told)).refusal
    assert refused is not None
    assert "runs from this disk" in refused.say


def test_a_disk_that_cannot_be_told_from_others_or_has_no_size_is_refused() -> None:
    nameless = {name: value for name, value in SATA.items() if "SERIAL" not in name}
    assert disk_of(facts(nameless)).refusal is not None
    assert disk_of(Facts(device="/dev/sdx", properties=SATA)).refusal is not None
    assert disk_of(Facts(device="/dev/sdx", properties=SATA, size_sectors=9)).refusal is not None


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("$(reboot)", "$(reboot)"),  # escaping is the page's work; nothing here runs it
        ("WDC\\x20WD40  ", "WDC WD40"),
        ("a\\x0a\\x1b[31mb", "a��[31mb"),
        ("\\xff\\xfe", "��"),
        ("‮live", "�live"),
        ("../../etc", "../../etc"),
        ("x" * 300, "x" * 64),
        ("", ""),
    ],
)
def test_text_from_a_disk_is_made_fit_to_show(raw: str, shown: str) -> None:
    assert clean(raw) == shown


def test_only_whole_disks_are_listed() -> None:
    assert is_disk(SATA)
    assert is_disk(NVME)
    assert not is_disk(SATA | {"DEVTYPE": "partition"})
    assert not is_disk(SATA | {"ID_CDROM": "1"})
    assert not is_disk({"DEVTYPE": "disk", "DEVPATH": "/devices/virtual/block/loop0"})
    assert not is_disk(MMC | {"DEVPATH": MMC["DEVPATH"] + "/mmcblk0boot0"})
