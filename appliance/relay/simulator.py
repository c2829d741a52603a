"""What would happen to this mail? (FEATURES B9): a session played without a client.

The chain, the facts, the grammar and the look-ups are those of the session and of the intake;
only the tools are such that nothing is learnt, counted or written (`observers`). What depends on
the client's conduct (too many connections or errors, time-outs) and on the disk's next write is
not played.
"""

from __future__ import annotations

import base64
import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from appliance.base.finding import Refused
from appliance.mail import esmtp
from appliance.mail import reply as replies
from appliance.mail.envelope import Envelope, Recipient
from appliance.mail.esmtp import CommandError, MailCommand
from appliance.mail.reply import Reply
from appliance.policy.chain import Chain, Check
from appliance.policy.people import login_of
from appliance.policy.verdict import (
    ACCEPTED,
    Action,
    Disposition,
    Facts,
    Port,
    Stage,
    Station,
    Verdict,
)
from appliance.relay import auth, intake, observers, rewriting, stages
from appliance.relay.data_reader import Content
from appliance.relay.shop import Shop
from appliance.spool.bodies import BodyFile

MAX_RECIPIENTS = 200
MAX_MESSAGE_BYTES = 8 * 1024 * 1024  # what fits into a request; of larger ones, give the size
MAX_WAYS = 200


class Told(StrEnum):
    """What one check had to say."""

    PASSED = "passed"
    NOT_ASKED = "not asked"  # our own people, or a permitted sender
    NOTE = "note"
    REJECT = "reject"
    DEFER = "defer"


_TOLD = {Action.NOTE: Told.NOTE, Action.REJECT: Told.REJECT, Action.DEFER: Told.DEFER}


@dataclass(frozen=True, slots=True)
class Question:
    """A letter that may come. Addresses as they stand between the angle brackets."""

    client: str
    mail_from: str
    recipients: tuple[str, ...]
    helo: str = ""  # empty: the client's address
    port: Port = Port.SMTP
    tls: bool = False
    user: str = ""  # who signed in, with the right password
    size: int = 0  # announced, in octets; 0: not said
    message: bytes | None = None

    @property
    def hello(self) -> str:
        """The name after EHLO."""
        if self.helo or not self.client:
            return self.helo
        return f"[IPv6:{self.client}]" if ":" in self.client else f"[{self.client}]"

    @property
    def mail(self) -> str:
        """What stands after `MAIL `."""
        plain = all(text.isascii() for text in (self.mail_from, *self.recipients))
        size = f" SIZE={self.size}" if self.size else ""
        return f"FROM:<{self.mail_from}>{size}{'' if plain else ' SMTPUTF8'}"

    @property
    def stuffed(self) -> bytes:
        """The message as it goes over the wire, with the CRLF before it and without the dot."""
        text = self.message or b""
        if text and not text.endswith(b"\r\n"):
            text += b"\r\n"
        return (b"\r\n" + text).replace(b"\r\n.", b"\r\n..")


@dataclass(frozen=True, slots=True)
class Word:
    """What one check said."""

    station: Station
    told: Told
    check: str = ""
    why: str = ""


@dataclass(frozen=True, slots=True)
class Turn:
    """One command of the client, what the checks said of it, and the reply."""

    command: str
    reply: Reply
    words: tuple[Word, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return {
            "command": self.command,
            "code": self.reply.code,
            "enhanced": self.reply.enhanced,
            "text": self.reply.text,
            "stations": [
                {
                    "station": word.station.value,
                    "number": word.station.number,
                    "told": word.told.value,
                    "check": word.check,
                    "why": word.why,
                }
                for word, before in zip(self.words, (None, *self.words), strict=False)
                if word != before  # several checks of one station that let it pass are one line
            ],
        }


@dataclass(slots=True)
class Outcome:
    """The whole conversation, and what would become of the message."""

    turns: list[Turn] = field(default_factory=list)
    ways: list[tuple[str, str]] = field(default_factory=list)  # where it goes, and why there
    taken: bool = False  # all the way, or up to the message when there was none
    disposition: Disposition = Disposition.DELIVER

    @property
    def deciding(self) -> Word | None:
        """Who refused, if anybody did; the last one counts."""
        refused = [
            word
            for turn in self.turns
            for word in turn.words
            if word.told in (Told.REJECT, Told.DEFER)
        ]
        return refused[-1] if refused and not self.taken else None

    def to_json(self) -> dict[str, Any]:
        deciding = self.deciding
        return {
            "taken": self.taken,
            "disposition": self.disposition.value,
            "station": deciding.station.value if deciding is not None else "",
            "check": deciding.check if deciding is not None else "",
            "why": deciding.why if deciding is not None else "",
            "turns": [turn.to_json() for turn in self.turns],
            "ways": [{"to": to, "why": why} for to, why in self.ways[:MAX_WAYS]],
        }


async def simulate(shop: Shop, question: Question) -> Outcome:
    """Play it to the first end it comes to."""
    play = _Play(shop, question)
    try:
        await play.all()
    finally:
        observers.put_away(play.tools)
    return play.outcome


class _Play:
    """One conversation."""

    def __init__(self, shop: Shop, question: Question) -> None:
        self._shop = shop
        self._question = question
        self.tools = observers.tools_of(shop)
        self._chain = Chain(shop.rules, self._hear)
        encrypted = question.tls or question.port is Port.SUBMISSIONS
        self._facts = Facts(client="", port=question.port, trusted=False, tls=encrypted)
        stages.arrive(self._facts, shop.rules, question.client)
        self._words: list[Word] = []
        self.outcome = Outcome()

    async def all(self) -> None:
        """From the greeting to the first end."""
        if await self.connect() and self.hello() and self.sign_in():
            mail = await self.mail()
            if mail is not None:
                recipients = await self.recipients(mail)
                if recipients and await self.data():
                    await self.content(mail, recipients)

    async def connect(self) -> bool:
        """The greeting."""
        shop = self._shop
        if not shop.accepting:
            return self._refuse("", replies.SWITCHED_OFF, shop.why_closed)
        return await self._stage(Stage.CONNECT, "", Reply(220, "", f"{shop.hostname} ESMTP"))

    def hello(self) -> bool:
        """EHLO."""
        name = self._question.hello
        if not stages.is_helo(name):
            return self._refuse(f"EHLO {name}", replies.BAD_HELO)
        self._facts.helo = name
        self._turn(f"EHLO {name}", Reply(250, "", self._shop.hostname))
        return True

    def sign_in(self) -> bool:
        """AUTH, as if with the right password."""
        shop, user = self._shop, self._question.user
        if not user:
            return True
        refusal = auth.refusal(shop, self._facts, extended=True, begun=False)
        login = login_of(user, shop.rules.mail_domains)
        person = shop.people.by_login.get(login)
        if refusal is None and (person is None or not person.enabled):
            refusal = replies.WRONG_PASSWORD
        if refusal is not None:
            return self._refuse("AUTH", refusal)
        self._facts.user = login
        self._turn("AUTH", replies.SIGNED_IN)
        return True

    async def mail(self) -> MailCommand | None:
        """MAIL, when it is taken."""
        shop, argument = self._shop, self._question.mail
        try:
            command = esmtp.parse_mail(argument, extended=True)
        except CommandError as error:
            self._refuse(f"MAIL {argument}", error.reply)
            return None
        room = shop.has_room(command.size)
        stages.name_sender(self._facts, command, has_room=room)
        if shop.spool.trouble:
            self._refuse(f"MAIL {argument}", replies.TRY_AGAIN, shop.spool.trouble)
            return None
        good = await self._stage(Stage.MAIL, f"MAIL {argument}", replies.SENDER_OK)
        return command if good else None

    async def recipients(self, mail: MailCommand) -> list[Recipient]:
        """RCPT for each; those that are taken."""
        taken: list[Recipient] = []
        for text in self._question.recipients:
            argument = f"TO:<{text}>"
            try:
                recipient = esmtp.parse_rcpt(argument, extended=True, smtputf8=mail.smtputf8)
            except CommandError as error:
                self._refuse(f"RCPT {argument}", error.reply)
                continue
            stages.name_recipient(self._facts, recipient, len(taken))
            if await self._stage(Stage.RCPT, f"RCPT {argument}", replies.RECIPIENT_OK):
                taken.append(recipient)
        return taken

    async def data(self) -> bool:
        """DATA."""
        return await self._stage(Stage.DATA, "DATA", replies.START_DATA)

    async def content(self, mail: MailCommand, recipients: list[Recipient]) -> None:
        """The message, and where it goes."""
        shop, facts = self._shop, self._facts
        stages.name_all(facts, recipients)
        if self._question.message is not None:
            limit = shop.settings.mail.max_message_bytes
            content = Content(threshold=MAX_MESSAGE_BYTES, limit=limit, begin_file=_no_file)
            content.take(self._question.stuffed, last=True)
            verdict = await intake.judge(self._chain, self.tools, facts, content)
            if verdict.reply is not None:
                if not self._words or self._words[-1].check != verdict.check:
                    self._words.append(_word(Station.SANITY, verdict))  # of its form, not the chain
                self._turn(".", verdict.reply)
                return
        self._where_it_goes(intake.envelope(mail, recipients))

    def _where_it_goes(self, envelope: Envelope) -> None:
        plan = rewriting.plan(self._shop, self._facts, envelope)
        if plan.refusal is not None and plan.refusal.reply is not None:
            self._words.append(_word(Station.REWRITE, plan.refusal))
            self._turn(".", plan.refusal.reply)
            return
        self.outcome.taken = True
        self.outcome.disposition = self._facts.disposition
        if self._question.message is not None:
            self._turn(".", replies.QUEUED)
        ways = [way for bundle in plan.bundles for way in bundle.ways]
        self.outcome.ways = [
            (str(way.recipient.address), way.step.why if way.step is not None else "")
            for way in ways
        ] or [(str(entry.address), "") for entry in envelope.recipients]

    async def _stage(self, stage: Stage, command: str, good: Reply) -> bool:
        """The checks of a stage; whether they let it pass."""
        verdict = ACCEPTED
        if self._chain.has(stage):
            verdict = await self._chain.run(stage, self._facts, self.tools)
        self._turn(command, verdict.reply or good)
        return verdict.reply is None

    def _hear(self, check: Check, verdict: Verdict | None, came_by: bool) -> None:
        if verdict is not None:
            self._words.append(_word(check.station, verdict))
        else:
            self._words.append(Word(check.station, Told.PASSED if came_by else Told.NOT_ASKED))

    def _refuse(self, command: str, reply: Reply, why: str = "") -> bool:
        """Refused before any check was asked."""
        told = Told.REJECT if reply.is_permanent else Told.DEFER
        self._words.append(Word(Station.SANITY, told, "command", why or reply.text))
        self._turn(command, reply)
        return False

    def _turn(self, command: str, reply: Reply) -> None:
        self.outcome.turns.append(Turn(command, reply, tuple(self._words)))
        self._words.clear()


def _word(station: Station, verdict: Verdict) -> Word:
    return Word(station, _TOLD[verdict.action], verdict.check, verdict.why)


def _no_file() -> BodyFile:
    raise OSError("a simulated message is kept in memory")


# The question as it comes over the control socket


def question_of(args: Mapping[str, Any]) -> Question:
    """Read it. Raises Refused."""
    return Question(
        client=_client(_text(args, "ip")),
        mail_from=_text(args, "mail_from"),
        recipients=_recipients(args.get("recipients")),
        helo=_text(args, "helo"),
        port=_port(_text(args, "port")),
        tls=args.get("tls") is True,
        user=_text(args, "user"),
        size=_size(args.get("size")),
        message=_message(args.get("message")),
    )


def _text(args: Mapping[str, Any], name: str) -> str:
    value = args.get(name)
    text = value.strip()[:1_000] if isinstance(value, str) else ""
    if not text.isprintable():
        raise Refused.because(f"simulate.{name}", "There is a character that no command may hold.")
    return text


def _client(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text.strip("[]")))
    except ValueError as error:
        raise Refused.because(
            "simulate.ip", "This is no IP address.", "Such as 192.0.2.7 or 2001:db8::7."
        ) from error


def _recipients(value: object) -> tuple[str, ...]:
    given = value if isinstance(value, list) else []
    found = tuple(one.strip() for one in given if isinstance(one, str) and one.strip())
    if not found or not all(one.isprintable() and len(one) <= 1_000 for one in found):
        raise Refused.because("simulate.recipients", "Say to whom the mail goes.")
    if len(found) > MAX_RECIPIENTS:
        raise Refused.because("simulate.recipients", f"At most {MAX_RECIPIENTS} at a time.")
    return found


def _port(text: str) -> Port:
    try:
        return Port(text or Port.SMTP)
    except ValueError as error:
        names = ", ".join(port.value for port in Port)
        raise Refused.because("simulate.port", f"“{text}” is no port.", f"Say {names}.") from error


def _size(value: object) -> int:
    known = isinstance(value, int) and not isinstance(value, bool)
    return min(max(0, int(value)), 10**15) if known else 0  # type: ignore[call-overload]


def _message(value: object) -> bytes | None:
    if not isinstance(value, str):
        return None
    try:
        raw = base64.b64decode(value, validate=True)
    except ValueError as error:
        raise Refused.because("simulate.message", "The message cannot be read.") from error
    if len(raw) > MAX_MESSAGE_BYTES:
        raise Refused.because(
            "simulate.message",
            f"The message is larger than {MAX_MESSAGE_BYTES // 1_048_576} MiB.",
            "Leave it out and give its size.",
        )
    return raw if b"\r\n" in raw else raw.replace(b"\n", b"\r\n")
