"""Which slot GRUB starts, case by case: the real GRUB on a tiny disk in QEMU.

Slots hold a few bytes instead of a kernel, and the last commands of the boot script
(`linux`, `initrd`, `boot`) are played by functions that say what they were given. A
slot with a file `real` gets the real `linux`, which refuses these few bytes: that is
the broken kernel.
"""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from image import boot, disk, gpt, recipe
from image.gpt import MIB, Partition

pytestmark = [pytest.mark.image, pytest.mark.timeout(3600)]

SMALL = (
    Partition("esp", "esp", 1 * MIB, 12 * MIB),
    Partition("boot_a", "linux", 13 * MIB, MIB),
    Partition("root_a", "linux", 14 * MIB, MIB),
    Partition("boot_b", "linux", 15 * MIB, MIB),
    Partition("root_b", "linux", 16 * MIB, MIB),
)
SIZE = 18 * MIB
STANDINS = """
function play_linux {
	if [ -f "$boot/real" ]; then linux "$1"; else set given="$*"; true; fi
}
function play_initrd { true; }
function play_boot { echo; echo "STARTED [$given] on $disk END"; sleep 3600; }
"""
STARTED = r"STARTED \[(?P<line>[^\]]*)\] on (?P<disk>\S+) END"


@dataclass(frozen=True)
class State:
    """One env file as a test writes it."""

    seq: int = 1
    order: str = "a b"
    a_ok: int = 1
    a_try: int = 0
    b_ok: int = 1
    b_try: int = 0

    def block(self) -> bytes:
        text = (
            f"# GRUB Environment Block\nSEQ={self.seq}\nORDER={self.order}\nA_OK={self.a_ok}\n"
            f"A_TRY={self.a_try}\nB_OK={self.b_ok}\nB_TRY={self.b_try}\nEND=ok\n"
        )
        return text.encode().ljust(1024, b"#")


TORN = bytes(512) + b"#" * 512
BOTH = State()


class TinyDisk:
    """A disk with the real GRUB and the real boot script, and next to nothing else."""

    def __init__(self, folder: Path, grub: Path, name: str = "test") -> None:
        self.folder, self.path = folder, folder / "disk.img"
        folder.mkdir(exist_ok=True)
        with self.path.open("wb") as file:
            file.truncate(SIZE)
            for offset, data in gpt.pieces(SMALL, SIZE, name).items():
                file.seek(offset)
                file.write(data)
        self._format(grub)
        for slot in ("a", "b"):
            self.fill(slot, vmlinuz=b"kernel", **{"initrd.img": b"initrd"})

    def _format(self, grub: Path) -> None:
        esp = self.folder / "esp.img"
        run("mkfs.vfat", "-C", str(esp), str(SMALL[0].size // 1024))
        for name in ("EFI", "EFI/BOOT", "EFI/debian", "EFI/pennypost"):
            run("mmd", "-i", str(esp), f"::{name}")
        run("mcopy", "-i", str(esp), str(grub), "::EFI/BOOT/BOOTX64.EFI")
        (self.folder / "grub.cfg").write_text(played_script())
        run("mcopy", "-i", str(esp), str(self.folder / "grub.cfg"), "::EFI/debian/grub.cfg")
        self._put("esp", esp.read_bytes())

    def _put(self, label: str, data: bytes) -> None:
        part = next(part for part in SMALL if part.label == label)
        with self.path.open("r+b") as file:
            file.seek(part.start)
            file.write(data.ljust(part.size, b"\0"))

    def fill(self, slot: str, **files: bytes) -> None:
        """Put files into a slot's boot partition; none at all empties it."""
        if not files:
            return self._put(f"boot_{slot}", b"")
        source, packed = self.folder / f"slot_{slot}", self.folder / "slot.squashfs"
        source.mkdir(exist_ok=True)
        for old in source.iterdir():
            old.unlink()
        for name, data in {"slot.cfg": b"set slot_format=1\n", **files}.items():
            (source / name).write_bytes(data)
        packed.unlink(missing_ok=True)
        run("mksquashfs", str(source), str(packed), "-comp", "xz", "-quiet", "-no-progress")
        return self._put(f"boot_{slot}", packed.read_bytes())

    def write_states(self, env0: State | bytes, env1: State | bytes) -> None:
        for name, state in (("env0", env0), ("env1", env1)):
            path = self.folder / name
            path.write_bytes(state if isinstance(state, bytes) else state.block())
            run("mcopy", "-o", "-i", self._esp, str(path), f"::EFI/pennypost/{name}")

    def state(self, name: str) -> bytes:
        return run("mtype", "-i", self._esp, f"::EFI/pennypost/{name}")

    @property
    def _esp(self) -> str:
        return f"{self.path}@@{SMALL[0].start}"


def run(*argv: str) -> bytes:
    return subprocess.run(argv, check=True, capture_output=True, timeout=60).stdout


def played_script() -> str:
    text = disk.grub_config(recipe.load("generic-amd64"))
    for command in ("linux", "initrd"):
        text, count = re.subn(rf"\bif {command} ", f"if play_{command} ", text)
        assert count == 1
    text, count = re.subn(r"^(\s+)boot$", r"\1play_boot", text, flags=re.M)
    assert count == 1
    return STANDINS + text.replace("sleep 60", 'echo "WAITED"; sleep 3600')


class Bench(boot.Machine):
    """A machine with just a disk and a serial line, and perhaps a second disk."""

    disks: tuple[Path, ...] = ()

    def argv(self) -> list[str]:
        code, _ = boot.firmware("amd64")
        out = ["qemu-system-x86_64", "-M", "q35", "-cpu", "max", "-m", "160", "-nodefaults"]
        out += ["-accel", "tcg", "-display", "none", "-no-user-config", "-net", "none"]
        out += ["-drive", f"if=pflash,unit=0,format=raw,readonly=on,file={code}"]
        out += ["-drive", f"if=pflash,unit=1,format=qcow2,file={self.variables}"]
        # The last disk is the one to start from.
        for number, path in enumerate(self.disks):
            order = ",bootindex=1" if path == self.disks[-1] else ""
            out += ["-drive", f"if=none,id=d{number},format=raw,file={path}"]
            out += ["-device", f"virtio-blk-pci,drive=d{number}{order}"]
        return [*out, "-serial", f"file:{self.serial_log}", "-qmp", self._qmp_option()]

    def _qmp_option(self) -> str:
        return f"unix:{self.folder / 'qmp'},server=on,wait=off"


@pytest.fixture(scope="module")
def grub(image: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The image's own GRUB."""
    path = tmp_path_factory.mktemp("grub") / "BOOTX64.EFI"
    run("mcopy", "-i", f"{image}@@{disk.FIRST}", "::EFI/BOOT/BOOTX64.EFI", str(path))
    return path


@pytest.fixture
def tiny(grub: Path, tmp_path: Path) -> TinyDisk:
    return TinyDisk(tmp_path / "tiny", grub)


def start(*disks: TinyDisk, until: str = STARTED) -> re.Match[str]:
    """Switch on, see what GRUB does, switch off."""
    bench = Bench(disks[-1].folder, boot.Hardware())
    bench.disks = tuple(one.path for one in disks)
    bench.insert(disks[-1].path, SIZE)
    with bench:
        return bench.start().wait_for(until, 300)


def slot_of(found: re.Match[str]) -> str:
    slot = re.search(r"pennypost\.slot=([ab])", found["line"])
    assert slot is not None
    return slot[1]


def test_a_confirmed_slot_starts_and_nothing_is_counted(tiny: TinyDisk) -> None:
    tiny.write_states(BOTH, replace(BOTH, seq=0))
    before = tiny.state("env0"), tiny.state("env1")
    found = start(tiny)
    assert slot_of(found) == "a"
    assert f"root=PARTUUID={gpt.guid('root_a')}" in found["line"]
    assert "recovery" not in found["line"]
    assert (tiny.state("env0"), tiny.state("env1")) == before


def test_an_unconfirmed_slot_has_three_tries_then_the_other_one_starts(tiny: TinyDisk) -> None:
    new = State(seq=7, order="b a", b_ok=0, b_try=3)
    tiny.write_states(BOTH, new)
    for left in (2, 1, 0):
        assert slot_of(start(tiny)) == "b"
        assert b"B_TRY=%d\n" % left in tiny.state("env1")
    assert slot_of(start(tiny)) == "a"
    assert tiny.state("env0") == BOTH.block()


@pytest.mark.parametrize(
    "broken",
    [TORN, b"", BOTH.block()[:60].ljust(1024, b"\0")],
    ids=["first sector gone", "empty", "cut off"],
)
def test_a_broken_copy_of_the_state_leaves_the_other_to_count(
    tiny: TinyDisk, broken: bytes
) -> None:
    tiny.write_states(replace(BOTH, order="b a"), broken)
    assert slot_of(start(tiny)) == "b"


def test_without_any_state_slot_a_starts(tiny: TinyDisk) -> None:
    tiny.write_states(TORN, b"")
    assert slot_of(start(tiny)) == "a"


def test_a_confirmed_slot_that_is_empty_is_passed_over(tiny: TinyDisk) -> None:
    tiny.write_states(BOTH, TORN)
    tiny.fill("a")
    assert slot_of(start(tiny)) == "b"


def test_a_confirmed_slot_whose_kernel_is_broken_is_passed_over(tiny: TinyDisk) -> None:
    tiny.write_states(BOTH, TORN)
    tiny.fill("a", vmlinuz=b"not a kernel", real=b"", **{"initrd.img": b"initrd"})
    assert slot_of(start(tiny)) == "b"


def test_when_no_tries_are_left_the_preferred_slot_starts_for_recovery(tiny: TinyDisk) -> None:
    tiny.write_states(TORN, State(seq=9, order="b a", a_ok=0, b_ok=0))
    found = start(tiny)
    assert slot_of(found) == "b"
    assert "pennypost.recovery=1" in found["line"]
    assert b"A_TRY=3\n" in tiny.state("env1")
    assert b"B_TRY=3\n" in tiny.state("env1")


def test_with_nothing_to_start_it_says_so_and_tries_again(tiny: TinyDisk) -> None:
    tiny.write_states(BOTH, BOTH)
    tiny.fill("a")
    tiny.fill("b")
    start(tiny, until=r"found no system to start(.|\n)*WAITED")


def test_another_disk_with_the_same_labels_is_left_alone(
    tiny: TinyDisk, grub: Path, tmp_path: Path
) -> None:
    """A card copied for safety and left in a USB slot must not be started by mistake."""
    twin = TinyDisk(tmp_path / "twin", grub, name="twin")
    twin.write_states(replace(BOTH, seq=99, order="b a"), TORN)
    tiny.write_states(BOTH, TORN)
    assert slot_of(start(twin, tiny)) == "a"
    assert slot_of(start(tiny, twin)) == "b"
