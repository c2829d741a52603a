"""Mailboxes on this box: who may fetch mail how, how much each may hold, what goes by itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from appliance.settings.describe import number, switch

if TYPE_CHECKING:
    from appliance.settings.schema import Settings

LMTP_SOCKET = "/run/dovecot/lmtp"  # where the box's own Dovecot takes mail
LOGIN_POLICY_PORT = 11380  # where Dovecot asks the relay about log-ins; loopback
MIB = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Mailboxes:
    """Storage (G7), IMAP (G8), POP3 (G9), size (A4), storage period (A6)."""

    enabled: bool = switch(
        False,
        "Mailboxes on this box",
        "Each account has a mailbox here, on the mailbox disk. Off: the box only passes mail on.",
    )
    imaps: bool = switch(
        True, "IMAP, encrypted (993)", "For mail programs and telephones; encrypted from the start."
    )
    imap: bool = switch(
        True, "IMAP with STARTTLS (143)", "The same for programs that begin in the clear."
    )
    pop3s: bool = switch(
        False, "POP3, encrypted (995)", "For programs that fetch mail and take it away."
    )
    pop3: bool = switch(
        False, "POP3 with STARTTLS (110)", "The same for programs that begin in the clear."
    )
    managesieve: bool = switch(
        False,
        "Filters from the mail program (4190)",
        "People may write their own filters and holiday notices with a program that knows "
        "ManageSieve; from trusted networks only.",
    )
    quota_bytes: int = number(
        2048 * MIB,
        0,
        1024 * 1024 * MIB,
        "bytes",
        "Largest mailbox",
        "A full mailbox takes no mail until there is room; its owner is told in time. "
        "0: no limit. An account can have a figure of its own.",
    )
    trash_days: int = number(
        30,
        0,
        3650,
        "days",
        "Keeps the trash for",
        "Then what lies there is removed for good. 0: for ever.",
    )
    junk_days: int = number(
        30,
        0,
        3650,
        "days",
        "Keeps junk for",
        "Then what lies there is removed for good. 0: for ever.",
    )
    spam_to_junk: bool = switch(
        True, "Spam goes to the junk folder", "What the spam filter takes for junk is filed there."
    )
    full_text_search: bool = switch(
        True,
        "Search in whole letters",
        "Keeps an index, so that searching the text of all letters takes no time. "
        "It needs about a tenth of the room of the mail.",
    )


def lmtp(settings: Settings) -> str:
    """Where mail for mailboxes goes: the server that was named, else the box's own, else ""."""
    return settings.delivery.lmtp or (LMTP_SOCKET if settings.mailboxes.enabled else "")
