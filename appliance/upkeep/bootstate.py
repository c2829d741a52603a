"""Which slot starts next: the two env files that this box and GRUB share.

`/EFI/pennypost/env0` and `env1` on the EFI partition are GRUB environment blocks: a heading,
NAME=value lines, filled up with `#` to 1024 bytes. Of the whole copies (those with `END=ok`)
the one with the higher `SEQ` counts. We always write the *other* file, in place, so that a
power cut at any moment leaves one good copy; GRUB counts tries down in the copy that counts.
Everything that matters lies in the first 512 bytes: one sector, which a disk writes whole or
not at all. `image/grub.cfg` reads the same files.

Raises Refused when neither copy is whole (`read`) and OSError when the partition cannot be
written (`write`); callers make the partition writable first (appliance/upkeep/esp.py).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from appliance.base.finding import Refused

FOLDER = Path("/boot/efi/EFI/pennypost")
FILES = ("env0", "env1")
SLOTS = ("a", "b")
HEADING = "# GRUB Environment Block"
BLOCK_BYTES, SECTOR_BYTES = 1024, 512
FULL_TRIES = 3


@dataclass(frozen=True, slots=True)
class Marks:
    """What is known of a slot. `tries` are starts left to prove itself; 0 once confirmed."""

    confirmed: bool
    tries: int

    @property
    def startable(self) -> bool:
        """Whether GRUB will start it (if its kernel can be loaded)."""
        return self.confirmed or self.tries > 0


@dataclass(frozen=True, slots=True)
class BootState:
    """One whole copy. `order` names both slots, the preferred one first."""

    sequence: int
    order: tuple[str, str]
    a: Marks
    b: Marks

    def marks(self, slot: str) -> Marks:
        """What is known of slot "a" or "b"."""
        return {"a": self.a, "b": self.b}[slot]

    def with_marks(self, slot: str, marks: Marks) -> BootState:
        """The same with other marks for a slot."""
        return replace(self, a=marks) if slot == "a" else replace(self, b=marks)

    def confirm(self, slot: str) -> BootState:
        """The slot has proved itself: from now on no start is counted."""
        return self.with_marks(slot, Marks(confirmed=True, tries=0))

    def doubt(self, slot: str, tries: int = 0) -> BootState:
        """The slot is no longer trusted; `tries` starts are left to it."""
        return self.with_marks(slot, Marks(confirmed=False, tries=tries))

    def prefer(self, slot: str) -> BootState:
        """The slot is started first."""
        return replace(self, order=("a", "b") if slot == "a" else ("b", "a"))

    def try_first(self, slot: str) -> BootState:
        """The slot holds something new: started first, with three tries to prove itself."""
        return self.prefer(slot).doubt(slot, FULL_TRIES)


def parse(block: bytes) -> BootState | None:
    """The state in an env file; None when the copy is torn, empty or not one."""
    lines = block[:SECTOR_BYTES].decode("ascii", "replace").split("\n")
    if lines[0] != HEADING or "END=ok" not in lines:
        return None
    values = dict(line.split("=", 1) for line in lines if "=" in line)
    try:
        return BootState(
            sequence=int(values["SEQ"]),
            order=_order(values["ORDER"]),
            a=_marks(values, "A"),
            b=_marks(values, "B"),
        )
    except (KeyError, ValueError):
        return None


def encode(state: BootState) -> bytes:
    """The env file of a state, 1024 bytes."""
    lines = [HEADING, f"SEQ={state.sequence}", f"ORDER={' '.join(state.order)}"]
    for name in SLOTS:
        marks = state.marks(name)
        lines.append(f"{name.upper()}_OK={int(marks.confirmed)}")
        lines.append(f"{name.upper()}_TRY={marks.tries}")
    text = "\n".join([*lines, "END=ok", ""]).encode("ascii")
    if len(text) > SECTOR_BYTES:
        raise ValueError("the slot state must fit into one sector")
    return text.ljust(BLOCK_BYTES, b"#")


def newest(copies: Mapping[str, BootState | None]) -> str:
    """The name of the copy that counts, as GRUB chooses it; empty when none is whole."""
    whole = [(state.sequence, -FILES.index(name)) for name, state in copies.items() if state]
    return FILES[-max(whole)[1]] if whole else ""


def read(folder: Path = FOLDER) -> BootState:
    """The state that counts. Raises Refused when neither copy is whole."""
    copies = _copies(folder)
    if state := copies.get(newest(copies)):
        return state
    raise Refused.because(
        "bootstate.read",
        f"Neither copy of the slot state in {folder} can be read.",
        fix="The box starts from slot A, then B, until one of them is confirmed again.",
    )


def write(state: BootState, folder: Path = FOLDER) -> BootState:
    """Make `state` the one that counts, by way of the older file; returns it as written."""
    copies = _copies(folder)
    current = newest(copies)
    target = FILES[1] if current == FILES[0] else FILES[0]
    highest = max((copy.sequence for copy in copies.values() if copy), default=0)
    state = replace(state, sequence=highest + 1)
    # In place and not by rename: the file keeps its one cluster, so the sector with the
    # variables is all that changes. FAT has no journal that would make a rename safer.
    fd = os.open(folder / target, os.O_WRONLY | os.O_CREAT, 0o644)
    try:
        os.pwrite(fd, encode(state), 0)
        os.ftruncate(fd, BLOCK_BYTES)
        os.fsync(fd)
    finally:
        os.close(fd)
    return state


def _copies(folder: Path) -> dict[str, BootState | None]:
    return {name: _load(folder / name) for name in FILES}


def _load(path: Path) -> BootState | None:
    try:
        return parse(path.read_bytes())
    except OSError:
        return None


def _order(text: str) -> tuple[str, str]:
    first, second = text.split()
    if {first, second} != set(SLOTS):
        raise ValueError(text)
    return first, second


def _marks(values: Mapping[str, str], name: str) -> Marks:
    return Marks(confirmed=values[f"{name}_OK"] == "1", tries=int(values[f"{name}_TRY"]))
