"""The other slot becomes a verified copy, and is never startable half-way."""

from __future__ import annotations

import hashlib
import os
import struct
from pathlib import Path

import pytest

from appliance.base.finding import Refused
from appliance.upkeep import bootstate, esp, slots
from appliance.upkeep.bootstate import BootState, Marks
from appliance.upkeep.slots import Slot

GOOD = Marks(confirmed=True, tries=0)
EMPTY = Marks(confirmed=False, tries=0)
PARTITION_BYTES = 5 * 1024 * 1024


def squashfs(length: int, seed: bytes) -> bytes:
    """Bytes that carry a squashfs superblock and are otherwise noise."""
    head = struct.pack("<4s36xQ", b"hsqs", length)
    noise = b"".join(
        hashlib.sha256(seed + number.to_bytes(4, "big")).digest()
        for number in range(length // 32 + 1)
    )
    return (head + noise)[:length]


def partition(path: Path, content: bytes = b"") -> Path:
    path.write_bytes(content.ljust(PARTITION_BYTES, b"\0"))
    return path


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Slot, Slot]:
    """Slot a filled, slot b empty."""
    for name, content in (
        ("boot_a", squashfs(700_000, b"boot")),
        ("root_a", squashfs(3_500_001, b"root")),
        ("boot_b", b""),
        ("root_b", b""),
    ):
        partition(tmp_path / name, content)
    return slots.slot("a", tmp_path), slots.slot("b", tmp_path)


@pytest.fixture
def state_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The slot state an image ships, where `bootstate` and `esp` look for it."""
    folder = tmp_path / "esp"
    folder.mkdir()
    bootstate.write(BootState(sequence=0, order=("a", "b"), a=GOOD, b=EMPTY), folder)
    monkeypatch.setattr(bootstate.read, "__defaults__", (folder,))
    monkeypatch.setattr(bootstate.write, "__defaults__", (folder,))
    monkeypatch.setattr(esp.writable.__wrapped__, "__defaults__", (folder, tmp_path / "lock"))
    return folder


def test_a_copy_is_the_same_to_the_last_byte(pair: tuple[Slot, Slot]) -> None:
    source, target = pair[0].root, pair[1].root
    told = slots.copy(source, target)
    length = slots.used_bytes(source)
    assert target.read_bytes()[:length] == source.read_bytes()[:length]
    assert told == hashlib.sha256(source.read_bytes()[:length]).hexdigest()


def test_a_source_without_a_file_system_is_refused(pair: tuple[Slot, Slot]) -> None:
    with pytest.raises(Refused):
        slots.copy(pair[1].root, pair[0].root)


def test_a_copy_that_reads_back_otherwise_is_refused(
    pair: tuple[Slot, Slot], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slots, "digest", lambda *_: "0" * 64)
    with pytest.raises(Refused):
        slots.copy(pair[0].root, pair[1].root)


def test_a_copy_cut_at_any_write_is_no_file_system_and_goes_on(
    pair: tuple[Slot, Slot], monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target = pair[0].root, pair[1].root
    real = slots._write_at
    for cut in range(1, 5):
        partition(target, squashfs(3_000_000, b"an older system"))
        writes = 0

        def write(file: object, offset: int, data: bytes, last: int = cut) -> None:
            nonlocal writes
            writes += 1
            if writes == last:
                raise OSError("power cut")
            real(file, offset, data)  # type: ignore[arg-type]

        monkeypatch.setattr(slots, "_write_at", write)
        with pytest.raises(OSError, match="power cut"):
            slots.copy(source, target)
        if cut > 1:
            assert slots.used_bytes(target) == 0
        monkeypatch.setattr(slots, "_write_at", real)
        slots.copy(source, target)
        assert target.read_bytes()[:3_500_001] == source.read_bytes()[:3_500_001]


def test_what_is_the_same_already_is_not_written_again(
    pair: tuple[Slot, Slot], monkeypatch: pytest.MonkeyPatch
) -> None:
    slots.copy(pair[0].root, pair[1].root)
    written = []
    real = slots._write_at
    monkeypatch.setattr(
        slots, "_write_at", lambda file, at, data: (written.append(at), real(file, at, data))
    )
    slots.copy(pair[0].root, pair[1].root)
    assert written == [0]


def test_the_empty_slot_is_filled_and_confirmed(
    pair: tuple[Slot, Slot], state_folder: Path
) -> None:
    assert slots.keep_fit(*pair)
    assert bootstate.read(state_folder).b == GOOD
    assert not slots.keep_fit(*pair), "a fit slot is left alone"


def test_a_copy_that_fails_leaves_the_other_slot_unstartable(
    pair: tuple[Slot, Slot], state_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slots, "digest", lambda *_: "0" * 64)
    with pytest.raises(Refused):
        slots.keep_fit(*pair)
    assert bootstate.read(state_folder).b == EMPTY
    assert bootstate.read(state_folder).a == GOOD


def test_a_slot_that_is_not_proved_good_is_not_copied(
    pair: tuple[Slot, Slot], state_folder: Path
) -> None:
    bootstate.write(bootstate.read(state_folder).doubt("a", 2), state_folder)
    assert not slots.keep_fit(*pair)


def test_a_broken_preferred_slot_is_made_anew_from_the_one_that_started(
    pair: tuple[Slot, Slot], state_folder: Path
) -> None:
    a, b = pair
    slots.keep_fit(a, b)
    os.truncate(a.boot, 0)
    partition(a.boot)
    assert slots.keep_fit(b, a)
    assert a.boot.read_bytes() == b.boot.read_bytes()
    assert bootstate.read(state_folder).a == GOOD


@pytest.mark.parametrize(
    ("marks", "order", "anew"),
    [
        (EMPTY, ("a", "b"), True),
        (Marks(confirmed=False, tries=2), ("b", "a"), False),
        (GOOD, ("a", "b"), False),
        (GOOD, ("b", "a"), True),
    ],
)
def test_when_the_other_slot_is_made_anew(
    pair: tuple[Slot, Slot], marks: Marks, order: tuple[str, str], anew: bool
) -> None:
    slots.copy(pair[0].root, pair[1].root)
    slots.copy(pair[0].boot, pair[1].boot)
    state = BootState(sequence=1, order=order, a=GOOD, b=marks)
    assert bool(slots.needs_refill(state, pair[1])) is anew


@pytest.mark.parametrize(
    ("line", "slot"),
    [
        ("root=X ro pennypost.slot=a panic=10", "a"),
        ("pennypost.slot=b", "b"),
        ("quiet", ""),
        ("xpennypost.slot=a", ""),
        ("pennypost.slot=ab", ""),
    ],
)
def test_the_slot_is_read_from_the_kernel_s_command_line(line: str, slot: str) -> None:
    assert slots.booted(line) == slot
