"""Facts in, verdict out.

A verdict says what is to be done, which check decided and why. `reply` goes to the client and
gives nothing away; `why` goes to the mail log, the ledger and the queue page.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum, StrEnum
from typing import Any, Protocol

from appliance.mail.address import Address
from appliance.mail.auth_results import Outcome
from appliance.mail.from_field import FromField
from appliance.mail.reply import Reply
from appliance.policy.arc import ArcResult
from appliance.policy.dkim import DkimResult
from appliance.policy.dmarc import DmarcResult
from appliance.policy.scan import ScanResult
from appliance.policy.spf import SpfResult

_HASH_OF_TEXT: Any = str.__hash__  # an enum's own is typed too narrowly to be replaced


class Port(StrEnum):
    """The door a client came through; the names are those of the systemd sockets."""

    SMTP = "smtp"  # 25: the world
    SUBMISSION = "submission"  # 587: our own people, STARTTLS
    SUBMISSIONS = "submissions"  # 465: our own people, TLS from the start

    @property
    def is_submission(self) -> bool:
        """Whether only our own people come here."""
        return self is not Port.SMTP


class Stage(Enum):
    """When in the session a check runs."""

    __hash__ = object.__hash__  # an enum's own is written in Python, and counts at this rate

    CONNECT = "connect"
    MAIL = "mail"
    RCPT = "rcpt"
    DATA = "data"  # before 354
    CONTENT = "content"  # after the final dot


class Station(StrEnum):
    """The filtering scheme's stations (FEATURES F1); pages, trace and simulator use these names."""

    __hash__ = _HASH_OF_TEXT  # as for Stage

    LIMITS = "limits"
    SANITY = "sanity"
    DNSBL = "dnsbl"
    CLIENT = "client list"
    SENDER = "sender list"
    GREYLIST = "greylist"
    SPF = "spf"
    DKIM = "dkim"
    DMARC = "dmarc"
    SPAM = "spam"
    VIRUS = "virus"
    REWRITE = "rewrite"
    DELIVERY = "delivery"

    @property
    def number(self) -> int:
        """The station's place in the order of F1, 0 to 9."""
        return _NUMBERS[self]


_NUMBERS = {
    Station.LIMITS: 0,
    Station.SANITY: 1,
    Station.DNSBL: 2,
    Station.CLIENT: 3,
    Station.SENDER: 4,
    Station.GREYLIST: 5,
    Station.SPF: 5,
    Station.DKIM: 5,
    Station.DMARC: 5,
    Station.SPAM: 6,
    Station.VIRUS: 7,
    Station.REWRITE: 8,
    Station.DELIVERY: 9,
}


class Action(StrEnum):
    """What is to be done."""

    __hash__ = _HASH_OF_TEXT  # as for Stage

    ACCEPT = "accept"
    NOTE = "note"  # go on; the line goes into the trace
    REJECT = "reject"
    DEFER = "defer"


class Disposition(StrEnum):
    """What becomes of a message that is taken; the later one outweighs."""

    DELIVER = "deliver"
    MARK = "mark"
    JUNK = "junk"
    QUARANTINE = "quarantine"  # held in the queue until somebody looks


@dataclass(frozen=True, slots=True)
class Step:
    """One line of the trace: what a station found. `recipient`: of that recipient only."""

    station: Station
    result: str
    why: str = ""
    recipient: str = ""


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a message: the file names it claims, how it is encoded, where its octets are."""

    names: tuple[str, ...]
    kind: str
    encoding: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Shape:
    """A message's form. `trouble` names the first limit broken; `parts` is then not complete."""

    parts: tuple[Part, ...] = ()
    depth: int = 0
    trouble: str = ""


@dataclass(frozen=True, slots=True)
class Attachments:
    """`forbidden`: names of files; `closed`: archives that could not be looked into, and why."""

    forbidden: tuple[str, ...] = ()
    closed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Listing:
    """What one block list says of a client: its answers in 127/8, and its own words."""

    zone: str
    codes: tuple[str, ...]
    reason: str = ""

    def __str__(self) -> str:
        said = f": {self.reason}" if self.reason else ""
        return f"listed by {self.zone} ({', '.join(self.codes)}){said}"


@dataclass(frozen=True, slots=True)
class BlockLists:
    """What the block lists say; `silent` are those that did not answer in time."""

    listings: tuple[Listing, ...] = ()
    silent: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Greylisted:
    """Whether greylisting lets a sender through; else for how long it is to wait."""

    wait_seconds: int = 0  # 0: it passes
    why: str = ""
    by_signature: bool = False  # the sender's domain signs: the content decides


class Callee(StrEnum):
    """What the next hop says of a recipient."""

    EXISTS = "exists"
    MISSING = "missing"
    UNKNOWN = "unknown"  # it could not be asked, or did not commit itself
    ANYBODY = "anybody"  # it takes every address, so its word means nothing


@dataclass(frozen=True, slots=True)
class Spread:
    """What an account sent in the last hour, and to how many new people in an hour and a day."""

    messages: int = 0
    recipients: int = 0
    new_addresses: int = 0
    new_domains: int = 0
    new_addresses_day: int = 0
    new_domains_day: int = 0
    braked: str = ""  # why its mail is held; empty: it is not
    held: int = 0  # messages
    is_released: bool = False  # somebody has looked not long ago and found all well


class Message(Protocol):
    """The content as checks may read it."""

    head: bytes  # the header, with the CRLF of its last line

    def body_blocks(self) -> Iterable[bytes]:
        """What stands behind the header's empty line, block by block. Raises OSError."""
        ...

    def read(self) -> bytes:
        """All of it. Raises OSError."""
        ...


@dataclass(slots=True)
class Facts:
    """What is known of a transaction so far. Stages and look-ups fill it in; judging reads it."""

    client: str  # IP address
    port: Port
    trusted: bool  # the client's address is in a trusted network
    tls: bool = False
    user: str = ""  # who signed in
    helo: str = ""
    mail_from: Address | None = None
    announced_size: int = 0  # octets, 0 when not said
    recipient: Address | None = None
    recipients_so_far: int = 0
    recipients: tuple[Address, ...] = ()  # all that were accepted, once DATA has come
    sent: Spread | None = None  # by who signed in
    bounce_for: Address | None = None  # `recipient` is our SRS address for this sender
    has_room: bool = True  # on the disk, for `announced_size` above the reserve
    size: int = 0  # of the content, octets
    received_count: int = 0
    message: Message | None = None
    queue_id: str = ""
    shape: Shape | None = None
    attachments: Attachments | None = None
    scan: ScanResult | None = None
    sender_domain: str = ""  # what the DNS says of it; see policy/sender_domain.py
    block_lists: BlockLists | None = None
    written_to: bool = False  # somebody here has written to the sender
    spf: SpfResult | None = None
    greylisted: Greylisted | None = None
    signature_decides: Greylisted | None = None  # of all recipients, the longest wait
    came_back: bool = False  # greylisting let a recipient through because it knows the sender
    known_signer: str = ""  # the domain whose signature greylisting knows
    callee: Callee | None = None
    callee_said: str = ""
    permitted: bool = False  # a permitted client or sender: no spam checks (FEATURES R4)
    disposition: Disposition = Disposition.DELIVER
    author: FromField | None = None  # who stands in From
    dkim: tuple[DkimResult, ...] = ()
    arc: ArcResult | None = None
    dmarc: DmarcResult | None = None
    outcomes: tuple[Outcome, ...] = ()  # as they stand in our result field
    fields: list[bytes] = field(default_factory=list)  # header fields to add, whole lines
    fitted: tuple[str, ...] = ()  # what was done to the header of a person's mail
    new_head: bytes | None = None  # the header as it goes on, when it is not to stay as it came
    steps: list[Step] = field(default_factory=list)

    @property
    def is_ours(self) -> bool:
        """Whether the client may send to anybody."""
        return self.trusted or bool(self.user)

    def forget_message(self) -> None:
        """Another transaction begins on the same connection."""
        self.sent = None
        self.mail_from = self.recipient = self.bounce_for = self.message = None
        self.announced_size = self.recipients_so_far = self.size = self.received_count = 0
        self.queue_id, self.recipients = "", ()
        self.author, self.dkim, self.arc = None, (), None
        self.dmarc, self.outcomes = None, ()
        self.shape = self.attachments = self.scan = None
        self.sender_domain = self.callee_said = ""
        self.written_to = False
        self.spf = self.greylisted = self.signature_decides = self.callee = None
        self.came_back, self.known_signer = False, ""
        self.permitted = False
        self.disposition = Disposition.DELIVER
        self.fields = []
        self.new_head = None
        self.fitted = ()
        self.steps = [step for step in self.steps if step.station in _OF_CONNECTION]

    def worsen(self, disposition: Disposition) -> None:
        """Take the graver of two dispositions."""
        order = list(Disposition)
        if order.index(disposition) > order.index(self.disposition):
            self.disposition = disposition


_OF_CONNECTION = (Station.LIMITS, Station.CLIENT)


@dataclass(frozen=True, slots=True)
class Verdict:
    """The decision of one check."""

    action: Action
    check: str
    reply: Reply | None = None
    why: str = ""


ACCEPTED = Verdict(Action.ACCEPT, "chain")


def reject(check: str, reply: Reply, why: str) -> Verdict:
    """Refuse for good."""
    return Verdict(Action.REJECT, check, reply, why)


def defer(check: str, reply: Reply, why: str) -> Verdict:
    """Refuse for now."""
    return Verdict(Action.DEFER, check, reply, why)


def note(check: str, why: str) -> Verdict:
    """Nothing to decide, but worth a line in the trace."""
    return Verdict(Action.NOTE, check, None, why)


def steps_to_json(steps: Iterable[Step]) -> str:
    """The trace as the ledger keeps it; empty when there is nothing to keep."""
    rows = [[step.station, step.result, step.why] for step in steps]
    return _to_json(rows) if rows else ""


# Made once: json.dumps makes an encoder each time when it is asked for another form than its own.
_to_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
