"""How much one account sends, and whether that looks like a stolen password (FEATURES B18).

Two limits an hour put mail off. The brake looks at the spread: recipients outside our own
domains to whom the account has never written. Too many of them, or of their domains, in an hour
or in a day: the mail is taken and held until somebody has looked, and so is all that follows.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from appliance.mail import reply as replies
from appliance.mail.address import Address
from appliance.policy.rules import Rules
from appliance.policy.tools import Tools
from appliance.policy.verdict import Disposition, Facts, Spread, Verdict, defer, note

DAY_FACTOR = 4  # a day may hold so many times what an hour may
MAX_HELD = 100  # messages of a braked account; more are put off


@dataclass(frozen=True, slots=True)
class Limits:
    """What one account may do. Counts an hour; `None`: no brake."""

    messages: int
    recipients: int
    new_addresses: int | None
    new_domains: int | None


class SentBook(Protocol):
    """Who sent how much to whom. Times are seconds since 1970."""

    def so_far(self, login: str, now: float) -> Spread:
        """What the account sent up to now."""
        ...

    def strangers(self, login: str, addresses: Sequence[Address]) -> tuple[int, int]:
        """How many of these addresses, and of their domains, are new to the account."""
        ...

    def add(
        self, login: str, addresses: Sequence[Address], recipients: int, now: float, *, held: bool
    ) -> None:
        """A message goes to `addresses` outside and to `recipients` in all."""
        ...

    def pull(self, login: str, why: str, now: float) -> None:
        """Hold the account's mail from now on."""
        ...


def limits_of(rules: Rules, login: str) -> Limits:
    """The account's own figures, else those of the settings."""
    common, person = rules.settings.submission, rules.people.by_login.get(login)
    return Limits(
        messages=(person.messages_per_hour if person else 0) or common.max_per_hour,
        recipients=(person.recipients_per_hour if person else 0) or common.max_recipients_per_hour,
        new_addresses=common.brake_new_recipients if common.brake else None,
        new_domains=common.brake_new_domains if common.brake else None,
    )


def over_rate(sent: Spread, recipients: int, limits: Limits) -> str:
    """Why one more message to so many is too much; empty when it is not."""
    if sent.messages + 1 > limits.messages:
        return f"more than {limits.messages} messages in an hour"
    if sent.recipients + recipients > limits.recipients:
        return f"more than {limits.recipients} recipients in an hour"
    return ""


def is_unusual(sent: Spread, new_addresses: int, new_domains: int, limits: Limits) -> str:
    """Why the spread looks like a stolen account; empty when it does not."""
    if sent.is_released:
        return ""
    for what, new, hour, day, limit in (
        ("recipients", new_addresses, sent.new_addresses, sent.new_addresses_day,
         limits.new_addresses),
        ("domains", new_domains, sent.new_domains, sent.new_domains_day, limits.new_domains),
    ):  # fmt: skip
        if not new or limit is None:
            continue
        if new + hour > limit:
            return f"{new + hour} new {what} in an hour"
        if new + day > limit * DAY_FACTOR:
            return f"{new + day} new {what} in a day"
    return ""


async def look_up(facts: Facts, rules: Rules, tools: Tools) -> None:
    """What the account sent in the last hour."""
    if facts.user and tools.sent is not None:
        facts.sent = tools.sent.so_far(facts.user, tools.clock.now().timestamp())


def rate(facts: Facts, rules: Rules) -> Verdict | None:
    """Early: before a message, and before each recipient, that would be too many."""
    if not facts.user or facts.sent is None:
        return None
    recipients = facts.recipients_so_far + (1 if facts.recipient is not None else 0)
    why = over_rate(facts.sent, recipients, limits_of(rules, facts.user))
    return defer("rate", replies.TOO_MUCH_MAIL, f"{facts.user}: {why}") if why else None


async def count(facts: Facts, rules: Rules, tools: Tools) -> None:
    """Count the message, unless it is too much; hold it when the brake is on or goes on.

    Nothing is awaited in here: many sessions at once cannot slip past a limit.
    """
    if not facts.user or tools.sent is None:
        return
    book, login, now = tools.sent, facts.user, tools.clock.now().timestamp()
    limits, everybody = limits_of(rules, login), facts.recipients
    sent = facts.sent = book.so_far(login, now)
    if over_rate(sent, len(everybody), limits) or sent.held >= MAX_HELD:
        return
    outside = list(_outside(everybody, rules))
    why = sent.braked
    if not why and (why := is_unusual(sent, *book.strangers(login, outside), limits)):
        book.pull(login, why, now)
        facts.sent = book.so_far(login, now)
    if why:
        facts.worsen(Disposition.QUARANTINE)
    book.add(login, outside, len(everybody), now, held=bool(why))


def counted(facts: Facts, rules: Rules) -> Verdict | None:
    """What came of it."""
    if not facts.user or facts.sent is None:
        return None
    why = over_rate(facts.sent, len(facts.recipients), limits_of(rules, facts.user))
    if why:
        return defer("rate", replies.TOO_MUCH_MAIL, f"{facts.user}: {why}")
    if facts.sent.held >= MAX_HELD:
        why = f"{facts.user}: {MAX_HELD} messages are held already"
        return defer("brake", replies.BRAKE_IS_ON, why)
    if facts.sent.braked:
        return note("brake", f"held, for {facts.user} wrote to {facts.sent.braked}")
    return None


def _outside(addresses: Iterable[Address], rules: Rules) -> Iterable[Address]:
    return (
        address
        for address in addresses
        if address.domain_key
        and address.domain_key not in rules.mail_domains
        and address.domain_key not in rules.relay_domains
    )
