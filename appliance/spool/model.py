"""What the queue holds, as values. Times are aware datetimes at the border, and seconds since
1970 in UTC on disk: the clock may jump, a stored time does not.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum

from appliance.base.finding import Finding, PennypostError, Result
from appliance.mail.address import Address, AddressError, parse_path
from appliance.mail.envelope import Envelope, Notify, Recipient
from appliance.spool.bodies import BodyFile


class SpoolFailed(PennypostError):
    """The disk refused a write or a flush. Nothing of the batch may be acknowledged."""

    def __init__(self, why: str, *, full: bool = False) -> None:
        super().__init__(
            Finding(
                check="spool",
                result=Result.BAD,
                say="The disk is full." if full else "The queue could not be written.",
                means="New mail is not accepted; what was accepted before is safe.",
                fix="Free some room." if full else f"Look at the disk: {why}",
            )
        )
        self.full = full


class State(StrEnum):
    """Where a recipient of a queued message stands."""

    QUEUED = "queued"
    DEFERRED = "deferred"
    DELIVERED = "delivered"
    BOUNCED = "bounced"


class Fate(StrEnum):
    """What became of a recipient, as the ledger has it (FEATURES B2)."""

    QUEUED = "queued"
    DEFERRED = "deferred"
    HELD = "held"
    DELIVERED = "delivered"
    BOUNCED = "bounced"
    DELETED = "deleted"
    REFUSED = "refused"
    PUT_OFF = "put off"  # refused for now: greylisting, no room, a look-up that failed


OPEN_FATES = (Fate.QUEUED, Fate.DEFERRED, Fate.HELD)  # still in the queue
NEVER_ACCEPTED = (Fate.REFUSED, Fate.PUT_OFF)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewMessage:
    """A message to be queued: envelope, our trace fields, and the content as it came.

    The content is `body` (bytes) or, above the threshold, `body_file`. `trace` is what we put
    in front of it; the two are never joined on disk. Where the header itself changes (a Bcc taken
    out, a forged result removed) the whole new header is in `trace`, and `skip` says how many
    octets of the content it stands for. Several messages of one `put` may share a body file.
    `steps` is what each recipient's row in the ledger is to keep of the trace, as JSON; one for
    all, or as many as there are recipients. `no_reports`: whoever sent it may have forged the
    sender, who is told nothing then.
    """

    queue_id: str
    envelope: Envelope
    received_at: datetime
    size: int
    trace: bytes = b""
    body: bytes | None = None
    body_file: BodyFile | None = None
    direction: str = "incoming"
    client: str = ""
    helo: str = ""
    skip: int = 0
    held: bool = False
    no_reports: bool = False
    steps: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class QueuedRecipient:
    """One recipient that is still to be reached. `id` is the ledger's number."""

    id: int
    recipient: Recipient
    attempts: int = 0

    @property
    def domain(self) -> str:
        """The key of the recipient's domain."""
        return self.recipient.address.domain_key


@dataclass(frozen=True, slots=True, kw_only=True)
class QueuedMessage:
    """A message in the queue with those of its recipients that are due."""

    id: int
    queue_id: str
    envelope: Envelope  # its recipients are those below
    received_at: datetime
    size: int
    trace: bytes
    skip: int = 0  # octets of the content that `trace` stands for
    body_file: str = ""  # name in the bodies folder; empty when the body is in the database
    body: bytes | None = None  # None: not read yet
    delay_notified: bool = False
    no_reports: bool = False
    recipients: tuple[QueuedRecipient, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What one attempt did for one recipient. `next_attempt_at` only when deferred."""

    recipient_id: int
    state: State
    say: str
    reply: str = ""
    host: str = ""
    status: str = ""
    route: str = ""
    next_attempt_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """An attempt that was refused, for the ledger."""

    at: datetime
    session: str
    client: str
    helo: str
    mail_from: str
    recipient: str
    check: str
    why: str
    steps: str = ""
    reply: str = ""  # what the client was told
    temporary: bool = False
    times: int = 1  # attempts that this stands for


@dataclass(frozen=True, slots=True)
class Totals:
    """The queue in numbers."""

    messages: int = 0
    bytes: int = 0
    deferred: int = 0
    held: int = 0
    oldest_at: datetime | None = field(default=None)


def to_seconds(at: datetime) -> float:
    """For the database."""
    return at.timestamp()


def from_seconds(seconds: float) -> datetime:
    """From the database."""
    return datetime.fromtimestamp(seconds, UTC)


def address_from_text(text: str) -> Address:
    """An address as it was stored; it was valid then, so a stricter grammar today lets it by."""
    try:
        address = parse_path(text)
    except AddressError:
        address = None
    if address is None:
        local, _, domain = text.rpartition("@")
        return Address(local, domain, domain.lower())
    return address


def notify_from_text(text: str) -> tuple[Notify, ...]:
    """The stored NOTIFY list."""
    return tuple(Notify(word) for word in text.split(",") if word)
