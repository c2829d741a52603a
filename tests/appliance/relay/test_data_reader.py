"""DATA in blocks: framing and octets, however TCP cuts them."""

from __future__ import annotations

import asyncio
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from appliance.relay import data_reader
from appliance.relay.block_reader import BlockReader
from appliance.relay.data_reader import Content
from appliance.relay.wire import Stuffer
from appliance.spool.bodies import BodyFile, RealDisk

lines = st.lists(
    st.binary(max_size=12).map(
        lambda b: b.replace(b"\r", b"").replace(b"\n", b"").replace(b"\0", b"")
    )
    | st.sampled_from([b"", b".", b"..", b".x", b"x" * 500]),
    max_size=30,
)


def receive(
    wire: bytes,
    cuts: list[int],
    *,
    limit: int = 64,
    threshold: int = 10**9,
    folder: Path | None = None,
) -> tuple[Content, bytes]:
    """Feed `wire` in pieces; the content, and what was left for the next command."""

    async def go() -> tuple[Content, bytes]:
        reader = BlockReader(limit, asyncio.get_running_loop())
        content = Content(
            threshold=threshold,
            limit=10**6,
            begin_file=lambda: BodyFile.begin(folder or Path("/nonexistent"), "3BCDFG", RealDisk()),
        )
        reading = asyncio.ensure_future(data_reader.read(reader, content, lambda: None))
        start = 0
        for cut in [*sorted(cut % (len(wire) + 1) for cut in cuts), len(wire)]:
            reader.feed_data(wire[start:cut])
            start = cut
            await asyncio.sleep(0)
        async with asyncio.timeout(5):
            await reading
        reader.feed_eof()
        return content, await reader.read()

    return asyncio.run(go())


def stuffed(message: bytes) -> bytes:
    stuffer = Stuffer()
    return stuffer.feed(message) + stuffer.finish()


@given(lines, st.lists(st.integers(0, 20_000), max_size=8), st.sampled_from([1, 8, 64, 1024]))
def test_the_octets_come_through_whatever_the_packets(
    text: list[bytes], cuts: list[int], limit: int
) -> None:
    message = b"".join(line + b"\r\n" for line in text)
    content, rest = receive(stuffed(message) + b"QUIT\r\n", cuts, limit=limit)
    assert content.body() == message
    assert content.size == len(message)
    assert not content.unstuffer.bare_newline
    assert rest == b"QUIT\r\n"


@given(lines, st.lists(st.integers(0, 20_000), max_size=8))
def test_a_large_message_goes_to_a_file_with_the_same_octets(
    text: list[bytes], cuts: list[int]
) -> None:
    import tempfile

    message = b"A: b\r\n\r\n" + b"".join(line + b"\r\n" for line in text)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        content, _ = receive(stuffed(message), cuts, threshold=7, folder=folder)
        body = content.hand_over()
        assert content.body() is not None  # nothing is left in memory
        assert body is not None
        body.seal()
        assert (folder / "3BCDFG.body").read_bytes() == message
        assert content.head == b"A: b\r\n"


@given(st.binary(max_size=60), st.lists(st.integers(0, 200), max_size=5), st.sampled_from([1, 16]))
def test_a_newline_alone_is_always_seen(text: bytes, cuts: list[int], limit: int) -> None:
    if b"\r\n.\r\n" in b"\r\n" + text + b"\r\n.\r\n"[:-1]:
        return
    content, _ = receive(text + b"\r\n.\r\n", cuts, limit=limit)
    pairs = (text + b"\r\n").count(b"\r\n")
    alone = (text + b"\r\n").count(b"\n") != pairs or (text + b"\r\n").count(b"\r") != pairs
    assert content.unstuffer.bare_newline == alone
    assert content.unstuffer.has_nul == (b"\0" in text)


def test_a_header_without_an_end_is_given_up() -> None:
    content, _ = receive(b"X: y\r\n" * 60_000 + b"\r\n.\r\n", [], limit=65_536)
    assert content.head_too_big
    assert content.body() == b""
