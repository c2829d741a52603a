"""The disk image: partition table, EFI partition and slots put into one sparse file.

gap        16 MiB    partition table; sectors 64 and on stay free for a board's loader
esp       128 MiB    FAT32: GRUB, grub.cfg, the two slot states
boot_a    128 MiB    squashfs: kernel, initrd, device trees
root_a      1 GiB    squashfs: the read-only root
boot_b, root_b       empty; the device copies A there at its first start
data                 not in the image: made on the device, to the end of its disk
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from image import gpt
from image.gpt import MIB, Partition
from image.recipe import HERE, Recipe
from image.tools import Tools

BOOT_BYTES, ROOT_BYTES, ESP_BYTES = 128 * MIB, 1024 * MIB, 128 * MIB
FIRST = 16 * MIB
STATE_BYTES = 1024
VOLUME_ID = "50454e59"


@dataclass(frozen=True, slots=True)
class Parts:
    """The finished contents of the partitions."""

    esp: Path
    boot: Path
    root: Path


def layout() -> tuple[Partition, ...]:
    """The partitions in the order of their numbers; grub.cfg relies on it."""
    sizes = (
        ("esp", "esp", ESP_BYTES),
        ("boot_a", "linux", BOOT_BYTES),
        ("root_a", "linux", ROOT_BYTES),
        ("boot_b", "linux", BOOT_BYTES),
        ("root_b", "linux", ROOT_BYTES),
    )
    out, start = [], FIRST
    for label, kind, size in sizes:
        out.append(Partition(label, kind, start, size))
        start += size
    return tuple(out)


def first_state(sequence: int) -> bytes:
    """The slot state an image ships: A is good, B is empty.

    A GRUB environment block: a heading, NAME=value lines, filled up with '#'.
    """
    names = {"SEQ": sequence, "ORDER": "a b", "A_OK": 1, "A_TRY": 0, "B_OK": 0, "B_TRY": 0}
    lines = "".join(f"{name}={value}\n" for name, value in names.items())
    block = f"# GRUB Environment Block\n{lines}END=ok\n"
    return block.encode().ljust(STATE_BYTES, b"#")


def grub_config(recipe: Recipe) -> str:
    """The boot script with the board's consoles filled in."""
    consoles = " ".join(f"console={name}" for name in recipe.consoles)
    text = (HERE / "grub.cfg").read_text()
    return text.replace("@CONSOLES@", f"{consoles} quiet loglevel=4")


def esp(tools: Tools, recipe: Recipe, grub: Path, epoch: int, work: Path) -> Path:
    """The EFI partition, made without mounting anything."""
    files = {
        f"EFI/BOOT/{recipe.arch.efi_name}": grub.read_bytes(),
        "EFI/debian/grub.cfg": grub_config(recipe).encode(),
        "EFI/pennypost/env0": first_state(1),
        "EFI/pennypost/env1": first_state(0),
    }
    work.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (work / "esp" / name).parent.mkdir(parents=True, exist_ok=True)
        (work / "esp" / name).write_bytes(data)
    tools.run(["sh", "-ec", _esp_script(tools.inside(work), files)], env=_stamp(epoch))
    return work / "esp.img"


def _esp_script(inside: str, files: dict[str, bytes]) -> str:
    """mkfs and copies in a fixed order; folders first."""
    folders = sorted({str(parent) for name in files for parent in Path(name).parents} - {"."})
    image = f"-i {inside}/esp.img"
    lines = [
        f"rm -f {inside}/esp.img; truncate -s {ESP_BYTES} {inside}/esp.img",
        f"mkfs.vfat --invariant -F 32 -s 1 -i {VOLUME_ID} -n PENNYPOST {inside}/esp.img >/dev/null",
        *(f"mmd {image} ::{folder}" for folder in folders),
        f"find {inside}/esp -exec touch -d @$SOURCE_DATE_EPOCH {{}} +",
        *(f"mcopy -m {image} {inside}/esp/{name} ::{name}" for name in files),
    ]
    return "\n".join(lines)


def _stamp(epoch: int) -> dict[str, str]:
    return {"SOURCE_DATE_EPOCH": str(epoch)}


def assemble(parts: Parts, target: Path, name: str) -> None:
    """Write the sparse disk image."""
    partitions = layout()
    size = gpt.disk_bytes(partitions)
    contents = {"esp": parts.esp, "boot_a": parts.boot, "root_a": parts.root}
    with target.open("wb") as disk:
        disk.truncate(size)
        for offset, data in gpt.pieces(partitions, size, name).items():
            disk.seek(offset)
            disk.write(data)
        for part in partitions:
            if part.label in contents:
                disk.seek(part.start)
                _copy_sparse(contents[part.label], disk)


def _copy_sparse(source: Path, disk: BinaryIO) -> None:
    """Copy, leaving holes where the source has nothing but zeros."""
    with source.open("rb") as file:
        while block := file.read(MIB):
            if block.count(0) == len(block):
                disk.seek(len(block), os.SEEK_CUR)
            else:
                disk.write(block)
