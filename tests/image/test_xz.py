"""The .xz stream put together from kept blocks, read by liblzma."""

from __future__ import annotations

import lzma
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from image import xz

DENSE = random.Random(1).randbytes(xz.PIECE_BYTES)


def packed(folder: Path, data: bytes) -> bytes:
    (folder / "in").write_bytes(data)
    xz.compress(folder / "in", folder / "out", folder / "kept")
    return (folder / "out").read_bytes()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"x",
        bytes(xz.PIECE_BYTES * 3),
        DENSE,
        DENSE[:70001] + bytes(xz.PIECE_BYTES) + b"text " * 900_000 + DENSE[:5],
    ],
    ids=["nothing", "one byte", "zeros", "dense", "a mixture"],
)
def test_liblzma_reads_what_we_write(tmp_path: Path, data: bytes) -> None:
    assert lzma.decompress(packed(tmp_path, data), format=lzma.FORMAT_XZ) == data


def test_a_second_run_gives_the_same_bytes_and_a_change_costs_one_block(tmp_path: Path) -> None:
    data = bytearray(DENSE + bytes(xz.PIECE_BYTES) + DENSE[::-1])
    first = packed(tmp_path, bytes(data))
    kept = set((tmp_path / "kept").iterdir())
    assert packed(tmp_path, bytes(data)) == first
    data[-1] ^= 1
    packed(tmp_path, bytes(data))
    assert len(set((tmp_path / "kept").iterdir()) - kept) == 1


def test_what_is_dense_already_grows_by_next_to_nothing(tmp_path: Path) -> None:
    assert len(packed(tmp_path, DENSE)) < len(DENSE) * 1.001


@given(st.integers(0, 2**60))
def test_numbers_read_back(value: int) -> None:
    assert xz.read_number(xz.number(value) + b"rest", 0) == (value, len(xz.number(value)))
