"""One SMTP conversation (RFC 5321), a subclass of aiosmtpd 1.4.6's.

aiosmtpd gives the protocol object, STARTTLS and the reader; the command loop, the grammar, the
replies and DATA are ours, because its own show Python errors to strangers, take what is no
address, read DATA line by line and know no DSN. Its constructor is passed by (it inspects all
methods, a third of a session's cost); `tests/appliance/relay/test_session_library.py` holds the
list of what it would have set against the pinned version.
"""

import asyncio
import logging
import re
import ssl
from collections.abc import Awaitable, Callable
from typing import Any, ClassVar

from aiosmtpd.smtp import SMTP, TLSSetupException

from appliance.mail import esmtp
from appliance.mail import reply as replies
from appliance.mail.envelope import Recipient
from appliance.mail.esmtp import CommandError, MailCommand
from appliance.mail.reply import Reply
from appliance.policy.verdict import Action, Facts, Port, Stage, Station, defer
from appliance.relay import auth, data_reader, hello, intake, stages
from appliance.relay.block_reader import BlockReader
from appliance.relay.data_reader import Content
from appliance.relay.gate import least_progress
from appliance.relay.shop import Shop

MAX_COMMAND_BYTES = 2_048
READER_LIMIT_BYTES = 131_072  # also the size of DATA's blocks
OVERRUN_FACTOR = 2  # a client that sends more than this times the limit is cut off

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_TOO_MANY_CONNECTIONS = defer("connections", replies.TOO_MANY_CONNECTIONS, "all places are taken")
_TOO_MANY_ERRORS = defer("errors", replies.TOO_MANY_ERRORS, "too many commands were wrong")
_log = logging.getLogger(__name__)


class Session(SMTP):
    """The server's side of one connection."""

    line_length_limit = READER_LIMIT_BYTES

    def __init__(
        self,
        shop: Shop,
        port: Port,
        tls_context: ssl.SSLContext | None,
        *,
        at_home: bool = False,
    ) -> None:
        """`at_home`: the client is a program of this box that may send to anybody."""
        loop = asyncio.get_running_loop()
        reader = BlockReader(READER_LIMIT_BYTES, loop)
        asyncio.StreamReaderProtocol.__init__(
            self, reader, client_connected_cb=self._cb_client_connected, loop=loop
        )
        # What the inherited methods read; see the module's docstring.
        self.loop = loop
        self.event_handler: Any = None
        self.hostname = shop.hostname
        self.enable_SMTPUTF8 = True
        self.tls_context = tls_context
        self.session: Any = None
        self.envelope: Any = None
        self.transport: Any = None
        self._handle_hooks: dict[str, Any] = {}
        self._handler_coroutine: asyncio.Task[None] | None = None
        self._timeout_handle: asyncio.TimerHandle | None = None
        self._tls_handshake_okay = True
        self._tls_protocol: Any = None
        self._original_transport: Any = None
        # Our own state
        self._blocks = reader
        self.client = ""
        self.since = loop.time()
        self._shop = shop
        self._port = port
        self._at_home = at_home
        self._facts = Facts(client="", port=port, trusted=False)
        self._extended = False
        self._mail: MailCommand | None = None
        self._recipients: list[Recipient] = []
        self._errors = 0
        self._wrong_passwords = 0
        self._id = ""
        self._leaving = False
        self._committing = False
        self._heard_at = 0.0
        self._transaction_until = 0.0

    # The connection

    def data_received(self, data: bytes) -> None:
        """Octets from the client; straight to the reader, past the library's detours."""
        self._blocks.feed_data(data)

    async def _handle_client(self) -> None:
        """The conversation; whatever happens in it, the connection is closed in the end."""
        try:
            if await self._greet():
                await self._converse()
        except (ConnectionError, asyncio.IncompleteReadError, TLSSetupException, ssl.SSLError):
            pass
        finally:
            self._hang_up()

    def connection_lost(self, error: Exception | None) -> None:
        """The client is gone."""
        self._shop.gate.leave(self)
        if self.session is not None and self._timeout_handle is not None:
            super().connection_lost(error)

    def eof_received(self) -> bool | None:
        """The client will send no more, but may still read: half-closed is not closed."""
        self._reader.feed_eof()
        return not self._tls_object()

    def dismiss(self) -> None:
        """End politely: at once when idle, after the transaction when in one."""
        self._leaving = True
        if self._mail is None and not self._committing:
            self._end(replies.SHUTTING_DOWN)

    @property
    def is_committing(self) -> bool:
        """Whether a message is being judged and stored: its sender waits for our answer."""
        return self._committing

    def break_off(self) -> None:
        """End in the middle of a transaction: there is no more time."""
        self._end(replies.SHUTTING_DOWN)

    @property
    def received_octets(self) -> int:
        """What the client has sent so far."""
        return self._blocks.received_octets

    @property
    def may_give_way(self) -> bool:
        """Whether somebody else may have this place."""
        return not (self._committing or self._facts.trusted or self._facts.user)

    @property
    def has_begun(self) -> bool:
        """Whether it is in the middle of a message."""
        return self._mail is not None

    def give_way(self) -> None:
        """Leave at once: the house is full, and others get on better."""
        self._shop.counters["gave_way"] += 1
        self._shop.gate.leave(self)
        self._end(replies.TOO_MANY_CONNECTIONS)

    def _end(self, reply: Reply) -> None:
        """Say a last word from outside the conversation."""
        if self.transport is not None and not self.transport.is_closing():
            self._writer.write(reply.wire)
        self._hang_up()
        if self._handler_coroutine is not None:
            self._handler_coroutine.cancel()

    def _hang_up(self) -> None:
        """Close when the last words are sent; a client that does not read gets ten seconds."""
        if self.transport is not None and not self.transport.is_closing():
            transport = self.transport
            transport.close()
            if transport.get_write_buffer_size():
                self.loop.call_later(10, transport.abort)

    def _set_rset_state(self) -> None:
        """The library's envelope is not used."""

    # Time

    def _reset_timeout(self, duration: float | None = None) -> None:
        """Put the idle time-out off; the timer itself is set anew only when it fires."""
        self._heard_at = self.loop.time()
        if self._timeout_handle is None:
            self._begin_transaction_time()
            self._timeout_handle = self.loop.call_at(self._time_is_up_at(), self._timeout_cb)

    def _begin_transaction_time(self) -> None:
        seconds = self._shop.settings.relay.transaction_timeout_seconds
        self._transaction_until = self.loop.time() + seconds

    def _time_is_up_at(self) -> float:
        relay = self._shop.settings.relay
        patience_seconds = self._shop.gate.patience_seconds(
            relay.command_timeout_seconds, relay.connections_total
        )
        return min(self._heard_at + patience_seconds, self._transaction_until)

    def _timeout_cb(self) -> None:
        """Time is up, unless something happened since the timer was set."""
        now = self.loop.time()
        if self._committing:  # the answer is ours to give: never drop a message being stored
            self._heard_at, self._transaction_until = now, now + 60
        if now < (until := self._time_is_up_at()):
            self._timeout_handle = self.loop.call_at(until, self._timeout_cb)
            return
        self._shop.counters["timed_out"] += 1
        self._shop.log.event(self._name(), "timed-out", client=self.client, helo=self._facts.helo)
        self._end(replies.TIMED_OUT)

    # The conversation

    async def _greet(self) -> bool:
        """The greeting; False when the client must go."""
        shop = self._shop
        peer = self.session.peer
        if self._at_home:
            stages.arrive_at_home(self._facts)
        else:
            stages.arrive(self._facts, shop.rules, peer[0] if peer else "")
        self.client = self._facts.client
        self._facts.tls = self._tls_object() is not None
        if not shop.accepting:
            return await self._turn_away(replies.SWITCHED_OFF)
        if not self._enter():
            shop.refused(self._name(), self._facts, _TOO_MANY_CONNECTIONS)
            shop.tally.count(Station.LIMITS, Action.DEFER)
            return await self._turn_away(replies.TOO_MANY_CONNECTIONS)
        shop.counters["connections"] += 1
        if shop.chain.has(Stage.CONNECT):
            verdict = await shop.chain.run(Stage.CONNECT, self._facts, shop.tools)
            if verdict.reply is not None:
                shop.refused(self._name(), self._facts, verdict)
                return await self._turn_away(verdict.reply)
        await self._write(hello.greeting(self.hostname))
        return True

    def _enter(self) -> bool:
        """Take a place; in a full house that of somebody who makes no progress."""
        gate, relay = self._shop.gate, self._shop.settings.relay
        most, each = relay.connections_total, relay.connections_per_address
        if gate.enter(self, total=most, per_address=each):
            return True
        if not gate.has_enough(self.client, each):
            for guest in least_progress(gate.sessions, self.loop.time()):
                if isinstance(guest, Session):
                    guest.give_way()
        return gate.enter(self, total=most, per_address=each)

    async def _turn_away(self, reply: Reply) -> bool:
        self._shop.counters["turned_away"] += 1
        await self.push(reply)
        return False

    async def _converse(self) -> None:
        while self.transport is not None and not self.transport.is_closing():
            if self._leaving and self._mail is None:
                await self.push(replies.SHUTTING_DOWN)
                return
            text = await self._read_command()
            self._reset_timeout()
            if text is not None:
                await self._obey(text)
            if self._errors >= self._shop.settings.relay.errors_per_session:
                self._shop.refused(self._name(), self._facts, _TOO_MANY_ERRORS)
                await self.push(replies.TOO_MANY_ERRORS)
                return

    async def _read_command(self) -> str | None:
        """One line; None when it was none and has been answered."""
        try:
            return await self._read_line()
        except CommandError as error:
            await self.push(error.reply)
            return None

    async def _read_line(self) -> str:
        """One line of text. Raises CommandError."""
        try:
            line = await self._blocks.line()
        except asyncio.LimitOverrunError as overrun:
            await self._skip_line(overrun)
            line = b""
        if not line or len(line) > MAX_COMMAND_BYTES:
            raise CommandError(replies.LINE_TOO_LONG)
        try:
            text = line[:-2].decode()
        except UnicodeDecodeError as error:
            raise CommandError(replies.NOT_UTF8) from error
        if not line.endswith(b"\r\n") or _CONTROL.search(text):
            raise CommandError(replies.BARE_NEWLINE_IN_COMMAND)
        return text

    async def _skip_line(self, overrun: asyncio.LimitOverrunError) -> None:
        """Read past a line that is longer than the reader holds, in flat memory."""
        while True:
            await self._reader.readexactly(max(overrun.consumed, 1))
            try:
                await self._reader.readuntil(b"\n")
                return
            except asyncio.LimitOverrunError as further:
                overrun = further

    async def _obey(self, text: str) -> None:
        """Carry one command out. Whatever goes wrong inside stays inside."""
        verb, _, argument = text.partition(" ")
        method = self._VERBS.get(verb.upper())
        try:
            if method is None:
                await self.push(replies.UNKNOWN_COMMAND)
            else:
                await method(self, argument.strip(" "))
        except CommandError as error:
            await self.push(error.reply)
        except (ConnectionError, asyncio.IncompleteReadError, TLSSetupException, ssl.SSLError):
            raise
        except Exception:
            name = self._name()
            _log.exception("session %s: %s failed", name, verb.upper()[:12])
            self._forget_transaction()
            await self.push(replies.TRY_AGAIN.naming(name))

    async def push(self, status: Any) -> None:
        """Send a reply. The library sends one of its own, at STARTTLS, as text."""
        reply: Reply = status if isinstance(status, Reply) else replies.START_TLS
        if reply.code >= 500:
            self._errors += 1
        await self._write(reply.wire)

    async def _write(self, wire: bytes) -> None:
        self.transport.write(wire)  # not by the library's writer, which does only this
        if self._paused:  # type: ignore[attr-defined]  # the client does not read
            await self._writer.drain()

    # The verbs

    async def _ehlo(self, argument: str) -> None:
        if not self._introduce(argument, extended=True):
            await self.push(replies.BAD_HELO)
            return
        await self._write(
            hello.extensions(
                self._shop.hostname,
                self._shop.settings.mail.max_message_bytes,
                sign_in=self._facts.tls and auth.is_offered(self._shop, self._port),
                starttls=self.tls_context is not None and not self._tls_object(),
            )
        )

    async def _helo(self, argument: str) -> None:
        if not self._introduce(argument, extended=False):
            await self.push(replies.BAD_HELO)
            return
        await self.push(Reply(250, "", self._shop.hostname))

    def _introduce(self, name: str, *, extended: bool) -> bool:
        if not stages.is_helo(name):
            return False
        self._forget_transaction()
        self._facts.helo = name
        self._extended = extended
        return True

    async def _starttls(self, argument: str) -> None:
        if argument:
            await self.push(replies.BAD_SYNTAX)
        elif self._tls_object():
            await self.push(replies.TLS_ALREADY)
        elif self.tls_context is None:
            await self.push(replies.NO_TLS_NOW)
        else:
            await self._switch_to_tls()

    async def _switch_to_tls(self) -> None:
        """RFC 3207 §4.2: what was said before is forgotten; what was sent ahead is thrown away."""
        ahead = self._sent_ahead()
        if ahead:
            self._shop.log.event(
                self._name(), "discarded", why="sent ahead of TLS", bytes=ahead, client=self.client
            )
        await super().smtp_STARTTLS("")
        self._forget_transaction()
        self._facts.helo = ""
        self._facts.tls = True

    async def _auth(self, argument: str) -> None:
        """RFC 4954; under TLS only."""
        refusal = auth.refusal(
            self._shop, self._facts, extended=self._extended, begun=self._mail is not None
        )
        if refusal is not None:
            await self.push(refusal)
        else:
            await self._sign_in(argument)

    async def _sign_in(self, argument: str) -> None:
        shop, facts = self._shop, self._facts
        said = await auth.exchange(argument, self._ask)
        outcome = await auth.check(shop, said, facts.client, trusted=facts.trusted)
        auth.log(shop, self._name(), said.user, facts.client, self._port.value, outcome)
        facts.user = outcome.login
        if not outcome.login:
            self._wrong_passwords += 1
        await self.push(auth.answer_to(outcome))
        if self._wrong_passwords >= auth.MAX_WRONG_IN_A_SESSION:
            await self.push(replies.TOO_MANY_ERRORS)
            self._hang_up()

    async def _ask(self, challenge: str) -> str:
        """A challenge (334), and what the client says to it."""
        await self.push(Reply(334, "", challenge))
        line = await self._read_line()
        self._reset_timeout()
        return line

    async def _mail_from(self, argument: str) -> None:
        if not self._facts.helo:
            await self.push(replies.HELO_FIRST)
            return
        if self._mail is not None:
            await self.push(replies.NESTED_MAIL)
            return
        if not self._shop.accepting:
            self._leaving = True
            return
        command = esmtp.parse_mail(argument, extended=self._extended)
        room = self._shop.has_room(command.size)
        stages.name_sender(self._facts, command, has_room=room)
        if self._shop.spool.trouble:
            await self.push(replies.TRY_AGAIN.naming(self._name()))
        elif await self._allowed(Stage.MAIL):
            self._mail = command
            await self.push(replies.SENDER_OK)

    async def _rcpt_to(self, argument: str) -> None:
        if self._mail is None:
            await self.push(replies.MAIL_FIRST if self._facts.helo else replies.HELO_FIRST)
            return
        recipient = esmtp.parse_rcpt(
            argument, extended=self._extended, smtputf8=self._mail.smtputf8
        )
        stages.name_recipient(self._facts, recipient, len(self._recipients))
        if await self._allowed(Stage.RCPT):
            self._recipients.append(recipient)
            await self.push(replies.RECIPIENT_OK)

    async def _allowed(self, stage: Stage) -> bool:
        """Whether the chain lets it pass; if not, the client has been told."""
        verdict = await self._shop.chain.run(stage, self._facts, self._shop.tools)
        if verdict.reply is None:
            return True
        self._shop.refused(self._name(), self._facts, verdict)
        await self.push(verdict.reply)
        return False

    async def _data(self, argument: str) -> None:
        if argument:
            await self.push(replies.BAD_SYNTAX)
        elif self._mail is None:
            await self.push(replies.MAIL_FIRST if self._facts.helo else replies.HELO_FIRST)
        elif not self._recipients:
            await self.push(replies.RCPT_FIRST)
        elif await self._allowed(Stage.DATA):
            await self._receive(self._mail)

    async def _receive(self, mail: MailCommand) -> None:
        """From 354 to the reply after the final dot."""
        if self._sent_ahead():
            # RFC 2920 §3.1: DATA is the last of a group; what follows it unasked is an attack
            await self.push(replies.UNANNOUNCED_DATA)
            self._hang_up()
            return
        shop, queue_id = self._shop, self._shop.ids.next()
        limit = shop.settings.mail.max_message_bytes
        content = Content(
            threshold=shop.inline_body_bytes,
            limit=limit,
            begin_file=lambda: shop.spool.begin_body(queue_id),
        )

        def touch() -> None:
            self._reset_timeout()
            if content.size > limit * OVERRUN_FACTOR + READER_LIMIT_BYTES:
                self._end(replies.MESSAGE_TOO_BIG)

        await self.push(replies.START_DATA)
        try:
            await data_reader.read(self._blocks, content, touch)
            self._committing = True
            reply = await intake.accept_message(shop, self._transaction(queue_id, mail, content))
        finally:
            self._committing = False
            content.discard()
        self._forget_transaction()
        self._begin_transaction_time()
        await self.push(reply)

    def _transaction(
        self, queue_id: str, mail: MailCommand, content: Content
    ) -> intake.Transaction:
        tls = self._tls_object()
        cipher = tls.cipher() if tls else None
        recipients = tuple(self._recipients)
        stages.name_all(self._facts, recipients)
        return intake.Transaction(
            queue_id,
            self._facts,
            intake.envelope(mail, recipients),
            content,
            extended=self._extended,
            tls_version=(tls.version() or "") if tls else "",
            tls_cipher=cipher[0] if cipher else "",
        )

    async def _rset(self, argument: str) -> None:
        if argument:
            await self.push(replies.BAD_SYNTAX)
            return
        self._forget_transaction()
        await self.push(replies.OK)

    async def _noop(self, argument: str) -> None:
        await self.push(replies.OK)

    async def _vrfy(self, argument: str) -> None:
        await self.push(replies.CANNOT_VERIFY if argument else replies.BAD_SYNTAX)

    async def _help(self, argument: str) -> None:
        await self.push(replies.HELP)

    async def _not_implemented(self, argument: str) -> None:
        await self.push(replies.NOT_IMPLEMENTED)

    async def _quit(self, argument: str) -> None:
        if argument:
            await self.push(replies.BAD_SYNTAX)
            return
        await self.push(replies.BYE)
        self._hang_up()

    _VERBS: ClassVar[dict[str, Callable[["Session", str], Awaitable[None]]]] = {
        "EHLO": _ehlo,
        "HELO": _helo,
        "STARTTLS": _starttls,
        "MAIL": _mail_from,
        "RCPT": _rcpt_to,
        "DATA": _data,
        "RSET": _rset,
        "NOOP": _noop,
        "VRFY": _vrfy,
        "HELP": _help,
        "QUIT": _quit,
        "EXPN": _not_implemented,
        "AUTH": _auth,
        "TURN": _not_implemented,
        "ETRN": _not_implemented,
    }

    # Small things

    def _forget_transaction(self) -> None:
        self._mail = None
        self._recipients = []
        self._facts.forget_message()

    def _sent_ahead(self) -> int:
        """How many octets wait that were sent before they were asked for."""
        return len(self._reader._buffer)  # type: ignore[attr-defined]  # no public way to see it

    def _name(self) -> str:
        """This session's id, made when it is first needed."""
        if not self._id:
            self._id = self._shop.ids.next()
        return self._id

    def _tls_object(self) -> ssl.SSLObject | None:
        """The TLS layer, when it is on."""
        if self.transport is None:
            return None
        found: ssl.SSLObject | None = self.transport.get_extra_info("ssl_object")
        return found
