"""What each stage writes into the facts: for the session, and for the simulator that plays one."""

import re
from collections.abc import Sequence

from appliance.mail import message
from appliance.mail.envelope import Recipient
from appliance.mail.esmtp import MailCommand
from appliance.policy.rules import Rules
from appliance.policy.verdict import Facts
from appliance.relay.data_reader import Content

_HELO = re.compile(r"(?:[A-Za-z0-9_](?:[A-Za-z0-9_.\-]*[A-Za-z0-9_.])?|\[[A-Za-z0-9:.\-]+\])\Z")


def arrive(facts: Facts, rules: Rules, peer: str) -> None:
    """A client has connected. IPv4 that came through an IPv6 socket is IPv4."""
    facts.client = peer.removeprefix("::ffff:") if "." in peer else peer
    facts.trusted = rules.trusts(facts.client)


def arrive_at_home(facts: Facts) -> None:
    """A program of the box has come by the socket that is for it alone."""
    facts.client = "127.0.0.1"
    facts.trusted = True


def is_helo(name: str) -> bool:
    """Whether EHLO and HELO take this name (RFC 5321 §4.1.1.1, with the underscores seen)."""
    return len(name) <= 255 and _HELO.match(name) is not None


def name_sender(facts: Facts, command: MailCommand, *, has_room: bool) -> None:
    """MAIL was read."""
    facts.mail_from, facts.announced_size = command.mail_from, command.size
    facts.has_room = has_room


def name_recipient(facts: Facts, recipient: Recipient, so_far: int) -> None:
    """RCPT was read, after `so_far` that were taken."""
    facts.recipient = recipient.address
    facts.recipients_so_far = so_far


def name_all(facts: Facts, recipients: Sequence[Recipient]) -> None:
    """DATA: these are all recipients."""
    facts.recipients = tuple(entry.address for entry in recipients)
    facts.recipient = recipients[0].address if len(recipients) == 1 else None


def show_content(facts: Facts, content: Content) -> None:
    """The final dot has come."""
    facts.size = content.size
    facts.received_count = message.count_received(content.head)
    facts.message = content
