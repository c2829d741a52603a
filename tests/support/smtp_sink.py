"""A real SMTP server that keeps every byte: the office's mail server in the tests.

It runs in a thread of its own on loopback (a guest reaches it as 10.0.2.2:PORT)
and can be told, while it runs, to refuse, to put off, or to be down:

>>> with SmtpSink() as sink:
...     sink.go_down()                       # connections are refused
...     sink.come_up()                       # the same port again
...     sink.plan = Plan(recipient="450 4.2.0 come back later")
...     sink.plan = Plan()                   # all is well again
...     sink.wait_for_messages(1)
"""

from __future__ import annotations

import asyncio
import base64
import ssl
import threading
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any, Self, TypeVar

from tests.support.wait import wait_until

T = TypeVar("T")
_EXTENSIONS = ("8BITMIME", "SMTPUTF8", "PIPELINING", "ENHANCEDSTATUSCODES", "SIZE 104857600")


@dataclass(frozen=True, slots=True)
class Delivered:
    """A message that got a 250 after its data."""

    mail_from: str  # as between < and >; "" is the null reverse-path
    recipients: tuple[str, ...]
    data: bytes  # with CRLF line ends, dot stuffing undone
    mail_parameters: tuple[str, ...]
    hello: str
    tls: bool
    session: int  # counts connections from 1
    user: str = ""  # who signed in
    recipient_parameters: tuple[tuple[str, ...], ...] = ()  # of each recipient


@dataclass(frozen=True, slots=True)
class Plan:
    """What the sink answers. A string is the reply given instead of 250 (or 220)."""

    banner: str = ""
    mail: str = ""
    recipient: str = ""
    recipients: Mapping[str, str] = field(default_factory=dict)  # address -> reply
    data: str = ""  # instead of 354
    end_of_data: str = ""  # instead of the last 250; the message is not kept
    drop_at_end_of_data: bool = False  # keeps the message but the 250 never comes
    starttls: bool = True  # only with `tls=`
    most_sessions: int = 0  # at a time; more are sent away with 421
    users: Mapping[str, str] = field(default_factory=dict)  # who may sign in; none: no AUTH
    auth: str = "PLAIN LOGIN"  # the ways of signing in that are offered
    extensions: tuple[str, ...] = ()  # more to offer


class SmtpSink:
    """See the module's text. `port` 0 takes a free one and keeps it through `go_down`."""

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        tls: ssl.SSLContext | None = None,
        implicit_tls: bool = False,
    ) -> None:
        self.host, self.port, self.tls, self.implicit_tls = host, port, tls, implicit_tls
        self.plan = Plan()
        self.messages: list[Delivered] = []
        self.sessions = 0
        self.recipients_refused = 0
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=self._loop.run_forever, name="smtp-sink", daemon=True
        )

    def __enter__(self) -> Self:
        self._thread.start()
        self.come_up()
        return self

    def __exit__(self, *_: object) -> None:
        self.go_down()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=10)

    @property
    def address(self) -> str:
        return f"{self.host}:{self.port}"

    def come_up(self) -> None:
        self._in_loop(self._listen())

    def go_down(self) -> None:
        """Close the port and every open session at once."""
        self._in_loop(self._close())

    def wait_for_messages(self, count: int, *, timeout_seconds: float = 120.0) -> list[Delivered]:
        """Wait until at least `count` messages were taken, and return all."""
        wait_until(
            lambda: len(self.messages) >= count,
            what=f"{count} message(s) at the sink",
            timeout_seconds=timeout_seconds,
        )
        return list(self.messages)

    def _in_loop(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout=30)

    async def _listen(self) -> None:
        if self._server is None:
            self._server = await asyncio.start_server(
                self._serve,
                self.host,
                self.port,
                limit=1 << 20,
                reuse_address=True,
                ssl=self.tls if self.implicit_tls else None,
            )
            self.port = self._server.sockets[0].getsockname()[1]

    async def _close(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        for writer in list(self._writers):
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.sessions += 1
        self._writers.add(writer)
        try:
            await _Session(self, reader, writer, number=self.sessions).run()
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # the client went away, or we did: both are part of the tests
        finally:
            self._writers.discard(writer)
            writer.close()


class _Session:
    """One connection: a plain reading of RFC 5321 §3.3."""

    def __init__(
        self,
        sink: SmtpSink,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        *,
        number: int,
    ) -> None:
        self.sink, self.reader, self.writer, self.number = sink, reader, writer, number
        self.hello, self.encrypted, self.signed_in = "", sink.implicit_tls, ""
        self.reset()

    def reset(self) -> None:
        self.mail_from: str | None = None
        self.parameters: tuple[str, ...] = ()
        self.recipients: list[str] = []
        self.recipient_parameters: list[tuple[str, ...]] = []

    async def reply(self, text: str) -> None:
        self.writer.write(text.encode() + b"\r\n")
        await self.writer.drain()

    async def run(self) -> None:
        banner, most = self.sink.plan.banner, self.sink.plan.most_sessions
        if most and len(self.sink._writers) > most:
            banner = "421 4.7.0 too many connections"
        await self.reply(banner or "220 sink.example.com ESMTP")
        if banner and not banner.startswith("2"):
            return
        while line := await self.reader.readline():
            text = line.decode("utf-8", "surrogateescape").rstrip("\r\n")
            verb = text.split(" ", 1)[0].upper()
            if verb == "QUIT":
                await self.reply("221 2.0.0 bye")
                return
            handler = getattr(self, f"on_{verb.lower()}", None)
            if handler is None:
                await self.reply("502 5.5.1 not known here")
            else:
                await handler(text)

    async def on_ehlo(self, text: str) -> None:
        self.hello = text[5:]
        names = ["sink.example.com", *_EXTENSIONS]
        if self.sink.tls and self.sink.plan.starttls and not self.encrypted:
            names.append("STARTTLS")
        if self.sink.plan.users:
            names.append(f"AUTH {self.sink.plan.auth}")
        names += self.sink.plan.extensions
        await self.reply("\r\n".join([f"250-{n}" for n in names[:-1]] + [f"250 {names[-1]}"]))

    async def on_helo(self, text: str) -> None:
        self.hello = text[5:]
        await self.reply("250 sink.example.com")

    async def on_starttls(self, text: str) -> None:
        if self.sink.tls is None:
            await self.reply("502 5.5.1 no TLS here")
            return
        await self.reply("220 2.0.0 go on")
        await self.writer.start_tls(self.sink.tls)
        self.encrypted = True
        self.reset()

    async def on_auth(self, text: str) -> None:
        words = text.split()
        if words[1].upper() == "PLAIN":
            _, user, password = base64.b64decode(words[2]).decode().split("\0")
        else:
            said = []
            for question in (b"Username:", b"Password:"):
                await self.reply(f"334 {base64.b64encode(question).decode()}")
                said.append(base64.b64decode(await self.reader.readline()).decode())
            user, password = said
        good = self.sink.plan.users.get(user) == password
        self.signed_in = user if good else ""
        await self.reply("235 2.7.0 welcome" if good else "535 5.7.8 who are you")

    async def on_noop(self, text: str) -> None:
        await self.reply("250 2.0.0 ok")

    async def on_rset(self, text: str) -> None:
        self.reset()
        await self.reply("250 2.0.0 ok")

    async def on_mail(self, text: str) -> None:
        if self.sink.plan.mail:
            await self.reply(self.sink.plan.mail)
            return
        self.reset()
        self.mail_from, self.parameters = _path(text)
        await self.reply("250 2.1.0 ok")

    async def on_rcpt(self, text: str) -> None:
        address, parameters = _path(text)
        plan = self.sink.plan
        refusal = plan.recipients.get(address, plan.recipient)
        if refusal:
            self.sink.recipients_refused += 1
            await self.reply(refusal)
            return
        self.recipients.append(address)
        self.recipient_parameters.append(parameters)
        await self.reply("250 2.1.5 ok")

    async def on_data(self, text: str) -> None:
        plan = self.sink.plan
        if self.mail_from is None or not self.recipients:
            await self.reply("503 5.5.1 MAIL and RCPT first")
            return
        if plan.data:
            await self.reply(plan.data)
            return
        await self.reply("354 go on")
        data = await self._read_data()
        if plan.end_of_data:
            await self.reply(plan.end_of_data)
            return
        self.sink.messages.append(
            Delivered(
                mail_from=self.mail_from,
                recipients=tuple(self.recipients),
                data=data,
                mail_parameters=self.parameters,
                hello=self.hello,
                tls=self.encrypted,
                session=self.number,
                user=self.signed_in,
                recipient_parameters=tuple(self.recipient_parameters),
            )
        )
        self.reset()
        if plan.drop_at_end_of_data:
            self.writer.transport.abort()
            return
        await self.reply("250 2.0.0 taken")

    async def _read_data(self) -> bytes:
        lines: list[bytes] = []
        while True:
            line = await self.reader.readuntil(b"\n")
            if line == b".\r\n":
                return b"".join(lines)
            lines.append(line[1:] if line.startswith(b".") else line)


def _path(command: str) -> tuple[str, tuple[str, ...]]:
    """`MAIL FROM:<a@b> SIZE=3` -> ("a@b", ("SIZE=3",))."""
    rest = command.split(":", 1)[1].strip()
    address, _, parameters = rest.partition(">")
    return address.lstrip("<"), tuple(parameters.split())
