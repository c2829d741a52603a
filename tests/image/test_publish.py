"""The papers of an image: block map, checksums, package list."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
from pathlib import Path

from image import disk, publish
from image.gpt import MIB
from image.lock import Package


def sparse(path: Path) -> Path:
    with path.open("wb") as file:
        file.truncate(200 * MIB)
        for offset in (0, 20 * MIB + 5 * 4096, 150 * MIB):
            file.seek(offset)
            file.write(b"data")
    return path


def ranges(text: str) -> list[tuple[int, int, str]]:
    found = re.findall(r'<Range chksum="(\w+)"> (\d+)(?:-(\d+))? </Range>', text)
    return [(int(first), int(last or first), checksum) for checksum, first, last in found]


def test_the_block_map_covers_all_data_with_right_checksums(tmp_path: Path) -> None:
    image = sparse(tmp_path / "x.img")
    data = image.read_bytes()
    left = bytearray(data)
    for first, last, checksum in ranges(publish.block_map(image)):
        piece = slice(first * 4096, (last + 1) * 4096)
        assert hashlib.sha256(data[piece]).hexdigest() == checksum
        left[piece] = bytes(len(left[piece]))
    assert not any(left)


def test_the_block_map_writes_zeros_where_they_mean_something(tmp_path: Path) -> None:
    """Old file tables or an old second slot must not shine through."""
    mapped = ranges(publish.block_map(sparse(tmp_path / "x.img")))
    for at in (0, disk.FIRST - 4096, disk.FIRST, disk.FIRST + 2 * MIB, disk.layout()[1].start):
        assert any(first <= at // 4096 <= last for first, last, _ in mapped), at


def test_the_block_map_carries_its_own_checksum(tmp_path: Path) -> None:
    text = publish.block_map(sparse(tmp_path / "x.img"))
    found = re.search(r"<BmapFileChecksum> (\w{64}) <", text)
    assert found is not None
    blank = text.replace(found[1], "0" * 64)
    assert hashlib.sha256(blank.encode()).hexdigest() == found[1]


def test_the_checksums_are_what_sha256sum_reads(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"a")
    (tmp_path / "b").write_bytes(b"b" * 9_000_000)
    (tmp_path / "SHA256SUMS").write_text(publish.checksums([tmp_path / "a", tmp_path / "b"]))
    subprocess.run(["sha256sum", "-c", "SHA256SUMS"], cwd=tmp_path, check=True)


def test_the_manifest_names_every_package_and_is_the_same_twice() -> None:
    build = publish.Build("generic-amd64", "Any", "0.1.0", "abc", 86400)
    packages = [Package("openssl", "3.5.1-1+deb13u1", "ab", "amd64")]
    text = publish.manifest(build, packages)
    assert text == publish.manifest(build, packages)
    part = json.loads(text)["components"][0]
    assert part["purl"] == "pkg:deb/debian/openssl@3.5.1-1%2Bdeb13u1?arch=amd64"
    assert part["hashes"] == [{"alg": "SHA-256", "content": "ab"}]
