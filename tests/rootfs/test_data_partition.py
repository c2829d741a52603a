"""The data partition is made once, grown when there is room, and never taken from others."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.rootfs.shell import sfdisk, sh

MIB = 1024 * 1024
IMAGE_TABLE = """\
label: gpt
start=32768, size=8192, type=U, name="esp"
start=40960, size=8192, name="boot_a"
start=49152, size=16384, name="root_a"
start=65536, size=8192, name="boot_b"
start=73728, size=16384, name="root_b"
"""


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    """A disk with the image's table and 64 MiB behind it."""
    path = tmp_path / "disk"
    path.touch()
    os.truncate(path, 128 * MIB)
    sfdisk(path, IMAGE_TABLE)
    return path


def prepare(disk: Path) -> None:
    done = sh('prepare_table "$1" "$2"', disk, disk.stat().st_size // 512)
    assert done.returncode == 0, done.stdout + done.stderr


def partitions(disk: Path) -> dict[str, tuple[int, int]]:
    """Label to first and last sector."""
    pattern = r'start= *(\d+), size= *(\d+),.*name="([^"]*)"'
    return {
        name: (int(start), int(start) + int(size) - 1)
        for start, size, name in re.findall(pattern, sfdisk(disk))
    }


def test_a_missing_data_partition_is_made_behind_the_slots_to_the_end_of_the_disk(
    disk: Path,
) -> None:
    before = partitions(disk)
    prepare(disk)
    after = partitions(disk)
    assert {name: after[name] for name in before} == before
    start, end = after["data"]
    assert start % 2048 == 0
    assert start > before["root_b"][1]
    assert disk.stat().st_size // 512 - end < 4096


def test_a_second_start_changes_nothing(disk: Path) -> None:
    prepare(disk)
    before = disk.read_bytes()
    prepare(disk)
    assert disk.read_bytes() == before


def test_what_an_earlier_owner_left_there_is_not_found_again(disk: Path) -> None:
    prepare(disk)
    start = partitions(disk)["data"][0] * 512
    with disk.open("r+b") as file:
        file.seek(start)
        file.write(b"\xa5" * MIB)
    sfdisk(disk, IMAGE_TABLE)  # flashed anew: the table is the image's, the rest still there
    prepare(disk)
    with disk.open("rb") as file:
        file.seek(start)
        assert file.read(MIB) == bytes(MIB)


def test_a_larger_disk_gives_its_room_to_data_and_its_end_to_the_backup_table(disk: Path) -> None:
    prepare(disk)
    first = partitions(disk)["data"]
    os.truncate(disk, 256 * MIB)
    prepare(disk)
    second = partitions(disk)["data"]
    assert second[0] == first[0]
    assert second[1] - first[1] > 100 * MIB // 512
    with disk.open("rb") as file:
        file.seek(-512, os.SEEK_END)
        assert file.read(8) == b"EFI PART"


def test_an_image_on_a_larger_disk_gets_data_at_its_first_start(disk: Path) -> None:
    os.truncate(disk, 512 * MIB)
    prepare(disk)
    start, end = partitions(disk)["data"]
    assert (end - start) * 512 > 400 * MIB


def test_a_disk_without_room_is_refused(tmp_path: Path) -> None:
    disk = tmp_path / "full"
    disk.touch()
    os.truncate(disk, (90112 + 40) * 512)
    sfdisk(disk, IMAGE_TABLE)
    assert sh('prepare_table "$1" "$2"', disk, disk.stat().st_size // 512).returncode != 0


def label_and_type(part: Path) -> str:
    done = subprocess.run(
        ["/sbin/blkid", "-p", "-o", "export", str(part)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    values = dict(line.split("=", 1) for line in done.stdout.splitlines())
    return f"{values.get('TYPE', '')} {values.get('LABEL', '')}".strip()


@pytest.fixture
def part(tmp_path: Path) -> Path:
    path = tmp_path / "part"
    path.touch()
    os.truncate(path, 128 * MIB)
    return path


def make(part: Path) -> subprocess.CompletedProcess[str]:
    return sh('prepare_file_system "$1"', part)


def test_an_empty_partition_gets_a_file_system(part: Path) -> None:
    assert make(part).returncode == 0
    assert label_and_type(part) == "ext4 data"
    shown = subprocess.run(
        ["/sbin/dumpe2fs", "-h", str(part)], capture_output=True, text=True, check=True, timeout=60
    ).stdout
    assert "metadata_csum" in shown
    assert "Remount read-only" in shown


def test_a_file_system_that_is_there_is_kept(part: Path) -> None:
    make(part)
    before = uuid_of(part)
    assert make(part).returncode == 0
    assert uuid_of(part) == before


def test_a_start_that_was_cut_off_while_formatting_formats_again(part: Path) -> None:
    subprocess.run(
        ["/sbin/mke2fs", "-q", "-F", "-t", "ext4", "-L", "data-making", str(part)],
        check=True,
        timeout=60,
    )
    assert make(part).returncode == 0
    assert label_and_type(part) == "ext4 data"


def test_a_damaged_file_system_is_repaired_not_formatted(part: Path) -> None:
    make(part)
    before = uuid_of(part)
    with part.open("r+b") as file:
        file.seek(1024 + 0x200)  # into group descriptors and bitmaps, past the superblock
        file.seek(8192)
        file.write(b"\xff" * 20000)
    assert make(part).returncode == 0
    assert uuid_of(part) == before


def uuid_of(part: Path) -> str:
    return subprocess.run(
        ["/sbin/blkid", "-p", "-s", "UUID", "-o", "value", str(part)],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    ).stdout


@pytest.mark.parametrize("magic", ["vfat", "swap"])
def test_what_is_not_ours_is_left_alone(part: Path, magic: str) -> None:
    tool = {"vfat": ["/sbin/mkfs.vfat"], "swap": ["/sbin/mkswap"]}[magic]
    if not Path(tool[0]).exists():
        pytest.skip(f"{tool[0]} is not installed")
    subprocess.run([*tool, str(part)], check=True, capture_output=True, timeout=60)
    before = part.read_bytes()
    assert make(part).returncode != 0
    assert part.read_bytes() == before


def test_the_machine_id_is_made_once_and_a_torn_one_anew(tmp_path: Path) -> None:
    path = tmp_path / "etc/machine-id"
    sh('prepare_machine_id "$1"', tmp_path)
    first = path.read_text()
    assert re.fullmatch(r"[0-9a-f]{32}\n", first)
    sh('prepare_machine_id "$1"', tmp_path)
    assert path.read_text() == first
    path.write_text("1234")
    sh('prepare_machine_id "$1"', tmp_path)
    assert re.fullmatch(r"[0-9a-f]{32}\n", path.read_text())


@pytest.mark.full
@pytest.mark.skipif(os.geteuid() != 0, reason="loop devices need root")
def test_a_disk_whose_root_is_mounted_is_changed_under_it(disk: Path, tmp_path: Path) -> None:
    def tool(*argv: str) -> str:
        return subprocess.run(
            argv, capture_output=True, text=True, check=True, timeout=60
        ).stdout.strip()

    loop = tool("losetup", "--find", "--show", "--partscan", str(disk))
    mount = tmp_path / "mounted"
    mount.mkdir()
    node = Path(f"{loop}p3")
    try:
        if not Path(f"/sys/class/block/{node.name}").exists():  # the kernel looks at none itself
            tool("partx", "--add", loop)
        if not node.exists():  # no udev here
            device = Path(f"/sys/class/block/{node.name}/dev").read_text().strip()
            tool("mknod", str(node), "b", *device.split(":"))
        tool("/sbin/mke2fs", "-q", "-F", "-t", "ext4", f"{loop}p3")
        tool("mount", f"{loop}p3", str(mount))
        name = loop.removeprefix("/dev/")
        found = sh('disk_of "$(mounted_device "$1")"', mount).stdout.strip()
        assert found == name
        done = sh('prepare_table "$1" "$(cat /sys/class/block/$2/size)"', loop, name)
        assert done.returncode == 0, done.stdout + done.stderr
        assert sh('partition_of "$1" data', name).stdout.strip() == f"{name}p6"
        assert Path(f"/sys/class/block/{name}p6").exists()
    finally:
        subprocess.run(["umount", str(mount)], check=False, timeout=60)
        subprocess.run(["losetup", "--detach", loop], check=False, timeout=60)
