"""Messages made to choke whoever parses them are refused quickly, others pass."""

import time

import pytest

from appliance.policy import mime_shape
from appliance.policy.mime_shape import measure


def nested(depth: int, *, closed: bool = False) -> bytes:
    opened = "".join(
        f'Content-Type: multipart/mixed; boundary="b{n}"\r\n\r\n--b{n}\r\n' for n in range(depth)
    )
    end = "".join(f"\r\n--b{n}--\r\n" for n in reversed(range(depth))) if closed else ""
    return f"From: a@b.example\r\n{opened}Content-Type: text/plain\r\n\r\nhello{end}".encode()


def wrapped(depth: int) -> bytes:
    return b"Content-Type: message/rfc822\r\n\r\n" * depth + b"Subject: end\r\n\r\nhello\r\n"


@pytest.mark.parametrize(
    ("content", "trouble"),
    [
        (nested(1_000), mime_shape.DEPTH),
        (nested(20_000), mime_shape.DEPTH),
        (wrapped(20_000), mime_shape.DEPTH),
        (b"To: " + b"a@b.c,\r\n " * 20_000 + b"a@b.c\r\n\r\nhello\r\n", mime_shape.ADDRESSES),
        (b"To: a@b.c\r\n" * 500_000 + b"\r\nhello\r\n", mime_shape.ADDRESSES),
        (
            b'Content-Type: multipart/mixed; boundary="b"\r\n\r\n' + b"--b\r\n\r\nx\r\n" * 200_000,
            mime_shape.PARTS,
        ),
        (
            b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n" + b"X: y\r\n" * 500_000,
            mime_shape.HEADER,
        ),
        (
            b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + b"--\r\n" * 1_000_000,
            mime_shape.LINES,
        ),
    ],
    ids=["nested", "deeper", "wrapped", "addresses", "To fields", "parts", "header", "delimiters"],
)
def test_a_bomb_is_refused_within_a_second(content: bytes, trouble: str) -> None:
    began = time.process_time()
    assert measure(content).trouble == trouble
    assert time.process_time() - began < 1


def test_a_large_harmless_message_is_measured_within_a_second() -> None:
    body = (b"A" * 76 + b"\r\n") * 400_000
    head = b'Content-Type: multipart/mixed; boundary="b"\r\n\r\n--b\r\nContent-Type: text/plain\r\n'
    began = time.process_time()
    shape = measure(head + b"\r\n" + body + b"--b--\r\n")
    assert time.process_time() - began < 1
    assert (shape.trouble, shape.depth, len(shape.parts)) == ("", 1, 2)


def test_a_hundred_levels_and_five_hundred_addresses_pass() -> None:
    assert measure(nested(100, closed=True)).depth == 100
    assert measure(nested(100, closed=True)).trouble == ""
    to = b"To: " + b",\r\n ".join(b"a%d@b.example" % n for n in range(500)) + b"\r\n"
    assert measure(to + b"\r\nhello\r\n").trouble == ""


def test_parts_are_found_with_their_octets() -> None:
    content = (
        b"Content-Type: multipart/mixed; boundary=out\r\n\r\npreamble\r\n--out\r\n"
        b"Content-Type: multipart/alternative; boundary=in\r\n\r\n"
        b"--in\r\n\r\nno header\r\n--in--\r\n--out  \r\n"
        b"Content-Disposition: attachment; filename=a.pdf\r\nContent-Transfer-Encoding: BASE64\r\n"
        b"\r\nQUJD\r\n--out--\r\nepilogue\r\n"
    )
    parts = measure(content).parts
    leaves = [
        (part.names, content[part.start : part.end]) for part in parts if part.end > part.start
    ]
    assert leaves == [((), b"no header\r\n"), (("a.pdf",), b"QUJD\r\n")]
