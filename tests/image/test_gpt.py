"""The partition table, judged by another program."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from image import disk, gpt
from image.gpt import MIB, Partition


def written(path: Path, size: int) -> Path:
    with path.open("wb") as file:
        file.truncate(size)
        for offset, data in gpt.pieces(disk.layout(), size, "test").items():
            file.seek(offset)
            file.write(data)
    return path


def test_the_same_partitions_give_the_same_bytes() -> None:
    size = gpt.disk_bytes(disk.layout())
    assert gpt.pieces(disk.layout(), size, "x") == gpt.pieces(disk.layout(), size, "x")


def test_the_first_partition_leaves_room_for_a_boards_loader() -> None:
    assert disk.layout()[0].start == 16 * MIB


def test_the_boot_script_knows_the_partitions_by_their_numbers() -> None:
    labels = [part.label for part in disk.layout()]
    assert labels == ["esp", "boot_a", "root_a", "boot_b", "root_b"]


@pytest.mark.skipif(not shutil.which("sfdisk"), reason="needs sfdisk")
def test_sfdisk_finds_the_table_whole(tmp_path: Path) -> None:
    path = written(tmp_path / "disk", gpt.disk_bytes(disk.layout()))
    said = subprocess.run(
        ["sfdisk", "--verify", str(path)], capture_output=True, text=True, check=True
    )
    assert "No errors detected" in said.stdout + said.stderr
    dump = subprocess.run(["sfdisk", "--json", str(path)], capture_output=True, check=True)
    table = json.loads(dump.stdout)["partitiontable"]
    found = [
        (p["name"], p["start"] * 512, p["size"] * 512, p["uuid"].lower())
        for p in table["partitions"]
    ]
    assert found == [(p.label, p.start, p.size, str(gpt.guid(p.label))) for p in disk.layout()]


@pytest.mark.parametrize(
    "parts",
    [
        (Partition("x", "linux", MIB, 2 * MIB), Partition("y", "linux", 2 * MIB, MIB)),
        (Partition("x", "linux", MIB, 20 * MIB),),
        (Partition("x", "linux", MIB + 1, MIB),),
        (Partition("x", "linux", 0, MIB),),
    ],
)
def test_partitions_that_overlap_or_do_not_fit_are_refused(parts: tuple[Partition, ...]) -> None:
    with pytest.raises(ValueError, match="partition"):
        gpt.pieces(parts, 10 * MIB, "x")
