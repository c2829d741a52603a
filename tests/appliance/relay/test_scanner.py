"""The scanner's client against scanners that misbehave."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace

import pytest

from appliance.base.clock import FakeClock
from appliance.base.finding import Result
from appliance.policy.scan import ScanRequest, ScanResult
from appliance.relay.scanner import FAILURES_TO_OPEN, OPEN_SECONDS, HttpScanner

REQUEST = ScanRequest(
    blocks=lambda: (b"Subject: x\r\n\r\n", b"hello\r\n"),
    size=21,
    client="192.0.2.1",
    helo="a.example",
    mail_from="a@b.example",
    recipients=("c@d.example",),
)
Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def saying(answer: bytes) -> Handler:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"hello\r\n")
        writer.write(answer)
        writer.close()

    return handle


def http(body: bytes, head: bytes = b"HTTP/1.1 200 OK\r\n") -> bytes:
    return head + b"Content-Length: %d\r\n\r\n" % len(body) + body


async def scanned(
    handler: Handler, times: int = 1, *, within: float = 2.0, request: ScanRequest = REQUEST
) -> tuple[HttpScanner, ScanResult]:
    server = await asyncio.start_server(handler, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    scanner = HttpScanner(f"127.0.0.1:{port}", FakeClock(), within)
    for _ in range(times):
        result = await scanner.scan(request)
    server.close()
    return scanner, result


def test_the_answer_is_read() -> None:
    body = (
        b'{"score": 7.5, "is_skipped": false, "symbols": {"A": {"score": 2.5}, "B": {"score": 5},'
        b' "CLAM_VIRUS": {"score": 0, "options": ["Eicar"]}}}'
    )
    _, result = asyncio.run(scanned(saying(http(body))))
    assert (result.judged, result.score, result.viruses) == (True, 7.5, ("Eicar",))
    assert result.symbols == ("B(5.0)", "A(2.5)", "CLAM_VIRUS(0.0)")


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200 OK\r\n",
        b"220 mail.example ESMTP\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 40_000 + b"\r\n\r\n",
        http(b"{}"),
        http(b"[" * 100_000),
        http(b'{"score": NaN}'),
        http(b'{"score": 1, "symbols": [1]}'),
        http(b'{"score": 1, "symbols": {"A": 3}}'),
        http(b'{"score": 9}', b"HTTP/1.1 500 Oh\r\n"),
    ],
)
def test_an_answer_that_makes_no_sense_is_no_judgement_and_no_error(answer: bytes) -> None:
    scanner, result = asyncio.run(scanned(saying(answer)))
    assert not result.judged
    assert result.why
    assert scanner.finding().result is Result.WARN


def test_a_silent_scanner_costs_the_time_out_a_few_times_and_then_nothing() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    began = time.monotonic()
    scanner, result = asyncio.run(scanned(silent, 50, within=0.1))
    assert time.monotonic() - began < 2
    assert (result.judged, scanner.unjudged) == (False, 50)
    assert result.why.startswith("not asked: no answer within")


def test_after_a_while_it_is_asked_again() -> None:
    async def run() -> None:
        clock = FakeClock()
        scanner = HttpScanner("127.0.0.1:1", clock, 1)
        for _ in range(FAILURES_TO_OPEN):
            assert not (await scanner.scan(REQUEST)).judged
        server = await asyncio.start_server(saying(http(b'{"score": 1}')), "127.0.0.1", 0)
        scanner.address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        assert not (await scanner.scan(REQUEST)).judged
        clock.advance(OPEN_SECONDS)
        assert (await scanner.scan(REQUEST)).judged
        assert scanner.finding().result is Result.OK
        server.close()

    asyncio.run(run())


def test_a_connection_is_kept_when_the_scanner_wants_it_so_and_made_anew_when_it_died() -> None:
    connections = 0

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        for _ in range(3):
            await reader.readuntil(b"hello\r\n")
            writer.write(http(b'{"score": 1}', b"HTTP/1.1 200 OK\r\nConnection: keep-alive\r\n"))
        writer.close()

    scanner, result = asyncio.run(scanned(handle, 9))
    assert (scanner.judged, connections) == (9, 3)
    assert result.judged


def test_a_large_message_is_read_block_by_block_and_arrives_whole() -> None:
    size, block = 3_000_000, b"x" * 99_994 + b"hello\n"
    taken = bytearray()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        taken.extend(await reader.readexactly(size))
        writer.write(http(b'{"score": 2}'))
        writer.close()

    request = replace(REQUEST, blocks=lambda: (block for _ in range(30)), size=size)
    _, result = asyncio.run(scanned(handle, request=request))
    assert result.score == 2
    assert bytes(taken) == block * 30


def test_a_message_that_cannot_be_read_is_no_fault_of_the_scanner() -> None:
    def blocks() -> Iterator[bytes]:
        yield b"Subject: x\r\n"
        raise OSError(5, "Input/output error")

    request = replace(REQUEST, blocks=blocks)
    scanner, result = asyncio.run(scanned(saying(http(b'{"score": 1}')), 5, request=request))
    assert result.why == "the content could not be read: [Errno 5] Input/output error"
    assert (scanner.unjudged, scanner.finding().result) == (5, Result.OK)


def test_a_clamav_that_does_not_answer_rspamd_is_told_until_it_does() -> None:
    body = b'{"score": 1, "symbols": {"CLAM_VIRUS_FAIL": {"score": 0}}}'
    scanner, result = asyncio.run(scanned(saying(http(body))))
    assert (result.judged, result.virus_scan_failed) == (True, True)
    assert scanner.finding().say == "ClamAV does not answer."
