"""What one image is made of: a board's TOML file and the package list, checked.

A `Recipe` is all the later steps see; nothing behind it reads board files again.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from image.run import die

HERE = Path(__file__).parent
BOARDS = HERE / "boards"
PACKAGES = HERE / "packages.list"
SOURCE = HERE.parent


@dataclass(frozen=True, slots=True)
class Arch:
    """What differs between processor families, in the words of each tool."""

    debian: str
    kernel_package: str
    grub_package: str
    grub_file: str
    efi_name: str
    qemu: str


ARCHES = {
    "amd64": Arch(
        debian="amd64",
        kernel_package="linux-image-amd64",
        grub_package="grub-efi-amd64-unsigned",
        grub_file="usr/lib/grub/x86_64-efi/monolithic/grubx64.efi",
        efi_name="BOOTX64.EFI",
        qemu="x86_64",
    ),
    "arm64": Arch(
        debian="arm64",
        kernel_package="linux-image-arm64",
        grub_package="grub-efi-arm64-unsigned",
        grub_file="usr/lib/grub/arm64-efi/monolithic/grubaa64.efi",
        efi_name="BOOTAA64.EFI",
        qemu="aarch64",
    ),
}


@dataclass(frozen=True, slots=True)
class Recipe:
    """One image: the board, its processor family and every package asked for."""

    name: str
    title: str
    arch: Arch
    consoles: tuple[str, ...]
    packages: tuple[str, ...]


def known_boards(folder: Path = BOARDS) -> list[str]:
    """The names `BOARD=` takes."""
    return sorted(path.stem for path in folder.glob("*.toml"))


def load(board: str, folder: Path = BOARDS, packages: Path = PACKAGES) -> Recipe:
    """The checked recipe of a board; an unknown one ends the build with the known names."""
    path = folder / f"{board}.toml"
    if board not in known_boards(folder):
        names = ", ".join(known_boards(folder))
        die(f"there is no board called {board!r}", f"the known boards are: {names}")
    try:
        raw = tomllib.loads(path.read_text())
    except tomllib.TOMLDecodeError as error:
        die(f"{path} is not valid TOML: {error}")
    return from_toml(raw, where=str(path), packages=read_packages(packages))


def from_toml(raw: Mapping[str, object], *, where: str, packages: tuple[str, ...]) -> Recipe:
    """Check a board's table key by key."""
    known = {"name": str, "title": str, "arch": str, "consoles": list}
    for key, value in raw.items():
        if key not in known:
            die(f"{where}: {key} is not a key of a board", f"known keys: {', '.join(known)}")
        if not isinstance(value, known[key]):
            die(f"{where}: {key} must be a {known[key].__name__}")
    if missing := [key for key in known if key not in raw]:
        die(f"{where}: {', '.join(missing)} is missing")
    arch = ARCHES.get(str(raw["arch"]))
    if arch is None:
        die(f"{where}: arch {raw['arch']!r} is unknown", f"known: {', '.join(ARCHES)}")
    consoles = raw["consoles"]
    assert isinstance(consoles, list)
    return Recipe(
        name=str(raw["name"]),
        title=str(raw["title"]),
        arch=arch,
        consoles=tuple(str(console) for console in consoles),
        packages=(arch.kernel_package, *packages),
    )


def read_packages(path: Path) -> tuple[str, ...]:
    """Package names, one a line; `#` starts a comment."""
    lines = (line.split("#")[0].strip() for line in path.read_text().splitlines())
    names = [line for line in lines if line]
    if twice := {name for name in names if names.count(name) > 1}:
        die(f"{path}: named twice: {', '.join(sorted(twice))}")
    return tuple(names)
