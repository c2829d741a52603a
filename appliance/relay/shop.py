"""What the relay's parts share: the settings in force and the keepers to ask."""

import secrets
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from appliance.base.clock import Clock
from appliance.dns.remembering import RememberingResolver
from appliance.memory.sent_book import SentBook
from appliance.policy.chain import Chain
from appliance.policy.dkim import SigningKey
from appliance.policy.people import NOBODY, People
from appliance.policy.rules import Rules
from appliance.policy.tally import Tally
from appliance.policy.tools import Tools
from appliance.policy.verdict import Facts, Verdict, steps_to_json
from appliance.relay.gate import Gate
from appliance.relay.ids import QueueIds
from appliance.relay.mail_log import MailLog
from appliance.relay.scanner import HttpScanner
from appliance.relay.sign_in import SignIn
from appliance.relay.signing_desk import SigningDesk
from appliance.settings.schema import Settings
from appliance.spool.ledger import Keeping
from appliance.spool.model import Refusal
from appliance.spool.schedule import Plan
from appliance.spool.store import Spool

if TYPE_CHECKING:
    from appliance.relay.memories import Memories

MAX_NAMED_CHARACTERS = 2_000  # of the recipients of one refusal
INLINE_BODY_BYTES = 65_536  # larger bodies get a file of their own while they arrive


@dataclass(slots=True)
class Shop:
    """Handed to every part; `take` puts other settings in force."""

    spool: Spool
    clock: Clock
    resolver: Any
    log: MailLog
    settings: Settings = field(default_factory=Settings)
    accepting: bool = False
    why_closed: str = ""
    people: People = NOBODY
    sign_in: SignIn | None = None  # None: there are no accounts to sign in with
    book: SentBook | None = None  # who sent how much
    rules: Rules = field(init=False)
    chain: Chain = field(init=False)
    tools: Tools = field(init=False)
    plan: Plan = field(init=False)
    ids: QueueIds = field(init=False)
    gate: Gate = field(default_factory=Gate)
    scanner: HttpScanner | None = None
    counters: Counter[str] = field(default_factory=Counter)
    tally: Tally = field(init=False)
    memories: "Memories | None" = None
    inline_body_bytes: int = INLINE_BODY_BYTES
    srs_secret: bytes = field(default_factory=lambda: secrets.token_bytes(32), repr=False)
    own_scanner: str = ""  # host:port of the box's own, as rendered
    signing_keys: dict[str, tuple[SigningKey, ...]] = field(default_factory=dict, repr=False)
    signing_desk: SigningDesk | None = None  # signs beside us, where that helps
    # Given what is known and a message that is forwarded: an ARC set to put in front of it.
    seal: Callable[[Facts, bytes], bytes] | None = None

    def __post_init__(self) -> None:
        self.ids = QueueIds(self.clock)
        self.tally = Tally(self.clock)
        self.tools = Tools(
            RememberingResolver(self.resolver, self.clock),
            self.clock,
            sent=self.book,
            srs_secret=self.srs_secret,
            tally=self.tally,
        )
        self.take(self.settings, accepting=self.accepting)

    def take(
        self, settings: Settings, *, accepting: bool, why: str = "", scanner: str | None = None
    ) -> None:
        """Put settings in force for whatever begins from now on.

        `scanner` is whom to ask about content; empty for nobody, None as before.
        """
        self.own_scanner = self.own_scanner if scanner is None else scanner
        address = settings.content.scanner or self.own_scanner
        self._take_scanner(address, settings.content.timeout_seconds)
        self.settings = settings
        self.tally.take_zone(settings.box.time_zone)
        self.rules = Rules.from_settings(settings, self.people)
        self.chain = Chain(self.rules)
        queue = settings.queue
        self.plan = Plan(queue.retry_seconds, queue.give_up_seconds, queue.delay_notice_seconds)
        self.spool.keeping = Keeping(queue.ledger_days, queue.ledger_bytes)
        self.accepting = accepting
        self.why_closed = why

    def take_people(self, people: People) -> None:
        """Put the accounts in force that there are now."""
        self.people = people
        self.take(self.settings, accepting=self.accepting, why=self.why_closed)

    def _take_scanner(self, address: str, timeout_seconds: float) -> None:
        old = self.scanner
        if old is not None and (old.address, old.timeout_seconds) == (address, timeout_seconds):
            return
        if old is not None:
            old.close()
        self.scanner = HttpScanner(address, self.clock, timeout_seconds) if address else None
        self.tools.scanner = self.scanner

    @property
    def hostname(self) -> str:
        """The name we greet, sign and trace with."""
        return self.settings.mail.hostname or "localhost"

    def has_room(self, wanted_bytes: int) -> bool:
        """Whether the disk takes a message of this size and still has its reserve."""
        return self.spool.has_room(wanted_bytes, self.settings.queue.reserve_bytes)

    def refused(self, session_id: str, facts: Facts, verdict: Verdict, *, to: str = "") -> None:
        """A refusal: one line in the log, one row in the ledger, both with the true reason.

        `to` names the recipients when it concerns them all.
        """
        reply = verdict.reply
        self.counters["refused"] += 1
        sender = "" if facts.mail_from is None else str(facts.mail_from)
        recipient = "" if facts.recipient is None else str(facts.recipient)
        self.log.event(
            session_id,
            "refused",
            check=verdict.check,
            code=f"{reply.code} {reply.enhanced}" if reply else "",
            why=verdict.why,
            client=facts.client,
            helo=facts.helo,
            from_=f"<{sender}>",
            to=f"<{recipient}>" if recipient else "",
        )
        refusal = Refusal(
            at=self.clock.now(),
            session=session_id,
            client=facts.client,
            helo=facts.helo,
            mail_from=sender,
            recipient=(to or recipient)[:MAX_NAMED_CHARACTERS],
            check=verdict.check,
            why=verdict.why,
            steps=steps_to_json(s for s in facts.steps if s.recipient in ("", recipient)),
            reply=f"{reply.code} {reply.enhanced} {reply.text}" if reply else "",
            temporary=reply is not None and reply.code < 500,
        )
        self.spool.refused((refusal,))
