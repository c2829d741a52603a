"""The envelope: who sends, to whom, and how reports are wanted (RFC 5321 §2.3.1, RFC 3461).

`mail_from is None` is the null reverse-path `<>`.
"""

from dataclasses import dataclass
from enum import StrEnum

from appliance.mail.address import Address


class Notify(StrEnum):
    """When the sender wants to be told (RFC 3461 §4.1)."""

    NEVER = "NEVER"
    SUCCESS = "SUCCESS"
    FAILURE = "FAILURE"
    DELAY = "DELAY"


@dataclass(frozen=True, slots=True)
class Recipient:
    """One RCPT. An empty `notify` means that the sender said nothing: failure and delay."""

    address: Address
    notify: tuple[Notify, ...] = ()
    orcpt: str = ""  # as given: `rfc822;Bob@example.com`, in xtext

    def wants(self, what: Notify) -> bool:
        """Whether a report of this kind is wanted for this recipient."""
        if not self.notify:
            return what in (Notify.FAILURE, Notify.DELAY)
        return what in self.notify


@dataclass(frozen=True, slots=True)
class Envelope:
    """A complete transaction but for the content."""

    mail_from: Address | None
    recipients: tuple[Recipient, ...]
    smtputf8: bool = False
    eight_bit: bool = False
    ret: str = ""  # FULL, HDRS or nothing (RFC 3461 §4.3)
    envid: str = ""  # as given, in xtext (RFC 3461 §4.4)

    @property
    def sender(self) -> str:
        """The reverse-path as text; empty for the null one."""
        return "" if self.mail_from is None else str(self.mail_from)
