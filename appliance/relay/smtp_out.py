"""Delivery by SMTP (RFC 5321, 2920 pipelining, 3207 TLS, 4954 sign-in, 3461 DSN, 6531 UTF-8).

A `Connection` is opened to one target of a route and carries one message after another. An
attempt ends in one `Result` a recipient, or in `DeliveryTrouble` for all of them. What TLS must
prove is a `Demand`; by default the route's own.
"""

import _ssl
import asyncio
import base64
import contextlib
import errno
import functools
import ssl
from collections.abc import AsyncIterator, Awaitable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Self

from appliance.mail.address import Address
from appliance.mail.envelope import Envelope, Recipient
from appliance.policy import dane
from appliance.policy.dane import Tlsa
from appliance.relay import reasons, trust, wire
from appliance.relay.reasons import DeliveryTrouble, Say
from appliance.relay.router import Kind, Route, Tls
from appliance.relay.targets import Target
from appliance.relay.wire import ServerReply

_EXPIRED, _OTHER_NAME, _OTHER_ADDRESS = 10, 62, 64  # OpenSSL's X509_V_ERR_...


@dataclass(frozen=True, slots=True)
class Patience:
    """Time limits, in seconds, and the name we give. `cafile`: authorities to trust in place of
    the system's."""

    own_name: str
    connect_seconds: float
    reply_seconds: float
    cafile: str = ""


@dataclass(frozen=True, slots=True)
class Demand:
    """What a connection must prove. `tlsa` are usable records, with `tls` being DANE."""

    tls: Tls
    tlsa: tuple[Tlsa, ...] = ()
    policy_type: str = "no-policy-found"  # sts, tlsa: on whose word (RFC 8460 §4.4)


@dataclass(frozen=True, slots=True)
class Result:
    """What the attempt did for one recipient."""

    say: str
    reply: str = ""
    status: str = ""
    delivered: bool = False
    permanent: bool = False
    relayed_without_dsn: bool = False  # the next hop will not report success
    is_final: bool = False  # it lies in the mailbox


@dataclass(frozen=True, slots=True)
class Parcel:
    """A message for some recipients at one next hop."""

    envelope: Envelope
    recipients: Sequence[Recipient]
    size: int
    has_utf8_header: bool = False


class Connection:
    """One connection to a mail server, greeted and, where it is due, encrypted and signed in."""

    hello_verb = "EHLO"

    def __init__(self, target: Target, patience: Patience) -> None:
        self.target = target
        self.extensions: dict[str, str] = {}
        self.peer_name = ""
        self.tls_version = ""
        self.sent = 0
        self.is_usable = True
        self._patience = patience
        self._reader: asyncio.StreamReader
        self._writer: asyncio.StreamWriter

    @classmethod
    async def open(
        cls, target: Target, route: Route, patience: Patience, demand: Demand | None = None
    ) -> Self:
        """Dial, greet, encrypt, sign in. Raises DeliveryTrouble.

        When opportunistic TLS fails, a second connection is made without it: a letter in the
        clear is what the sender had before anybody offered TLS.
        """
        demand = demand or Demand(route.tls)
        connection = cls(target, patience)
        try:
            await connection.begin(route, demand)
        except DeliveryTrouble as trouble:
            await connection.close()
            if trouble.say is not Say.TLS_FAILED or demand.tls is not Tls.OPPORTUNISTIC:
                raise
            connection = cls(target, patience)
            try:
                await connection.begin(route, Demand(Tls.NONE))
            except DeliveryTrouble:
                await connection.close()
                raise
        except BaseException:
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
            raise as_trouble(error) from error

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
        if self.is_usable and hasattr(self, "_writer"):
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

    async def begin(self, route: Route, demand: Demand) -> None:
        """All steps. Raises DeliveryTrouble; the caller hangs up then."""
        await self.dial(demand.tls)
        await self.greet()
        if route.kind is Kind.MX and same_host(self.peer_name, self._patience.own_name):
            # Behind an address translation our public address is not one of our own.
            raise DeliveryTrouble(Say.OWN_MX, permanent=True, status="5.4.6")
        if demand.tls not in (Tls.NONE, Tls.IMPLICIT):
            await self.start_tls(demand)
        if route.user:
            await self.sign_in(route)

    async def dial(self, tls: Tls) -> None:
        """Connect; with implicit TLS that comes first. Raises DeliveryTrouble."""
        context = _context(tls, self._patience.cafile) if tls is Tls.IMPLICIT else None
        target, limit = self.target, wire.MAX_REPLY_LINE_BYTES
        try:
            async with asyncio.timeout(self._patience.connect_seconds):
                if target.address.startswith("/"):
                    opening = asyncio.open_unix_connection(target.address, limit=limit)
                    self._reader, self._writer = await opening
                    return
                self._reader, self._writer = await asyncio.open_connection(
                    target.address,
                    target.port,
                    limit=limit,
                    ssl=context,
                    server_hostname=target.name if context else None,
                )
        except (OSError, TimeoutError) as error:
            raise as_trouble(error) from error
        self._note_tls()

    async def greet(self) -> None:
        """Hear the greeting and say hello. Raises DeliveryTrouble."""
        greeting = await self._read()
        if greeting.code != 220:
            # RFC 5321 §3.1: a 554 here means that this host takes no mail; another may.
            say = reasons.for_reply(greeting.code, greeting.text)
            raise DeliveryTrouble(say, status="4.3.0", reply=str(greeting))
        await self._hello()

    async def _hello(self) -> None:
        reply = await self._say(f"{self.hello_verb} {self._patience.own_name}")
        if reply.is_good:
            self.extensions = _extensions(reply)
            self.peer_name = reply.lines[0].partition(" ")[0] if reply.lines else ""
            return
        self.extensions = {}
        if reply.code != 421 and self.hello_verb == "EHLO":
            reply = await self._say(f"HELO {self._patience.own_name}")
        if not reply.is_good:
            raise _refused(reply)

    async def start_tls(self, demand: Demand) -> None:
        """Encrypt as demanded. Raises DeliveryTrouble.

        Without encryption on offer it goes on in the clear where nothing was demanded.
        """
        tls = demand.tls
        said = ""
        if "STARTTLS" in self.extensions:
            reply = await self._say("STARTTLS")
            if reply.code == 220:
                await self._shake_hands(demand)
                await self._hello()
                return
            said = str(reply)
        if tls is not Tls.OPPORTUNISTIC:
            say = Say.TLS_MISSING if demand.policy_type == "no-policy-found" else Say.STS_UNMET
            say = Say.DANE_UNMET if demand.policy_type == "tlsa" else say
            failure = "starttls-not-supported"
            raise DeliveryTrouble(say, status="4.7.4", reply=said, tls_failure=failure)

    async def _shake_hands(self, demand: Demand) -> None:
        # What came with the 220 in the clear could be anybody's: it must not be taken for
        # something said inside TLS (RFC 3207 §5).
        self._reader._buffer.clear()  # type: ignore[attr-defined]
        context = _context(demand.tls, self._patience.cafile)
        try:
            async with asyncio.timeout(self._patience.connect_seconds):
                await self._writer.start_tls(context, server_hostname=self.target.name)
        except (OSError, TimeoutError) as error:
            raise _tls_trouble(error, demand) from error
        self._note_tls()
        if demand.tls is Tls.DANE and not self._is_named(demand):
            raise DeliveryTrouble(Say.DANE_UNMET, status="4.7.5", tls_failure="validation-failure")

    def _is_named(self, demand: Demand) -> bool:
        """Whether the server's certificates fit the records (RFC 7672 §3)."""
        shown = _chain(self._writer.get_extra_info("ssl_object"))
        return dane.matches(demand.tlsa, shown, [self.target.name], datetime.now(UTC))

    def _note_tls(self) -> None:
        found = self._writer.get_extra_info("ssl_object")
        self.tls_version = found.version() if found is not None else ""

    async def sign_in(self, route: Route) -> None:
        """AUTH PLAIN, else LOGIN (RFC 4954); never in the clear. Raises DeliveryTrouble."""
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
            return [result_of(mail if not mail.is_good else reply) for reply in rcpts]
        if data.code < 400 and data.code != 354:
            raise DeliveryTrouble(Say.NOT_SMTP, status="4.5.0", reply=str(data))
        if data.code != 354:
            return [result_of(data if reply.is_good else reply) for reply in rcpts]
        end = await self._send(content)
        if before_dot is not None:
            await before_dot
        await self._refused_early()
        self._writer.write(end)
        return await self._taken(rcpts)

    async def _taken(self, rcpts: Sequence[ServerReply]) -> list[Result]:
        """What the server says after the last dot: one reply for all that it accepted."""
        final = await self._read_final()
        silent = "DSN" not in self.extensions
        return [result_of(final if reply.is_good else reply, silent=silent) for reply in rcpts]

    async def _read_final(self) -> ServerReply:
        try:
            return await self._read()
        except DeliveryTrouble as trouble:
            if trouble.say in (Say.LOST, Say.TIMED_OUT):
                raise DeliveryTrouble(Say.LOST_AFTER_DATA, status="4.4.2") from trouble
            raise

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

    async def _refused_early(self) -> None:
        """A server may refuse while the content is under way; nothing else is said by then."""
        if trouble := wire.unasked(self._reader):
            if trouble.reply[:1] in ("4", "5"):
                raise _refused(await self._read())
            raise trouble

    async def _ask(self, commands: list[str]) -> list[ServerReply]:
        """Send commands and read their replies, in one go where the server allows it.

        Without PIPELINING, what follows a refused command is not sent; its reply is the refusal.
        """
        if "PIPELINING" in self.extensions:
            if trouble := wire.unasked(self._reader):
                raise trouble
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
        if trouble := wire.unasked(self._reader):
            raise trouble
        self._writer.write(f"{command}\r\n".encode())
        return await self._read()

    async def _read(self) -> ServerReply:
        try:
            if wire.is_here(self._reader):  # one of several that came at once: no timer for it
                reply = await wire.read_reply(self._reader)
            else:
                async with asyncio.timeout(self._patience.reply_seconds):
                    await self._writer.drain()
                    reply = await wire.read_reply(self._reader)
        except (OSError, TimeoutError) as error:
            raise as_trouble(error) from error
        if reply.code == 421:  # RFC 5321 §3.8: the server closes, whatever the command was
            self.is_usable = False
        return reply


def result_of(reply: ServerReply, *, silent: bool = False) -> Result:
    """What a reply means for one recipient. `silent`: this server reports nothing itself."""
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


def same_host(one: str, other: str) -> bool:
    """Whether two host names are one."""
    return one.rstrip(".").lower() == other.rstrip(".").lower()


def as_trouble(error: BaseException) -> DeliveryTrouble:
    """A failure of the network in plain words."""
    if isinstance(error, TimeoutError):
        return DeliveryTrouble(Say.TIMED_OUT, status="4.4.1")
    if isinstance(error, ssl.SSLError):
        return _tls_trouble(error, Demand(Tls.IMPLICIT))
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


def _tls_trouble(error: BaseException, demand: Demand) -> DeliveryTrouble:
    """A handshake that failed, with its result type of RFC 8460 §4.3."""
    shown = wire.clean(str(error))
    say, failure = Say.TLS_FAILED, "validation-failure"
    if isinstance(error, ssl.SSLCertVerificationError):
        say, failure = Say.TLS_UNTRUSTED, "certificate-not-trusted"
        if error.verify_code == _EXPIRED:
            failure = "certificate-expired"
        elif error.verify_code in (_OTHER_NAME, _OTHER_ADDRESS):
            failure = "certificate-host-mismatch"
    if demand.policy_type != "no-policy-found":
        say = Say.DANE_UNMET if demand.policy_type == "tlsa" else Say.STS_UNMET
    return DeliveryTrouble(say, status="4.7.5", reply=shown, tls_failure=failure)


def _chain(tls: Any) -> list[bytes]:
    """The certificates that the server showed, its own first."""
    if tls is None:
        return []
    if hasattr(tls, "get_unverified_chain"):  # Python 3.13
        return list(tls.get_unverified_chain())
    shown = tls._sslobj.get_unverified_chain() or []
    return [certificate.public_bytes(_ssl.ENCODING_DER) for certificate in shown]


@functools.cache  # loading the certificates of the world takes longer than a delivery
def _context(tls: Tls, cafile: str) -> ssl.SSLContext:
    """Certificates are checked where that is demanded; other TLS takes what there is."""
    if tls in (Tls.REQUIRED, Tls.IMPLICIT):
        return trust.verifying_context(cafile)
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
