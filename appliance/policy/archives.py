"""The names of the files in an archive, without unpacking more than names need.

ZIP is read by its own signatures instead of its directory: programs differ in whether they
believe the directory or the entries, so names from both count. A ZIP in a ZIP is looked into
once, its octets unpacked up to a limit. TAR is walked; compressed, up to a limit of what comes
out. RAR names stand in its headers. Of 7z the header is usually compressed: it stays closed.

It runs in a thread beside the sessions. So that none of them waits for it, no single call works
on more than _STEP octets (Python changes threads only between calls), and at most MAX_ENTRIES
entries are read.
"""

import bz2
import lzma
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

MAX_ENTRIES = 10_000
MAX_UNPACKED_BYTES = 32 * 1024 * 1024
MAX_NESTED_BYTES = 8 * 1024 * 1024
MAX_NESTED = 20
_STEP = 1024 * 1024
_ENCRYPTED = 0x1


Octets = bytes | bytearray


@dataclass(slots=True)
class Contents:
    """What was found. `closed`: why it could not be looked into; empty when it could."""

    names: list[str] = field(default_factory=list)
    closed: str = ""


def is_archive(start: Octets) -> bool:
    """Whether the first octets are those of an archive (a few hundred do)."""
    return _reader(start) is not None


def names(data: Octets, *, name: str = "", nested: bool = True) -> Contents:
    """The names in the archive `data`, whose own name is `name`."""
    reader = _reader(data[:512])
    found = Contents()
    if reader is None:
        return found
    try:
        reader(data, name, nested, found)
    except (ValueError, struct.error, zlib.error, lzma.LZMAError, OSError, EOFError, IndexError):
        found.closed = found.closed or "damaged"
    if len(found.names) >= MAX_ENTRIES:
        found.closed = found.closed or "too many files"
    return found


_Read = Callable[[Octets, str, bool, Contents], None]


def _reader(start: Octets) -> _Read | None:
    for magic, reader in _MAGIC:
        if start.startswith(magic):
            return reader
    return _tar if start[257:262] == b"ustar" else None


def _find_all(data: Octets, signature: bytes) -> Iterator[int]:
    """Each place of the signature; no single search is long."""
    position, count = 0, 0
    while position < len(data) and count < 4 * MAX_ENTRIES:
        found = data.find(signature, position, position + _STEP + len(signature) - 1)
        if found >= 0:
            yield found
            position, count = found + 1, count + 1
        else:
            position += _STEP


def _zip(data: Octets, name: str, nested: bool, found: Contents) -> None:
    inner = 0
    for at in _find_all(data, b"PK\x01\x02"):  # the directory's entries
        if at + 46 > len(data) or len(found.names) >= MAX_ENTRIES:
            break
        flags, method = struct.unpack_from("<HH", data, at + 8)
        packed, _, length = struct.unpack_from("<IIH", data, at + 20)
        entry = _zip_name(data[at + 46 : at + 46 + length], flags)
        found.names.append(entry)
        if flags & _ENCRYPTED:
            found.closed = "encrypted"
        elif nested and entry.lower().endswith((".zip", ".jar")) and inner < MAX_NESTED:
            inner += 1
            offset = struct.unpack_from("<I", data, at + 42)[0]
            _nested_zip(data, offset, method, packed, found)
    for at in _find_all(data, b"PK\x03\x04"):  # the entries themselves
        if at + 30 > len(data) or len(found.names) >= MAX_ENTRIES:
            break
        flags = struct.unpack_from("<H", data, at + 6)[0]
        length = struct.unpack_from("<H", data, at + 26)[0]
        if length:
            found.names.append(_zip_name(data[at + 30 : at + 30 + length], flags))
        if flags & _ENCRYPTED:
            found.closed = "encrypted"


def _zip_name(raw: Octets, flags: int) -> str:
    return raw[:1024].decode("utf-8" if flags & 0x800 else "cp437", "replace")


def _nested_zip(data: Octets, offset: int, method: int, packed: int, found: Contents) -> None:
    """Look into a ZIP that lies in this one. Stored ones were seen by their signatures."""
    if method != 8 or data[offset : offset + 4] != b"PK\x03\x04":
        return
    name_length, extra_length = struct.unpack_from("<HH", data, offset + 26)
    start = offset + 30 + name_length + extra_length
    inside, unpacker = bytearray(), zlib.decompressobj(-15)
    end = min(start + packed, len(data))
    try:
        for at in range(start, end, _STEP):
            inside += unpacker.decompress(
                data[at : min(at + _STEP, end)], MAX_NESTED_BYTES + 1 - len(inside)
            )
            if len(inside) > MAX_NESTED_BYTES:
                found.closed = found.closed or "too big inside"
                break
    except zlib.error:
        found.closed = found.closed or "damaged"
        return
    deeper = names(inside, nested=False)
    found.names += deeper.names
    found.closed = found.closed or deeper.closed


def _tar(data: Octets, name: str, nested: bool, found: Contents) -> None:
    position, long_name = 0, ""
    while position + 512 <= len(data) and len(found.names) < MAX_ENTRIES:
        block = data[position : position + 512]
        if not block.strip(b"\0"):
            return
        size = int(block[124:136].strip(b"\0 ") or b"0", 8)
        entry = block[:100].split(b"\0")[0].decode("utf-8", "replace")
        if block[156:157] == b"L":  # GNU: the next entry's long name is the content
            long_name = (
                data[position + 512 : position + 512 + min(size, 4096)]
                .split(b"\0")[0]
                .decode("utf-8", "replace")
            )
        elif block[156:157] == b"x":  # POSIX: so it may be, as path=
            for line in data[position + 512 : position + 512 + min(size, 65_536)].split(b"\n"):
                _, is_path, path = line.partition(b" path=")
                long_name = path.decode("utf-8", "replace") if is_path else long_name
        else:
            found.names.append(long_name or entry)
            long_name = ""
        if size < 0:
            raise ValueError("negative size")
        position += 512 + (size + 511) // 512 * 512


def _gzip(data: Octets, name: str, nested: bool, found: Contents) -> None:
    if data[3] & 0x8:  # the name of the file that was packed (RFC 1952 §2.3.1)
        at = 10 + (2 + struct.unpack_from("<H", data, 10)[0] if data[3] & 0x4 else 0)
        found.names.append(data[at : at + 1024].split(b"\0")[0].decode("latin-1"))
    unpacker = zlib.decompressobj(31)

    def unpack(piece: Octets, most: int) -> bytes:
        return unpacker.decompress(unpacker.unconsumed_tail + piece, most)

    _packed(unpack, data, name, found)


def _bzip2(data: Octets, name: str, nested: bool, found: Contents) -> None:
    _packed(bz2.BZ2Decompressor().decompress, data, name, found, limit=MAX_NESTED_BYTES)


def _xz(data: Octets, name: str, nested: bool, found: Contents) -> None:
    unpacker = lzma.LZMADecompressor(memlimit=64 * 1024 * 1024)
    _packed(unpacker.decompress, data, name, found, limit=MAX_NESTED_BYTES)


def _packed(
    unpack: Callable[[Octets, int], bytes],
    data: Octets,
    name: str,
    found: Contents,
    *,
    limit: int = MAX_UNPACKED_BYTES,
) -> None:
    """One packed stream: the name it had before, and when it holds a TAR, the names in that."""
    found.names.append(name.rpartition(".")[0])
    first = unpack(data[:_STEP], 65_536)
    if first[257:262] != b"ustar":
        return
    inside = bytearray(first)
    position = _STEP
    while len(inside) < limit:
        try:
            more = unpack(b"", min(_STEP, limit - len(inside)))
        except EOFError:  # the stream's own end
            break
        if not more:
            if position >= len(data):
                break
            more = unpack(data[position : position + _STEP], min(_STEP, limit - len(inside)))
            position += _STEP
        inside += more
    if len(inside) >= limit:
        found.closed = "too big inside"
    _tar(inside, name, False, found)


def _rar(data: Octets, name: str, nested: bool, found: Contents) -> None:
    if data[6:8] == b"\x01\x00":
        _rar5(data, found)
    else:
        _rar4(data, found)


def _rar4(data: Octets, found: Contents) -> None:
    position = 7
    while position + 7 <= len(data) and len(found.names) < MAX_ENTRIES:
        kind, flags, size = struct.unpack_from("<BHH", data, position + 2)
        if size < 7:
            raise ValueError("block too short")
        added = struct.unpack_from("<I", data, position + 7)[0] if flags & 0x8000 else 0
        if kind == 0x73 and flags & 0x80:
            found.closed = "encrypted"  # the names too
            return
        if kind == 0x74:
            length = struct.unpack_from("<H", data, position + 26)[0]
            at = position + 32 + (8 if flags & 0x100 else 0)
            raw = data[at : at + min(length, 1024)].split(b"\0")[0]
            found.names.append(raw.decode("utf-8", "replace"))
            if flags & 0x4:
                found.closed = "encrypted"
            added = struct.unpack_from("<I", data, position + 7)[0]
        if kind == 0x7B:
            return
        position += size + added


def _rar5(data: Octets, found: Contents) -> None:
    position = 8
    while position + 6 < len(data) and len(found.names) < MAX_ENTRIES:
        size, at = _vint(data, position + 4)
        end = at + size
        kind, at = _vint(data, at)
        flags, at = _vint(data, at)
        _, at = _vint(data, at) if flags & 0x1 else (0, at)
        body, at = _vint(data, at) if flags & 0x2 else (0, at)
        if kind == 4:
            found.closed = "encrypted"
            return
        if kind == 2:
            found.names.append(_rar5_name(data, at))
        if kind == 5:
            return
        if size == 0:
            raise ValueError("empty block")
        position = end + body


def _rar5_name(data: Octets, at: int) -> str:
    flags, at = _vint(data, at)
    _, at = _vint(data, at)  # size unpacked
    _, at = _vint(data, at)  # attributes
    at += (4 if flags & 0x2 else 0) + (4 if flags & 0x4 else 0)  # time, checksum
    _, at = _vint(data, at)  # method
    _, at = _vint(data, at)  # system
    length, at = _vint(data, at)
    return data[at : at + min(length, 1024)].decode("utf-8", "replace")


def _vint(data: Octets, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 63, 7):
        octet = data[at]
        at += 1
        value |= (octet & 0x7F) << shift
        if not octet & 0x80:
            return value, at
    raise ValueError("number too long")


def _closed(data: Octets, name: str, nested: bool, found: Contents) -> None:
    found.closed = "of a kind that is not read"


_MAGIC: tuple[tuple[bytes, _Read], ...] = (
    (b"PK\x03\x04", _zip),
    (b"PK\x05\x06", _zip),
    (b"\x1f\x8b\x08", _gzip),
    (b"BZh", _bzip2),
    (b"\xfd7zXZ\x00", _xz),
    (b"Rar!\x1a\x07", _rar),
    (b"7z\xbc\xaf\x27\x1c", _closed),
    (b"MSCF", _closed),
)
