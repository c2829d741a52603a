"""Mailbox disks on real block devices: made, mounted, lost, found again, taken elsewhere."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from appliance.base.clock import SystemClock
from appliance.base.finding import Refused
from appliance.storage import layout, volume
from appliance.storage.keeper import Keeper
from appliance.storage.marker import SECTOR_BYTES
from appliance.storage.plan import Kind, Wish
from tests.support.loop_disks import LoopDisk, lacking

pytestmark = [
    pytest.mark.full,
    pytest.mark.skipif(bool(lacking()), reason=lacking() or "loop devices work here"),
]


class Bench:
    """A box with loop disks instead of real ones."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.point = folder / "mail"
        self.disks: list[LoopDisk] = []
        for name in ("data/keys", "run", "mail"):
            (folder / name).mkdir(parents=True)
        self.keeper = self.start()

    def start(self) -> Keeper:
        """A start of the box, or another start."""
        self.keeper = Keeper(
            data=self.folder / "data",
            run=self.folder / "run",
            point=self.point,
            list_disks=lambda allow_usb: [d.disk() for d in self.disks if d.device],
            clock=SystemClock(),
            units=False,
        )
        return self.keeper

    def add(self, serial: str) -> LoopDisk:
        self.disks.append(LoopDisk(self.folder / f"{serial}.img", serial))
        return self.disks[-1]

    def wish(self, kind: Kind, disk: LoopDisk | None = None, **more: Any) -> Mapping[str, Any]:
        identity = disk.disk().identity if disk else ""
        wish = Wish(kind=kind, disk=identity, **more)
        return self.keeper.carry_out(wish, lambda step: None, allow_usb=False, wait=True)

    def state(self) -> str:
        self.keeper.tick()
        return str(self.keeper.status()["state"])

    def close(self) -> None:
        if volume.mounted_at(self.point):
            volume.unmount(self.point, by_force=True)
        subprocess.run(["chattr", "-i", str(self.point)], capture_output=True, check=False)
        for disk in self.disks:
            if disk.device:
                disk.pull()


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    bench.close()


def other_box(bench: Bench, folder: Path) -> Bench:
    """Another box that has the same disks in its bays."""
    other = Bench(folder)
    other.disks = bench.disks
    return other


def test_an_empty_disk_is_connected_used_detached_and_taken_back(bench: Bench) -> None:
    disk = bench.add("A1")
    assert bench.state() == "none"
    (shown,) = bench.keeper.list(allow_usb=False)
    assert shown["is_blank"]
    assert shown["content"] == []
    assert bench.wish(Kind.CONNECT, disk)["state"] == "ready"
    mounted = volume.mounted_at(bench.point)
    assert mounted is not None
    options = next(
        line.split()[5]
        for line in Path("/proc/self/mountinfo").read_text().splitlines()
        if line.split()[4] == str(bench.point)
    )
    assert {"nosuid", "nodev", "noexec", "noatime"} <= set(options.split(","))
    letter = bench.point / "letter"
    letter.write_text("Dear Anna")
    assert bench.wish(Kind.DETACH)["state"] == "none"
    assert volume.mounted_at(bench.point) is None
    (shown,) = bench.keeper.list(allow_usb=False)
    assert shown["content"][0].startswith("A mailbox disk of this box, made on ")
    assert shown["own"]
    assert bench.wish(Kind.TAKE, disk)["state"] == "ready"
    assert letter.read_text() == "Dear Anna"


def test_the_next_start_finds_the_disk_under_whatever_name(bench: Bench) -> None:
    disk = bench.add("A1")
    bench.wish(Kind.CONNECT, disk)
    (bench.point / "letter").write_text("Dear Anna")
    volume.unmount(bench.point)
    disk.pull()
    decoy = bench.add("B2")  # takes the name that the disk had
    disk.plug()
    assert disk.device != decoy.device
    bench.start()
    assert bench.state() == "ready"
    assert (bench.point / "letter").read_text() == "Dear Anna"


def test_a_disk_that_is_gone_is_said_and_comes_back_by_itself(bench: Bench) -> None:
    disk = bench.add("A1")
    bench.wish(Kind.CONNECT, disk)
    volume.unmount(bench.point)
    disk.pull()
    assert bench.state() == "missing"
    volume.protect(bench.point)
    with pytest.raises(OSError, match="not permitted"):
        (bench.point / "letter").write_text("must not be here")
    assert list(os.scandir(bench.point)) == []
    disk.plug()
    assert bench.state() == "ready"


def test_a_disk_that_somebody_else_made_is_never_mounted_by_itself(
    bench: Bench, tmp_path: Path
) -> None:
    disk = bench.add("A1")
    bench.wish(Kind.CONNECT, disk)
    (bench.point / "letter").write_text("Dear Anna")
    bench.wish(Kind.DETACH)
    other = other_box(bench, tmp_path / "other")
    assert other.state() == "none"
    (shown,) = other.keeper.list(allow_usb=False)
    assert shown["content"][0].startswith("A mailbox disk of another Pennypost")
    with pytest.raises(Refused, match="made by another Pennypost"):
        other.wish(Kind.TAKE, disk)
    with pytest.raises(Refused, match="would be lost"):
        other.wish(Kind.CONNECT, disk)
    assert other.wish(Kind.TAKE, disk, agreed=True)["state"] == "ready"
    assert (other.point / "letter").read_text() == "Dear Anna"
    volume.unmount(other.point)
    assert bench.state() == "none", "the first box does not want it any more"


def test_a_forged_or_lost_marker_keeps_the_disk_out(bench: Bench) -> None:
    disk = bench.add("A1")
    bench.wish(Kind.CONNECT, disk)
    volume.unmount(bench.point)
    sector = bytearray(layout.read_at(disk.device, layout.MARKER_AT, SECTOR_BYTES))
    sector[100] ^= 1
    layout.write_at(disk.device, layout.MARKER_AT, bytes(sector))
    assert bench.state() == "failing"
    assert volume.mounted_at(bench.point) is None


def test_another_file_system_under_our_marker_is_not_mounted(bench: Bench) -> None:
    disk = bench.add("A1")
    bench.wish(Kind.CONNECT, disk)
    volume.unmount(bench.point)
    part = layout.mail_partition(disk.device)
    subprocess.run(["mke2fs", "-qF", "-t", "ext4", part], check=True, capture_output=True)
    assert bench.state() == "failing"
    assert "not the one that its marker names" in bench.keeper.status()["say"]
    assert volume.mounted_at(bench.point) is None


def test_what_is_on_a_foreign_disk_is_said_and_only_its_serial_number_erases_it(
    bench: Bench,
) -> None:
    disk = bench.add("A1")
    table = 'label: gpt\nname="x"\n'
    subprocess.run(["sfdisk", "-q", disk.device], input=table.encode(), check=False)
    layout.tell_kernel(disk.device)
    part = layout.partition(disk.device, 1)
    subprocess.run(["mke2fs", "-qF", "-t", "ext4", "-L", "<script>\x01", part], check=True)
    (shown,) = bench.keeper.list(allow_usb=False)
    assert shown["content"] == [
        "A partition table (gpt) with 1 partition.",
        "Partition 1: a Linux file system with the name “<script>^A”.",
    ]
    with pytest.raises(Refused, match="would be lost"):
        bench.wish(Kind.CONNECT, disk)
    assert bench.wish(Kind.CONNECT, disk, typed="A1")["state"] == "ready"


def test_data_without_any_known_form_is_not_taken_for_an_empty_disk(bench: Bench) -> None:
    disk = bench.add("A1")
    layout.write_at(disk.device, 4096, os.urandom(4096))
    (shown,) = bench.keeper.list(allow_usb=False)
    assert shown["content"] == ["Data of a kind that the box does not know."]
    with pytest.raises(Refused, match="would be lost"):
        bench.wish(Kind.CONNECT, disk)


def test_a_mounted_disk_is_not_wiped_whatever_is_believed_of_it(bench: Bench) -> None:
    disk = bench.add("A1")
    bench.wish(Kind.CONNECT, disk)
    (bench.point / "letter").write_text("Dear Anna")
    with pytest.raises(OSError, match="busy"):
        layout.wipe(disk.device)
    assert (bench.point / "letter").read_text() == "Dear Anna"


def test_a_connect_that_was_cut_off_in_each_step_goes_on_at_the_next_start(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    class PowerCut(BaseException):
        pass

    disk = bench.add("A1")
    steps = ("wipe", "table", "format", "ready", "remember", "mount")
    for cut in steps:
        layout.wipe(disk.device)
        (bench.folder / "data/storage/disk.json").unlink(missing_ok=True)
        keeper = bench.start()
        real = keeper.hands.do

        def do(step: Any, *more: Any, cut: str = cut, real: Any = real) -> None:
            real(step, *more)  # the step is through, the book not written yet
            if step == cut:
                raise PowerCut

        monkeypatch.setattr(keeper.hands, "do", do)
        monkeypatch.setattr("threading.excepthook", lambda args: None)
        wish = Wish(kind=Kind.CONNECT, disk=disk.disk().identity)
        keeper.carry_out(wish, lambda step: None, allow_usb=False, wait=False)
        _threads_end()
        if volume.mounted_at(bench.point):
            volume.unmount(bench.point)
        assert keeper.book.job is not None, cut
        again = bench.start()
        again.tick()
        _threads_end()
        assert again.book.job is None, cut
        assert bench.state() == "ready", cut
        volume.unmount(bench.point)


def _threads_end() -> None:
    for thread in threading.enumerate():
        if thread.name == "disk-job":
            thread.join(60)
            assert not thread.is_alive()


def test_a_full_disk_is_said(bench: Bench) -> None:
    disk = bench.add("A1")
    bench.wish(Kind.CONNECT, disk)
    free = os.statvfs(bench.point)
    with (bench.point / "filler").open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, free.f_frsize * free.f_bavail - (1 << 20))
    assert bench.state() == "full"
    assert not bench.keeper.status()["usable"]
    (bench.point / "filler").unlink()
    assert bench.state() == "ready"


def test_a_file_system_that_went_read_only_is_checked_and_comes_back(bench: Bench) -> None:
    disk = bench.add("A1")
    bench.wish(Kind.CONNECT, disk)
    subprocess.run(["mount", "-o", "remount,ro", str(bench.point)], check=True)
    assert bench.state() == "failing"
    assert "cannot be written to after a fault" in bench.keeper.status()["say"]
    assert bench.state() == "ready"
    subprocess.run(["mount", "-o", "remount,ro", str(bench.point)], check=True)
    assert bench.state() == "failing"
    assert bench.state() == "failing", "so soon again: a pause first"
