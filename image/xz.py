"""One .xz stream out of blocks that are compressed once and kept.

    python3 -m image.xz IMAGE TARGET CACHE

Compressing is the slowest part of a small change, and most of an image does not
change. An .xz stream is a header, any number of independent blocks, an index of
their sizes and a footer (The .xz File Format, version 1.2.1); so each piece of the
image is compressed on its own, kept under its checksum, and the stream is put
together from what is there. What will not get smaller (the slots are compressed
already) is stored as it is, which LZMA2 provides for. Runs in the tools tree, so that
its liblzma decides the bytes.
"""

from __future__ import annotations

import hashlib
import lzma
import os
import struct
import sys
import threading
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path

PIECE_BYTES = 4 << 20
PRESET = 1
HEADER_BYTES = FOOTER_BYTES = 12
# CRC32 is what every reader knows, small ones too.
CHECK, CHECK_BYTES = lzma.CHECK_CRC32, 4
FLAGS = bytes((0, CHECK))
STORED_BYTES = 1 << 16
SAMPLE_BYTES = 1 << 15
# Names kept blocks; to be changed with anything that changes their bytes.
FORMAT = "crc32-preset1"


def number(value: int) -> bytes:
    """A number as the index writes it: seven bits a byte (section 1.2)."""
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def read_number(data: bytes, at: int) -> tuple[int, int]:
    """The number at a place, and the place behind it."""
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


def block(piece: bytes) -> tuple[bytes, int]:
    """A piece as one block, and its unpadded size (section 3)."""
    return stored(piece) if is_dense(piece) else packed(piece)


def is_dense(piece: bytes) -> bool:
    """Whether compressing would gain less than a twentieth, judged by samples."""
    samples = b"".join(
        piece[at : at + SAMPLE_BYTES] for at in range(0, len(piece), 8 * SAMPLE_BYTES)
    )
    return len(zlib.compress(samples, 1)) > len(samples) * 0.95


def packed(piece: bytes) -> tuple[bytes, int]:
    """The block liblzma makes of a piece."""
    stream = lzma.compress(piece, check=CHECK, preset=PRESET)
    (backward,) = struct.unpack("<I", stream[-8:-4])
    index = len(stream) - FOOTER_BYTES - (backward + 1) * 4
    records, at = read_number(stream, index + 1)
    assert records == 1
    unpadded, _ = read_number(stream, at)
    return stream[HEADER_BYTES:index], unpadded


def stored(piece: bytes) -> tuple[bytes, int]:
    """A block of uncompressed LZMA2 chunks (control 1: forget all before; 2: go on)."""
    # One filter, LZMA2 (0x21), whose one property says a dictionary of 256 KiB.
    head = bytes((2, 0, 0x21, 1, 12, 0, 0, 0))
    parts = [head, struct.pack("<I", zlib.crc32(head))]
    for at in range(0, len(piece), STORED_BYTES):
        chunk = piece[at : at + STORED_BYTES]
        parts += [struct.pack(">BH", 2 if at else 1, len(chunk) - 1), chunk]
    parts.append(b"\0")
    size = sum(map(len, parts))
    parts += [bytes(-size % 4), struct.pack("<I", zlib.crc32(piece))]
    return b"".join(parts), size + CHECK_BYTES


def header() -> bytes:
    """The twelve bytes a stream starts with (section 2.1.1)."""
    return b"\xfd7zXZ\0" + FLAGS + struct.pack("<I", zlib.crc32(FLAGS))


def ending(records: list[tuple[int, int]]) -> bytes:
    """Index and footer for blocks of (unpadded, uncompressed) size (sections 4, 2.1.2)."""
    index = b"\0" + number(len(records))
    index += b"".join(number(unpadded) + number(plain) for unpadded, plain in records)
    index += bytes(-len(index) % 4)
    index += struct.pack("<I", zlib.crc32(index))
    tail = struct.pack("<I", len(index) // 4 - 1) + FLAGS
    return index + struct.pack("<I", zlib.crc32(tail)) + tail + b"YZ"


def kept_block(piece: bytes, cache: Path) -> tuple[Path, int, int]:
    """The file with a piece's block (made if need be), its unpadded and plain size."""
    name = f"{FORMAT}-{hashlib.sha256(piece).hexdigest()}"
    for found in cache.glob(f"{name}.*"):
        os.utime(found)
        return found, int(found.suffix[1:]), len(piece)
    data, unpadded = block(piece)
    path = cache / f"{name}.{unpadded}"
    # A name of its own, which the look-up above cannot find: two workers may meet the same
    # piece, a run of zeros most often.
    draft = cache / f"new-{os.getpid()}-{threading.get_ident()}-{path.name}"
    draft.write_bytes(data)
    draft.replace(path)
    return path, unpadded, len(piece)


def pieces(image: Path) -> Iterator[bytes]:
    """The image in pieces of the same size."""
    with image.open("rb") as file:
        while piece := file.read(PIECE_BYTES):
            yield piece


def compress(image: Path, target: Path, cache: Path, workers: int = 2) -> None:
    """Write `target`; blocks this image no longer has leave the cache."""
    cache.mkdir(parents=True, exist_ok=True)
    records, used = [], set()
    source = pieces(image)
    with target.open("wb") as out, ThreadPoolExecutor(workers) as pool:
        out.write(header())
        while some := list(islice(source, 4 * workers)):
            for path, unpadded, plain in pool.map(kept_block, some, [cache] * len(some)):
                out.write(path.read_bytes())
                records.append((unpadded, plain))
                used.add(path)
        out.write(ending(records))
    for path in set(cache.iterdir()) - used:
        path.unlink()


if __name__ == "__main__":
    compress(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]))
