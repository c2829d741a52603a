"""The content scanner: rspamd over HTTP (`POST /checkv2`).

A scan never raises and never takes longer than its time-out: what goes wrong is a result that
is not `judged`. After several failures in a row the scanner is left alone for a while, so that
a dead one does not delay each message by the whole time-out.
"""

import asyncio
import contextlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from appliance.base.clock import Clock
from appliance.base.finding import Finding, Result
from appliance.policy.scan import ScanRequest, ScanResult
from appliance.settings import parse
from appliance.settings.content import SCANNER_PORT

FAILURES_TO_OPEN = 3
OPEN_SECONDS = 30.0
SCANS_AT_A_TIME = 8
KEPT_CONNECTIONS = 4
MAX_HEAD_BYTES = 16_384
MAX_ANSWER_BYTES = 1024 * 1024
MAX_SYMBOLS = 200
IN_MEMORY_BYTES = 65_536  # smaller messages are in memory and not worth a thread
VIRUS_SYMBOLS = ("CLAM_VIRUS", "CLAM_WHOLE")
FAILED_VIRUS_SYMBOLS = ("CLAM_VIRUS_FAIL", "CLAM_WHOLE_FAIL")
# RFC 9110 §5.5: what a field's value may hold; the rest of an address is percent-encoded by none
_BAD = dict.fromkeys([*range(32), 127], "?")


class ScannerTrouble(Exception):
    """The scanner did not answer as it should; the text says how."""


class Unreadable(Exception):
    """The message itself could not be read: the disk's fault, not the scanner's."""


@dataclass(slots=True)
class Connection:
    """One connection to the scanner."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    def close(self) -> None:
        self.writer.close()


@dataclass(slots=True)
class HttpScanner:
    """One per relay and endpoint; `address` is `host:port`."""

    address: str
    clock: Clock
    timeout_seconds: float
    judged: int = 0
    unjudged: int = 0
    last_trouble: str = ""
    is_blind_to_viruses: bool = False  # ClamAV did not answer rspamd when it was asked last
    _failures: int = 0
    _shut_until: float = 0.0
    _idle: list[Connection] = field(default_factory=list)
    _room: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(SCANS_AT_A_TIME))

    async def scan(self, request: ScanRequest) -> ScanResult:
        """The judgement, within the time-out."""
        if self.clock.monotonic() < self._shut_until:
            self.unjudged += 1
            return ScanResult(judged=False, why=f"not asked: {self.last_trouble}")
        try:
            async with asyncio.timeout(self.timeout_seconds), self._room:
                result = read_answer(await self._ask(request))
        except TimeoutError:
            return self._failed(f"no answer within {self.timeout_seconds:g} seconds")
        except Unreadable as error:
            self.unjudged += 1
            return ScanResult(judged=False, why=f"the content could not be read: {error}")
        except (OSError, asyncio.IncompleteReadError, ValueError, ScannerTrouble) as error:
            return self._failed(str(error) or type(error).__name__)
        self.judged += 1
        self.is_blind_to_viruses = result.virus_scan_failed
        self._failures, self._shut_until = 0, 0.0
        return result

    def observer(self) -> "HttpScanner":
        """One that asks the same, starts from the same state, and counts nothing here."""
        return replace(self, _idle=[])

    def finding(self) -> Finding:
        """The scanner's state in words."""
        if self._failures:
            return Finding(
                check="relay.scanner",
                result=Result.WARN,
                say="The spam filter does not answer.",
                means="Mail goes on unchecked; its header says so.",
                fix="It starts some time after the box does. If this stays, look at the services.",
            )
        if self.is_blind_to_viruses:
            return Finding(
                check="relay.scanner",
                result=Result.WARN,
                say="ClamAV does not answer.",
                means="Mail goes on without a search for viruses; its header says so.",
                fix="See whether clamd runs at the address in the settings and lets this box in.",
            )
        return Finding(check="relay.scanner", result=Result.OK, say="The spam filter answers.")

    def describe(self) -> dict[str, Any]:
        """For the control verb `status`."""
        return {
            "address": self.address,
            "judged": self.judged,
            "unjudged": self.unjudged,
            "last_trouble": self.last_trouble,
            "finding": self.finding().to_json(),
        }

    def close(self) -> None:
        """Let go of kept connections."""
        while self._idle:
            self._idle.pop().close()

    def _failed(self, why: str) -> ScanResult:
        self.unjudged += 1
        self._failures += 1
        self.last_trouble = why
        if self._failures >= FAILURES_TO_OPEN:
            self._shut_until = self.clock.monotonic() + OPEN_SECONDS
        return ScanResult(judged=False, why=why)

    async def _ask(self, request: ScanRequest) -> bytes:
        """One request over a kept connection; over a new one when that was closed meanwhile."""
        while self._idle:
            connection = self._idle.pop()
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                return await self._exchange(connection, request)
        host, port = parse.host_and_port(self.address, SCANNER_PORT)
        reader, writer = await asyncio.open_connection(host, port, limit=MAX_HEAD_BYTES)
        return await self._exchange(Connection(reader, writer), request)

    async def _exchange(self, connection: Connection, request: ScanRequest) -> bytes:
        keep = False
        try:
            connection.writer.write(request_head(request, self.address))
            await send_content(request, connection.writer)
            status, fields = await read_head(connection.reader)
            length = int(fields.get("content-length", "-1"))
            if not 0 <= length <= MAX_ANSWER_BYTES:
                raise ScannerTrouble("the answer has no length, or is too long")
            body = await connection.reader.readexactly(length)
            if status != 200:
                raise ScannerTrouble(f"it answered with status {status}")
            keep = fields.get("connection", "").lower() == "keep-alive"
            return body
        finally:
            if keep and len(self._idle) < KEPT_CONNECTIONS:
                self._idle.append(connection)
            else:
                connection.close()


def request_head(request: ScanRequest, host: str) -> bytes:
    """The header of the request."""
    fields = [
        ("Host", host),
        ("Connection", "keep-alive"),
        ("Content-Length", str(request.size)),
        ("IP", request.client),
        ("Helo", request.helo),
        ("From", request.mail_from),
        *(("Rcpt", recipient) for recipient in request.recipients[:100]),
        ("Queue-Id", request.queue_id),
        ("MTA-Name", "pennypost"),
        ("User", request.user),
    ]
    lines = [f"{name}: {value.translate(_BAD)}\r\n" for name, value in fields if value]
    return ("POST /checkv2 HTTP/1.1\r\n" + "".join(lines) + "\r\n").encode("utf-8", "replace")


async def send_content(request: ScanRequest, writer: asyncio.StreamWriter) -> None:
    """The message block by block; a large one is read in a thread. Raises Unreadable, OSError."""
    blocks, is_large = iter(request.blocks()), request.size > IN_MEMORY_BYTES
    while True:
        try:
            block = await asyncio.to_thread(next, blocks, None) if is_large else next(blocks, None)
        except OSError as error:
            raise Unreadable(str(error)) from error
        if block is None:
            return
        writer.write(block)
        await writer.drain()


async def read_head(reader: asyncio.StreamReader) -> tuple[int, dict[str, str]]:
    """Status and fields of an answer. Raises ScannerTrouble, IncompleteReadError."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.LimitOverrunError:
        raise ScannerTrouble("the answer's header is too long") from None
    first, *lines = head.decode("latin-1").split("\r\n")
    words = first.split(" ", 2)
    if len(words) < 2 or not words[0].startswith("HTTP/1.") or not words[1].isdecimal():
        raise ScannerTrouble("what answers is not a scanner")
    pairs = (line.partition(":") for line in lines if line)
    return int(words[1]), {name.strip().lower(): value.strip() for name, _, value in pairs}


def read_answer(body: bytes) -> ScanResult:
    """rspamd's JSON. Raises ScannerTrouble for anything else."""
    try:
        answer = json.loads(body)
        score = float(answer["score"])
        symbols: Mapping[str, Any] = answer.get("symbols") or {}
        if not isinstance(symbols, Mapping) or score != score:
            raise TypeError
        weights = {str(name): float(entry.get("score", 0)) for name, entry in symbols.items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise ScannerTrouble("its answer cannot be read") from None
    heavy_first = sorted(weights, key=lambda name: -abs(weights[name]))
    return ScanResult(
        judged=True,
        score=score,
        symbols=tuple(f"{name}({weights[name]:.1f})" for name in heavy_first[:MAX_SYMBOLS]),
        viruses=_options(symbols, VIRUS_SYMBOLS),
        stopped_early=bool(answer.get("is_skipped")),
        virus_scan_failed=any(name in symbols for name in FAILED_VIRUS_SYMBOLS),
    )


def _options(symbols: Mapping[str, Any], names: tuple[str, ...]) -> tuple[str, ...]:
    """What the virus scanner calls what it found."""
    found: list[str] = []
    for name in names:
        if name in symbols:
            options = symbols[name].get("options")
            found += [str(o)[:100] for o in options] if isinstance(options, list) else [name]
    return tuple(dict.fromkeys(found))[:10]
