"""What leaves the build: compressed image, block map, checksums, package list."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from xml.sax.saxutils import escape

from image import gpt
from image.disk import layout
from image.gpt import MIB
from image.lock import Package
from image.tools import Tools

BLOCK = 4096


@dataclass(frozen=True, slots=True)
class Build:
    """What identifies a build in its papers; `epoch` in seconds since 1970."""

    board: str
    title: str
    version: str
    source: str
    epoch: int


def sha256(path: Path) -> str:
    """Checksum of a file, read in pieces."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(4 * MIB):
            digest.update(block)
    return digest.hexdigest()


def compress(tools: Tools, image: Path, kept: Path, log: Path) -> Path:
    """The image as one .xz stream; flashing tools stumble over several."""
    packed = image.with_name(image.name + ".xz")
    command = ["python3", "-m", "image.xz", *map(tools.inside, (image, packed, kept))]
    tools.run(["env", "PYTHONPATH=/src", "PYTHONDONTWRITEBYTECODE=1", *command], log=log)
    return packed


def checksums(paths: Iterable[Path]) -> str:
    """Lines as `sha256sum -c` reads them."""
    return "".join(f"{sha256(path)}  {path.name}\n" for path in paths)


def block_map(image: Path) -> str:
    """A .bmap (format 2.0): bmaptool then writes only what carries something.

    Zeros count where they mean something: the partition table, the loader gap, the
    file tables of the EFI partition and the head of every slot.
    """
    size = image.stat().st_size
    heads = {(part.start, part.start + 4 * MIB) for part in layout()}
    needed = [(0, layout()[0].start), *sorted(heads)]
    ranges = list(_ranges(image, needed))
    mapped = sum(last - first + 1 for first, last, _ in ranges)
    head = f"""<?xml version="1.0" ?>
<bmap version="2.0">
    <ImageSize> {size} </ImageSize>
    <BlockSize> {BLOCK} </BlockSize>
    <BlocksCount> {-(-size // BLOCK)} </BlocksCount>
    <MappedBlocksCount> {mapped} </MappedBlocksCount>
    <ChecksumType> sha256 </ChecksumType>
    <BmapFileChecksum> {"0" * 64} </BmapFileChecksum>
    <BlockMap>
"""
    rows = (
        f'        <Range chksum="{chksum}"> {first}{f"-{last}" if last > first else ""} </Range>\n'
        for first, last, chksum in ranges
    )
    text = head + "".join(rows) + "    </BlockMap>\n</bmap>\n"
    # The file's own checksum is taken with zeros in its place.
    return text.replace("0" * 64, hashlib.sha256(text.encode()).hexdigest(), 1)


def _ranges(image: Path, needed: list[tuple[int, int]]) -> Iterator[tuple[int, int, str]]:
    """Runs of blocks to write: (first, last, checksum)."""
    zeros, number, first = bytes(BLOCK), 0, -1
    digest = hashlib.sha256()
    with image.open("rb") as file:
        while big := file.read(MIB):
            wanted = any(start <= number * BLOCK < end for start, end in needed)
            if not wanted and big.count(0) == len(big) and first < 0:
                number += -(-len(big) // BLOCK)
                continue
            for at in range(0, len(big), BLOCK):
                block = big[at : at + BLOCK]
                if wanted or block != zeros:
                    first = number if first < 0 else first
                    digest.update(block)
                elif first >= 0:
                    yield first, number - 1, digest.hexdigest()
                    first, digest = -1, hashlib.sha256()
                number += 1
    if first >= 0:
        yield first, number - 1, digest.hexdigest()


def manifest(build: Build, packages: Iterable[Package]) -> str:
    """A CycloneDX 1.5 list of every package on the image."""
    when = datetime.fromtimestamp(build.epoch, UTC).isoformat()
    name = f"pennypost-{build.board}"
    document = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "serialNumber": f"urn:uuid:{uuid.uuid5(gpt.SPACE, name + build.source)}",
        "version": 1,
        "metadata": {
            "timestamp": when,
            "component": {
                "type": "firmware",
                "name": name,
                "version": build.version,
                "description": build.title,
                "properties": [{"name": "pennypost:source", "value": build.source}],
            },
        },
        "components": [_component(package) for package in packages],
    }
    return json.dumps(document, indent=1, sort_keys=True) + "\n"


def _component(package: Package) -> dict[str, object]:
    version = package.version.replace("+", "%2B").replace(":", "%3A")
    return {
        "type": "library",
        "name": package.name,
        "version": package.version,
        "purl": f"pkg:deb/debian/{escape(package.name)}@{version}?arch={package.arch}",
        "hashes": [{"alg": "SHA-256", "content": package.sha256}],
    }
