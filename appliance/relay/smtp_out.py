"""Delivery by SMTP (RFC 5321, 2920 pipelining, 3207 TLS, 4954 sign-in, 3461 DSN, 6531 UTF-8).

A `Connection` is opened to one target of a route and carries one message after another. An
attempt ends in one `Result` a recipient, or in `DeliveryTrouble` for all of them.
"""

import asyncio
import base64
import contextlib
import errno
import functools
import ssl
from collections.abc import AsyncIterator, Awaitable, Sequence
from dataclasses import dataclass

from appliance.mail.address import Address
from appliance.mail.envelope import Envelope, Recipient
from appliance.relay import reasons, wire
from appliance.relay.reasons import DeliveryTrouble, Say
from appliance.relay.router import Route, Tls
from appliance.relay.targets import Target
from appliance.relay.wire import ServerReply


@dataclass(frozen=True, slots=True)
class Patience:
    """Time limits, in seconds, and the name we give."""

    own_name: str
    connect_seconds: float
    reply_seconds: float


@dataclass(frozen=True, slots=True)
class Result:
    """What the attempt did for one recipient."""

    say: str
    reply: str = ""
    status: str = ""
    delivered: bool = False
    permanent: bool = False
    relayed_without_dsn: bool = False  # the next hop will not report success


@dataclass(frozen=True, slots=True)
class Parcel:
    """A message for some recipients at one next hop."""

    envelope: Envelope
    recipients: Sequence[Recipient]
    size: int
    has_utf8_header: bool = False


class Connection:
    """One connection to a mail server, greeted and, where it is due, encrypted and signed in."""

    def __init__(self, target: Target, patience: Patience) -> None:
        self.target = target
        self.extensions: dict[str, str] = {}
        self.tls_version = ""
        self.sent = 0
        self.is_usable = True
        self._patience = patience
        self._reader: asyncio.StreamReader
        self._writer: asyncio.StreamWriter

    @classmethod
    async def open(cls, target: Target, route: Route, patience: Patience) -> "Connection":
        """Dial, greet, encrypt, sign in. Raises DeliveryTrouble.

        When opportunistic TLS fails, a second connection is made without it: a letter in the
        clear is what the sender had before anybody offered TLS.
        """
        connection = cls(target, patience)
        try:
            await connection._begin(route, tls=route.tls)
        except DeliveryTrouble as trouble:
            await connection.close()
            if trouble.say is not Say.TLS_FAILED or route.tls is not Tls.OPPORTUNISTIC:
                raise
            connection = cls(target, patience)
            try:
                await connection._begin(route, tls=Tls.NONE)
            except DeliveryTrouble:
                await connection.close()
                raise
        return connection

    async def deliver(
        self,
        parcel: Parcel,
        content: AsyncIterator[bytes],
        *,
        before_dot: Awaitable[object] | None = None,
    ) -> list[Result]:
        """Send one message; results in the order of the recipients. Raises DeliveryTrouble.

        `before_dot` is awaited before the message can be taken: the record of the delivery
        before this one, so that a kill doubles one message at most.
        """
        try:
            return await self._deliver(parcel, content, before_dot)
        except DeliveryTrouble as trouble:
            self.is_usable = self.is_usable and not trouble.broken
            raise
        except (OSError, TimeoutError, ssl.SSLError) as error:
            self.is_usable = False
            raise _as_trouble(error) from error

    async def knows(self, address: str) -> ServerReply:
        """What the server says of a recipient when nothing is sent. Raises DeliveryTrouble.

        With the null reverse-path, so that no question can lead to another (RFC 5321 §4.5.5).
        """
        mail = await self._say("MAIL FROM:<>")
        if not mail.is_good:
            raise _refused(mail)
        reply = await self._say(f"RCPT TO:<{address}>")
        with contextlib.suppress(DeliveryTrouble):
            await self.reset()
        return reply

    async def reset(self) -> None:
        """Clear a transaction that did not end. Raises DeliveryTrouble."""
        reply = await self._say("RSET")
        if not reply.is_good:
            self.is_usable = False

    async def quit(self) -> None:
        """End politely, if that can be done quickly."""
        if self.is_usable:
            with contextlib.suppress(DeliveryTrouble, OSError, TimeoutError, ssl.SSLError):
                async with asyncio.timeout(2):
                    await self._say("QUIT")
        await self.close()

    async def close(self) -> None:
        """Hang up."""
        self.is_usable = False
        if hasattr(self, "_writer"):
            self._writer.transport.abort()

    # Beginning

    async def _begin(self, route: Route, *, tls: Tls) -> None:
        context = _context(tls) if tls is Tls.IMPLICIT else None
        try:
            async with asyncio.timeout(self._patience.connect_seconds):
                self._reader, self._writer = await asyncio.open_connection(
                    self.target.address,
                    self.target.port,
                    limit=wire.MAX_REPLY_LINE_BYTES,
                    ssl=context,
                    server_hostname=self.target.name if context else None,
                )
        except (OSError, TimeoutError) as error:
            raise _as_trouble(error) from error
        await self._expect_greeting()
        await self._hello()
        if tls in (Tls.OPPORTUNISTIC, Tls.REQUIRED):
            await self._start_tls(tls)
        if route.user:
            await self._sign_in(route)

    async def _expect_greeting(self) -> None:
        greeting = await self._read()
        if greeting.code != 220:
            # RFC 5321 §3.1: a 554 here means that this host takes no mail; another may.
            say = reasons.for_reply(greeting.code, greeting.text)
            raise DeliveryTrouble(say, status="4.3.0", reply=str(greeting))

    async def _hello(self) -> None:
        reply = await self._say(f"EHLO {self._patience.own_name}")
        if reply.is_good:
            self.extensions = _extensions(reply)
            return
        self.extensions = {}
        if reply.code != 421:
            reply = await self._say(f"HELO {self._patience.own_name}")
        if not reply.is_good:
            raise _refused(reply)

    async def _start_tls(self, tls: Tls) -> None:
        if "STARTTLS" not in self.extensions:
            if tls is Tls.REQUIRED:
                raise DeliveryTrouble(Say.TLS_MISSING, status="4.7.4")
            return
        reply = await self._say("STARTTLS")
        if reply.code != 220:
            if tls is Tls.REQUIRED:
                raise DeliveryTrouble(Say.TLS_MISSING, status="4.7.4", reply=str(reply))
            return
        # What came with the 220 in the clear could be anybody's: it must not be taken for
        # something said inside TLS (RFC 3207 §5).
        self._reader._buffer.clear()  # type: ignore[attr-defined]
        try:
            async with asyncio.timeout(self._patience.connect_seconds):
                await self._writer.start_tls(_context(tls), server_hostname=self.target.name)
        except (OSError, TimeoutError) as error:
            shown = wire.clean(str(error))
            raise DeliveryTrouble(Say.TLS_FAILED, status="4.7.5", reply=shown) from error
        found = self._writer.get_extra_info("ssl_object")
        self.tls_version = found.version() if found is not None else ""
        await self._hello()

    async def _sign_in(self, route: Route) -> None:
        """AUTH PLAIN, else LOGIN (RFC 4954); never in the clear."""
        if not self._writer.get_extra_info("ssl_object"):
            raise DeliveryTrouble(Say.TLS_MISSING, status="4.7.11")
        offered = self.extensions.get("AUTH", "").upper().split()
        if "PLAIN" in offered:
            secret = _base64(f"\0{route.user}\0{route.password}")
            reply = await self._say(f"AUTH PLAIN {secret}")
        elif "LOGIN" in offered:
            reply = await self._say("AUTH LOGIN")
            for word in (route.user, route.password):
                if reply.code == 334:
                    reply = await self._say(_base64(word))
        else:
            raise DeliveryTrouble(Say.SIGN_IN_MISSING, status="4.7.0")
        if reply.code != 235:
            raise DeliveryTrouble(Say.SIGN_IN_REFUSED, status="4.7.8", reply=str(reply))

    # One message

    async def _deliver(
        self,
        parcel: Parcel,
        content: AsyncIterator[bytes],
        before_dot: Awaitable[object] | None,
    ) -> list[Result]:
        self._check(parcel)
        commands = [self._mail_command(parcel)]
        commands += [self._rcpt_command(recipient) for recipient in parcel.recipients]
        replies = await self._ask([*commands, "DATA"])
        self.sent += 1
        mail, rcpts, data = replies[0], replies[1:-1], replies[-1]
        if not mail.is_good or not any(reply.is_good for reply in rcpts):
            await self._take_back(data)
            return [_result(mail if not mail.is_good else reply) for reply in rcpts]
        if data.code != 354:
            return [_result(data if reply.is_good else reply) for reply in rcpts]
        end = await self._send(content)
        if before_dot is not None:
            await before_dot
        self._writer.write(end)
        try:
            final = await self._read()
        except DeliveryTrouble as trouble:
            if trouble.say in (Say.LOST, Say.TIMED_OUT):
                raise DeliveryTrouble(Say.LOST_AFTER_DATA, status="4.4.2") from trouble
            raise
        silent = "DSN" not in self.extensions
        return [_result(final if reply.is_good else reply, silent=silent) for reply in rcpts]

    async def _send(self, content: AsyncIterator[bytes]) -> bytes:
        """The content but for its end. A server that hangs up meanwhile may have said why."""
        seconds = self._patience.reply_seconds
        try:
            return await wire.send_content(self._writer, content, timeout_seconds=seconds)
        except ConnectionError as error:
            try:
                async with asyncio.timeout(1):
                    said = await wire.read_reply(self._reader)
            except (DeliveryTrouble, OSError, TimeoutError):
                raise error from None
            raise _refused(said) from error

    async def _ask(self, commands: list[str]) -> list[ServerReply]:
        """Send commands and read their replies, in one go where the server allows it.

        Without PIPELINING, what follows a refused command is not sent; its reply is the refusal.
        """
        if "PIPELINING" in self.extensions:
            self._writer.write("".join(f"{command}\r\n" for command in commands).encode())
            return [await self._read() for _ in commands]
        replies = [await self._say(commands[0])]
        for command in commands[1:-1]:
            replies.append(await self._say(command) if replies[0].is_good else replies[0])
        go_on = replies[0].is_good and any(reply.is_good for reply in replies[1:])
        replies.append(await self._say(commands[-1]) if go_on else ServerReply(503, "not sent"))
        return replies

    async def _take_back(self, data: ServerReply) -> None:
        """Leave a transaction in which nobody was accepted. What was said of the recipients
        stands, whatever happens now."""
        try:
            if data.code == 354:  # RFC 2920 §3.1: the server waits for content; give it none
                self._writer.write(b".\r\n")
                self.is_usable = not (await self._read()).is_good
            elif self.is_usable:
                await self.reset()
        except DeliveryTrouble:
            self.is_usable = False

    def _check(self, parcel: Parcel) -> None:
        """What this server cannot take at all."""
        limit = self.extensions.get("SIZE", "")
        if limit.isascii() and limit.isdigit() and 0 < int(limit[:19]) < parcel.size:
            reply = f"SIZE {limit}"
            raise DeliveryTrouble(
                Say.TOO_BIG, permanent=True, status="5.3.4", reply=reply, broken=False
            )
        if self._needs_utf8(parcel) and "SMTPUTF8" not in self.extensions:
            raise DeliveryTrouble(Say.NEEDS_SMTPUTF8, permanent=True, status="5.6.7", broken=False)

    def _needs_utf8(self, parcel: Parcel) -> bool:
        """RFC 6531 §3.6: international local parts, or a header in UTF-8."""
        senders = [parcel.envelope.mail_from] if parcel.envelope.mail_from else []
        addresses = [*senders, *(recipient.address for recipient in parcel.recipients)]
        if any(not address.local.isascii() for address in addresses):
            return True
        return parcel.envelope.smtputf8 and parcel.has_utf8_header

    def _written(self, address: Address) -> str:
        return str(address) if "SMTPUTF8" in self.extensions else address.for_ascii_peer()

    def _mail_command(self, parcel: Parcel) -> str:
        envelope, extensions = parcel.envelope, self.extensions
        sender = "" if envelope.mail_from is None else self._written(envelope.mail_from)
        parts = [f"MAIL FROM:<{sender}>"]
        if "SIZE" in extensions:
            parts.append(f"SIZE={parcel.size}")
        if "8BITMIME" in extensions and envelope.eight_bit:
            parts.append("BODY=8BITMIME")
        utf8 = envelope.smtputf8 or not _ascii_only(parcel)
        if "SMTPUTF8" in extensions and utf8:
            parts.append("SMTPUTF8")
        if "DSN" in extensions:
            parts += [f"RET={envelope.ret}"] if envelope.ret else []
            parts += [f"ENVID={envelope.envid}"] if envelope.envid else []
        return " ".join(parts)

    def _rcpt_command(self, recipient: Recipient) -> str:
        parts = [f"RCPT TO:<{self._written(recipient.address)}>"]
        if "DSN" in self.extensions:
            parts += [f"NOTIFY={','.join(recipient.notify)}"] if recipient.notify else []
            if recipient.orcpt and recipient.orcpt.isascii():
                parts.append(f"ORCPT={recipient.orcpt}")
        return " ".join(parts)

    async def _say(self, command: str) -> ServerReply:
        if "\r" in command or "\n" in command:
            raise DeliveryTrouble(Say.INTERNAL, permanent=True, status="5.5.2")
        self._writer.write(f"{command}\r\n".encode())
        return await self._read()

    async def _read(self) -> ServerReply:
        try:
            async with asyncio.timeout(self._patience.reply_seconds):
                await self._writer.drain()
                reply = await wire.read_reply(self._reader)
        except (OSError, TimeoutError) as error:
            raise _as_trouble(error) from error
        if reply.code == 421:  # RFC 5321 §3.8: the server closes, whatever the command was
            self.is_usable = False
        return reply


def _result(reply: ServerReply, *, silent: bool = False) -> Result:
    status = reasons.enhanced_of(reply.code, reply.text)
    if 200 <= reply.code < 300:
        return Result(Say.DELIVERED, str(reply), status, delivered=True, relayed_without_dsn=silent)
    if reply.code < 400:  # a 3yz where none belongs
        return Result(Say.NOT_SMTP, str(reply), "4.5.0")
    say = reasons.for_reply(reply.code, reply.text)
    return Result(say, str(reply), status, permanent=reply.code >= 500)


def _refused(reply: ServerReply) -> DeliveryTrouble:
    say = reasons.for_reply(reply.code, reply.text)
    return DeliveryTrouble(say, status="4.5.0", reply=str(reply))


def _as_trouble(error: BaseException) -> DeliveryTrouble:
    """A failure of the network in plain words."""
    if isinstance(error, TimeoutError):
        return DeliveryTrouble(Say.TIMED_OUT, status="4.4.1")
    if isinstance(error, ssl.SSLError):
        return DeliveryTrouble(Say.TLS_FAILED, status="4.7.5", reply=wire.clean(str(error)))
    if isinstance(error, ConnectionRefusedError):
        return DeliveryTrouble(Say.REFUSED_CONNECTION, status="4.4.1")
    if isinstance(error, ConnectionError):
        return DeliveryTrouble(Say.LOST, status="4.4.2")
    if isinstance(error, OSError) and error.errno in (errno.ENETUNREACH, errno.EHOSTUNREACH):
        return DeliveryTrouble(Say.NO_ROUTE, status="4.4.1")
    return DeliveryTrouble(Say.NO_ROUTE, status="4.4.1", reply=wire.clean(str(error)))


def _extensions(reply: ServerReply) -> dict[str, str]:
    """EHLO keywords and their parameters; the first line is the server's name."""
    found: dict[str, str] = {}
    for line in reply.lines[1:]:
        keyword, _, parameters = line.replace("=", " ", 1).partition(" ")
        found.setdefault(keyword.upper(), parameters.strip())
    return found


@functools.cache  # loading the certificates of the world takes longer than a delivery
def _context(tls: Tls) -> ssl.SSLContext:
    """Certificates are checked where TLS is demanded; opportunistic TLS takes what there is."""
    if tls is not Tls.OPPORTUNISTIC:
        return ssl.create_default_context()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _ascii_only(parcel: Parcel) -> bool:
    sender = parcel.envelope.mail_from
    addresses = [recipient.address for recipient in parcel.recipients]
    return all(address.is_ascii for address in addresses) and (sender is None or sender.is_ascii)


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode("ascii")
