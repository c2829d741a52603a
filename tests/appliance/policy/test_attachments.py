"""Forbidden files are found by name, however the name is written and wherever it lies."""

import base64
import binascii
import bz2
import gzip
import io
import lzma
import quopri
import random
import tarfile
import time
import zipfile
from typing import Any

import pytest

from appliance.policy import archives, attachments
from appliance.policy.attachments import inspect
from appliance.policy.mime_shape import measure
from appliance.policy.verdict import Attachments

MIB = 1024 * 1024
FORBIDDEN = frozenset({"exe", "js", "scr"})


def message(field: str, octets: bytes = b"MZ") -> bytes:
    return (
        b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\ntext\r\n--b\r\n"
        + field.encode()
        + b"\r\nContent-Transfer-Encoding: base64\r\n\r\n"
        + base64.encodebytes(octets).replace(b"\n", b"\r\n")
        + b"--b--\r\n"
    )


def found(content: bytes) -> Attachments:
    return inspect(content, measure(content), FORBIDDEN)


@pytest.mark.parametrize(
    "field",
    [
        'Content-Disposition: attachment; filename="evil.exe"',
        "Content-Disposition: attachment; filename=evil.exe",
        "content-disposition:attachment;filename = evil.EXE ",
        'Content-Type: application/octet-stream; name="evil.exe"',
        'Content-Disposition: attachment; filename="holiday.jpg.exe"',
        'Content-Disposition: attachment; filename="evil.exe. . ."',
        'Content-Disposition: attachment;\r\n\tfilename="evil.exe"',
        "Content-Disposition: attachment; filename*=utf-8''evil%2Eexe",
        "Content-Disposition: attachment; filename*0=evil.; filename*1=exe",
        "Content-Disposition: attachment; filename*0*=utf-8''evi%6c.e; filename*1=xe",
        "Content-Disposition: attachment; filename*1=exe; filename*0=evil.",
        'Content-Disposition: attachment; filename="=?utf-8?B?ZXZpbC5leGU=?="',
        'Content-Disposition: attachment; filename="=?utf-8?Q?evil=2Eexe?="',
        'Content-Disposition: attachment; filename="=?utf-8?Q?evil=2E?= =?utf-8?Q?exe?="',
        'Content-Disposition: attachment; filename="evil.exe',
        'Content-Disposition: attachment; filename=evil"."exe',
        'Content-Disposition: attachment; filename="evil.exe::$DATA"',
        'Content-Disposition: attachment; filename="a.txt"; filename="evil.exe"',
        'Content-Disposition: attachment; filename="a.txt"\r\nContent-Type: x/y; name="evil.exe"',
        'Content-Disposition: attachment; filename="C:\\\\x\\\\evil.exe"',
        'Content-Disposition: attachment; filename="evil.\u202eexe"',
    ],
)
def test_a_forbidden_name_is_found_however_it_is_written(field: str) -> None:
    assert found(message(field)).forbidden


@pytest.mark.parametrize("name", ["report.pdf", "exe", "evil.exe.txt", "a.exe/b.pdf", "x.jsx"])
def test_other_names_pass(name: str) -> None:
    assert found(message(f'Content-Disposition: attachment; filename="{name}"')) == Attachments()


def zipped(*names: str, inside: bytes = b"MZ", how: int = zipfile.ZIP_DEFLATED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", how) as archive:
        for name in names:
            archive.writestr(name, inside)
    return file.getvalue()


def tarred(*names: str) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for name in names:
            entry = tarfile.TarInfo(name)
            entry.size = 3
            archive.addfile(entry, io.BytesIO(b"abc"))
    return file.getvalue()


def rar5(name: bytes) -> bytes:
    body = bytes([2, 2, 0, 0, 0, 0, 0, 0, len(name)]) + name
    body = bytes([2, 2, 0]) + bytes([0, 0, 0, 0, 0, len(name)]) + name
    return b"Rar!\x1a\x07\x01\x00" + b"\0\0\0\0" + bytes([len(body)]) + body


@pytest.mark.parametrize(
    "octets",
    [
        zipped("a.txt", "folder/evil.exe"),
        zipped("inner.zip", inside=zipped("evil.exe")),
        zipped("inner.zip", inside=zipped("evil.exe"), how=zipfile.ZIP_STORED),
        tarred("a.txt", "evil.exe"),
        tarred("d/" * 80 + "evil.exe"),
        gzip.compress(tarred("evil.exe")),
        bz2.compress(tarred("evil.exe")),
        lzma.compress(tarred("evil.exe")),
        rar5(b"evil.exe"),
    ],
    ids=["zip", "zip in zip", "stored", "tar", "long name", "tgz", "tbz", "txz", "rar5"],
)
def test_a_forbidden_name_is_found_in_an_archive_of_any_name(octets: bytes) -> None:
    assert found(message('Content-Disposition: attachment; filename="x.dat"', octets)).forbidden


def test_a_packed_file_shows_by_the_archive_s_own_name() -> None:
    field = 'Content-Disposition: attachment; filename="evil.exe.gz"'
    assert found(message(field, gzip.compress(b"MZ"))).forbidden == ("evil.exe",)


def test_an_encrypted_archive_is_closed() -> None:
    octets = bytearray(zipped("secret.txt"))
    octets[octets.index(b"PK\x01\x02") + 8] |= 1
    field = 'Content-Disposition: attachment; filename="x.zip"'
    assert found(message(field, bytes(octets))).closed == ("x.zip (encrypted)",)


@pytest.mark.parametrize(
    "octets",
    [
        zipped("inner.zip", inside=b"\0" * 50_000_000),
        gzip.compress(tarred("a")[:512] + b"\0" * 100_000_000),
        b"PK\x01\x02" * 1_000_000,
        b"PK\x03\x04" * 1_000_000,
        b"Rar!\x1a\x07\x00" + b"\x74" * 500_000,
        b"7z\xbc\xaf\x27\x1c" + b"\0" * 100,
    ],
    ids=["zip bomb", "tgz bomb", "entries", "local entries", "rar", "7z"],
)
def test_a_bomb_is_looked_at_for_a_second_at_most(octets: bytes) -> None:
    content = message('Content-Disposition: attachment; filename="x.zip"', octets)
    began = time.process_time()
    found(content)
    assert time.process_time() - began < 1


class Watched(bytearray):
    """Octets that note the largest piece of them that any one call takes."""

    largest = 0

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, slice):
            start, stop, _ = key.indices(len(self))
            self.largest = max(self.largest, stop - start)
        return super().__getitem__(key)

    def find(self, sub: Any, start: Any = None, end: Any = None, /) -> int:
        first, last = start or 0, len(self) if end is None else min(end, len(self))
        found = super().find(sub, first, last)
        self.largest = max(self.largest, (last if found < 0 else found) - first)
        return found


def noise(size: int) -> bytes:
    return random.Random(1).randbytes(size)


@pytest.mark.parametrize(
    "octets",
    [
        zipped("a.dat", inside=noise(5 * MIB), how=zipfile.ZIP_STORED),
        zipped("inner.zip", inside=zipped("evil.dat", inside=noise(5 * MIB))),
        gzip.compress(tarred("a.txt") + noise(5 * MIB), 1),
        bz2.compress(tarred("a.txt") + noise(3 * MIB), 1),
    ],
    ids=["zip", "zip in zip", "tgz", "tbz"],
)
def test_no_single_call_takes_so_much_that_a_session_would_wait_for_it(octets: bytes) -> None:
    watched = Watched(octets)
    assert archives.names(watched).names
    assert 0 < watched.largest < MIB + 100


@pytest.mark.parametrize("encoding", ["base64", "quoted-printable", "8bit"])
def test_decoding_takes_no_more_than_a_step_at_a_time(encoding: str) -> None:
    plain = b"".join(b"%06d a line with = and =41 in it  \r\n" % n for n in range(80_000))
    encode = {"base64": base64.encodebytes, "quoted-printable": quopri.encodestring}
    watched = Watched(encode.get(encoding, bytes)(plain))
    assert attachments.decoded(watched, encoding) == plain
    assert 0 < watched.largest <= MIB


def test_quoted_printable_is_decoded_the_same_in_steps_as_at_once() -> None:
    line = b"=C3=BC and some=\r\n more  \r\n" * 100_000
    long_line = b"=41" * MIB
    for raw in (
        line,
        long_line,
        long_line[1:],
        long_line[2:],
        long_line[: MIB - 1] + b"\n" + line,
        b"x" * (MIB - 2) + b"=41",
    ):
        assert attachments.decoded(raw, "quoted-printable") == binascii.a2b_qp(raw)
