"""The reader of block logs and its cuts, on logs made by hand."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from tests.support import block_log
from tests.support.block_log import Replay
from tests.support.disk import SECTOR, Partition

FLUSH, DISCARD = 1, 4


def make_log(
    path: Path, *entries: tuple[int, bytes | None, int], counted: int | None = None
) -> Path:
    """(sector, what is written or None for a flush, flags)."""
    total = len(entries) if counted is None else counted
    text = struct.pack("<QQQI", 0x6A736677736872, 1, total, SECTOR).ljust(SECTOR, b"\0")
    for sector, data, flags in entries:
        sectors = len(data or b"") // SECTOR
        text += struct.pack("<QQQQ", sector, sectors, flags, 0).ljust(SECTOR, b"\0")
        text += b"" if flags & DISCARD else data or b""
    path.write_bytes(text)
    return path


def block(letter: bytes, sectors: int = 1) -> bytes:
    return letter * SECTOR * sectors


STORY = (
    (4, block(b"a"), 0),
    (0, None, FLUSH),
    (5, block(b"b"), 0),
    (6, block(b"c", 4), 0),
    (4, block(b"z"), DISCARD),
    (0, None, FLUSH),
    (5, block(b"d"), 0),
)
PART = Partition("data", 4 * SECTOR, 8 * SECTOR)


@pytest.fixture
def replay(tmp_path: Path) -> Replay:
    disk = tmp_path / "disk"
    disk.write_bytes(block(b"0", 32))
    return Replay(disk, make_log(tmp_path / "log", *STORY))


def test_a_log_is_read_up_to_what_its_superblock_counts(tmp_path: Path) -> None:
    log = make_log(tmp_path / "log", *STORY, counted=4)
    assert block_log.count(log) == 4
    assert [entry.offset // SECTOR for entry in block_log.read(log)] == [4, 0, 5, 6]


def test_a_torn_last_entry_is_left_out(tmp_path: Path) -> None:
    log = make_log(tmp_path / "log", *STORY)
    log.write_bytes(log.read_bytes()[:-1])
    assert len(block_log.read(log)) == len(STORY) - 1


def test_another_file_is_no_log(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(b"x" * 100)
    with pytest.raises(block_log.NotALog):
        block_log.read(tmp_path / "log")


def test_a_cut_keeps_what_was_flushed_and_some_of_the_rest(replay: Replay, tmp_path: Path) -> None:
    assert replay.flushes == {1: 1, 5: 2, 7: 1}
    everything, nothing, *some = block_log.cuts(replay.entries, 5, subsets=40, seed=1)
    seen = set()
    for cut in (everything, nothing, *some):
        assert cut.settled == 2
        replay.partition_at(cut, PART, tmp_path / "part")
        found = (tmp_path / "part").read_bytes()
        assert len(found) == PART.size
        assert found[:SECTOR] == block(b"a")
        seen.add(found[SECTOR : 6 * SECTOR])
    assert {block(b"b") + block(b"c", 4), block(b"0", 5)} <= seen
    assert any(block(b"c") + block(b"0") in one for one in seen), "none was torn"


def test_a_write_across_a_partitions_edge_is_cut_there(replay: Replay, tmp_path: Path) -> None:
    everything, *_ = block_log.cuts(replay.entries, 5, subsets=0, seed=1)
    replay.partition_at(everything, Partition("part", 7 * SECTOR, 2 * SECTOR), tmp_path / "part")
    assert (tmp_path / "part").read_bytes() == block(b"c", 2)


def test_the_same_seed_makes_the_same_choices(replay: Replay) -> None:
    first, second = (list(block_log.cuts(replay.entries, 5, subsets=9, seed=7)) for _ in "ab")
    assert first == second
