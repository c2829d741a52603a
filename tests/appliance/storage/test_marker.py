"""The marker is believed when this box has signed it, and read with suspicion otherwise."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest

from appliance.storage.marker import SECTOR_BYTES, Key, Marker, Stage, key_at, pack, unpack

OURS, THEIRS = Key(b"o" * 32), Key(b"t" * 32)
VOLUME = "5a3c9a52-0a56-4c0c-9f0e-2f6f0d7f6c11"


def marker(key: Key, **more: str) -> Marker:
    made = Marker(
        box=key.box, volume=VOLUME, created="2026-11-25T04:00:00+00:00", stage=Stage.READY
    )
    return replace(made, **more)  # type: ignore[arg-type]


def test_a_marker_is_one_sector_and_reads_back_as_ours() -> None:
    sector = pack(marker(OURS), OURS)
    assert len(sector) == SECTOR_BYTES
    read = unpack(sector, OURS)
    assert read is not None
    assert read.own
    assert read.marker == marker(OURS)


def test_another_box_s_marker_is_recognised_but_is_not_ours() -> None:
    read = unpack(pack(marker(THEIRS), THEIRS), OURS)
    assert read is not None
    assert not read.own
    assert read.marker.volume == VOLUME


def test_who_says_to_be_us_without_our_key_is_nobody() -> None:
    assert unpack(pack(marker(OURS), THEIRS), OURS) is None


def test_not_one_flipped_bit_leaves_a_marker_ours() -> None:
    sector = pack(marker(OURS), OURS)
    used = len(sector.rstrip(b"\0"))
    for bit in range(used * 8):
        flipped = bytearray(sector)
        flipped[bit // 8] ^= 1 << bit % 8
        read = unpack(bytes(flipped), OURS)
        assert read is None or not read.own, bit


@pytest.mark.parametrize(
    "more",
    [
        {"volume": "../../etc"},
        {"volume": "$(reboot)"},
        {"volume": VOLUME.upper()},
        {"created": "<script>"},
        {"stage": "mounted"},
        {"box": "x"},
    ],
)
def test_odd_words_make_no_marker(more: dict[str, str]) -> None:
    assert unpack(pack(marker(THEIRS, **more), THEIRS), OURS) is None


def test_noise_makes_no_marker() -> None:
    dice = random.Random(27)
    sector = pack(marker(THEIRS), THEIRS)
    for _ in range(500):
        noise = bytearray(sector)
        for _ in range(dice.randint(1, 40)):
            noise[dice.randrange(len(noise))] = dice.randrange(256)
        read = unpack(bytes(noise), OURS)
        assert read is None or not read.own
    assert unpack(b"", OURS) is None
    assert unpack(bytes(SECTOR_BYTES), OURS) is None


def test_the_key_is_made_once_and_a_damaged_one_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "disk.key"
    assert key_at(path).box == key_at(path).box
    assert path.stat().st_mode & 0o777 == 0o600
    path.write_bytes(b"short")
    with pytest.raises(OSError, match="damaged"):
        key_at(path)
    assert path.read_bytes() == b"short"
