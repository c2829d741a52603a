"""Lines, then blocks, then lines again, on one connection."""

from __future__ import annotations

import asyncio
import inspect

import pytest

from appliance.relay.block_reader import BlockReader


class Transport:
    """Counts what flow control asks for."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def pause_reading(self) -> None:
        self.asked.append("pause")

    def resume_reading(self) -> None:
        self.asked.append("resume")


def test_what_came_with_a_line_is_the_first_block_and_the_rest_is_a_line_again() -> None:
    async def go() -> None:
        reader = BlockReader(64, asyncio.get_running_loop())
        reader.feed_data(b"DATA\r\nfirst")
        assert await reader.line() == b"DATA\r\n"
        reader.begin_blocks()
        reader.feed_data(b"second")
        assert [await reader.block(), await reader.block()] == [b"first", b"second"]
        reader.feed_data(b"\r\n")
        reader.end_blocks(b"QUIT")
        assert await reader.line() == b"QUIT\r\n"

    asyncio.run(go())


def test_a_fast_sender_is_held_back_until_its_blocks_are_read() -> None:
    async def go() -> None:
        reader, transport = BlockReader(10, asyncio.get_running_loop()), Transport()
        reader.set_transport(transport)  # type: ignore[arg-type]
        reader.begin_blocks()
        for _ in range(3):
            reader.feed_data(b"x" * 10)
        assert transport.asked == ["pause"]
        await reader.block()
        await reader.block()
        assert transport.asked == ["pause", "resume"]

    asyncio.run(go())


def test_a_client_that_hangs_up_ends_the_reading() -> None:
    async def go() -> None:
        reader = BlockReader(10, asyncio.get_running_loop())
        reader.begin_blocks()
        reader.feed_data(b"half")
        reader.feed_eof()
        assert await reader.block() == b"half"
        with pytest.raises(asyncio.IncompleteReadError):
            await reader.block()

    asyncio.run(go())


def test_a_line_that_comes_in_pieces_is_one_line() -> None:
    async def go() -> None:
        reader = BlockReader(64, asyncio.get_running_loop())
        asked = asyncio.create_task(reader.line())
        for piece in (b"NO", b"OP\r", b"\nQU"):
            await asyncio.sleep(0)
            reader.feed_data(piece)
        assert await asked == b"NOOP\r\n"
        reader.feed_eof()
        with pytest.raises(asyncio.IncompleteReadError):
            await reader.line()

    asyncio.run(go())


@pytest.mark.parametrize("octets", [b"x" * 11 + b"\n", b"x" * 12])
def test_a_line_longer_than_the_limit_is_no_line(octets: bytes) -> None:
    async def go() -> None:
        reader = BlockReader(10, asyncio.get_running_loop())
        reader.feed_data(octets)
        with pytest.raises(asyncio.LimitOverrunError) as raised:
            await reader.line()
        assert 0 < raised.value.consumed <= len(octets)

    asyncio.run(go())


def test_a_fast_sender_of_lines_is_held_back_too() -> None:
    async def go() -> None:
        reader, transport = BlockReader(10, asyncio.get_running_loop()), Transport()
        reader.set_transport(transport)  # type: ignore[arg-type]
        reader.feed_data(b"NOOP\r\n" * 4)
        assert transport.asked == ["pause"]
        for _ in range(4):
            assert await reader.line() == b"NOOP\r\n"
        assert transport.asked == ["pause", "resume"]

    asyncio.run(go())


def test_the_library_has_what_is_used_of_it() -> None:
    source = inspect.getsource(asyncio.StreamReader)
    for name in (
        "_buffer", "_eof", "_exception", "_limit", "_loop", "_maybe_resume_transport", "_paused",
        "_transport", "_waiter",
    ):  # fmt: skip
        assert f"self.{name}" in source or f"def {name}" in source, name
