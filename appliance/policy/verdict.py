"""Facts in, verdict out.

A verdict says what is to be done, which check decided and why. `reply` goes to the client and
gives nothing away; `why` goes to the mail log, the ledger and the queue page.
"""

from dataclasses import dataclass
from enum import Enum, StrEnum

from appliance.mail.address import Address
from appliance.mail.reply import Reply


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

    CONNECT = "connect"
    MAIL = "mail"
    RCPT = "rcpt"
    DATA = "data"  # before 354
    CONTENT = "content"  # after the final dot


class Action(StrEnum):
    """What is to be done."""

    ACCEPT = "accept"
    REJECT = "reject"
    DEFER = "defer"


@dataclass(slots=True)
class Facts:
    """What is known of a transaction so far. Stages fill it in; checks only read it."""

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
    has_room: bool = True  # on the disk, for `announced_size` above the reserve
    size: int = 0  # of the content, octets
    received_count: int = 0

    @property
    def is_ours(self) -> bool:
        """Whether the client may send to anybody."""
        return self.trusted or bool(self.user)


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
