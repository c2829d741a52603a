"""What people who signed in may send (RFC 6409), and as whom.

Clients in trusted networks that did not sign in (printers, other servers) are not held to this.
"""

import re
import secrets

from appliance.mail import reply as replies
from appliance.mail import submit_head
from appliance.mail.address import Address
from appliance.mail.from_field import Mailboxes, mailboxes
from appliance.policy.people import address_of
from appliance.policy.rules import Rules
from appliance.policy.tools import Tools
from appliance.policy.verdict import Facts, Verdict, note, reject

_ADDRESS = re.compile(r"[^\s<>()\[\],;:\"']+@[^\s<>()\[\],;:\"']+")


def account_still_exists(facts: Facts, rules: Rules) -> Verdict | None:
    """Who is disabled while a session lasts sends no more."""
    if not facts.user:
        return None
    person = rules.people.by_login.get(facts.user)
    if person is not None and person.enabled:
        return None
    return reject("sign_in", replies.SIGN_IN_FIRST, f"the account {facts.user} is gone or disabled")


def own_sender(facts: Facts, rules: Rules) -> Verdict | None:
    """The sender is the account's own address, or an alias that leads to it.

    The null sender is let through: receipts are sent with it (RFC 8098 §2).
    """
    if not facts.user or facts.mail_from is None:
        return None
    if may_send_as(facts.user, facts.mail_from, rules):
        return None
    why = f"{facts.user} signed in and sends as {facts.mail_from}"
    return reject("own_sender", replies.NOT_YOUR_ADDRESS, why)


def checks_author(rules: Rules) -> bool:
    """The switch."""
    return rules.settings.submission.check_from


def own_author(facts: Facts, rules: Rules) -> Verdict | None:
    """Whoever the letter says it is from is the account, in From and in Sender (RFC 6409 §6.1).

    Several mailboxes in From must all be. A name that shows an address of a colleague is a
    pretence as well: most mail programs show nothing but the name.
    """
    if not facts.user or facts.message is None:
        return None
    for field in ("From", "Sender"):
        found = mailboxes(facts.message.head, field)
        why = found.trouble or _pretends(found, facts.user, rules)
        if why:
            text = f"{facts.user} signed in and writes in {field}: {why}"
            return reject("own_author", replies.NOT_YOUR_FROM, text)
    return None


def _pretends(found: Mailboxes, login: str, rules: Rules) -> str:
    """Whose address stands there that is not the account's; empty: nobody's."""
    for address in found.addresses:
        if not may_send_as(login, address, rules):
            return str(address)
    for word in _ADDRESS.findall(" ".join(found.shown)):
        shown = address_of(word, rules.mail_domains, rules.main_domain)
        if shown is not None and not may_send_as(login, shown, rules):
            return f"a name that shows {shown}"
    return ""


def who_signed_in(facts: Facts, rules: Rules) -> Verdict | None:
    """A line in the trace."""
    return note("sign_in", f"signed in as {facts.user}") if facts.user else None


def one_recipient_without_sender(facts: Facts, rules: Rules) -> Verdict | None:
    """A receipt goes to one; anything else with a null sender is no mail of a person's."""
    if not facts.user or facts.mail_from is not None or not facts.recipients_so_far:
        return None
    why = f"{facts.user} sends without a sender to several"
    return reject("own_sender", replies.ONE_RECIPIENT, why)


async def make_fit(facts: Facts, rules: Rules, tools: Tools) -> None:
    """Take Bcc out, put Date and Message-ID in where they are missing (RFC 6409 §8).

    Only on the ports for it: what other servers in trusted networks hand over on port 25 is
    theirs to answer for, and goes on as it came.
    """
    facts.fitted = ()
    if not facts.port.is_submission or not facts.is_ours or facts.message is None:
        return
    now = tools.clock.now()
    message_id = f"{now:%Y%m%d%H%M%S}.{secrets.token_hex(8)}@{rules.settings.mail.hostname}"
    head = facts.message.head if facts.new_head is None else facts.new_head
    fit = submit_head.fit(head, at=now, message_id=message_id)
    if fit.done:
        facts.new_head, facts.fitted = fit.head, fit.done


def made_fit(facts: Facts, rules: Rules) -> Verdict | None:
    """A line in the trace."""
    return note("submission", ", ".join(facts.fitted)) if facts.fitted else None


def may_send_as(login: str, sender: Address, rules: Rules) -> bool:
    """Whether `sender` is an address of account `login`: its own, or an alias that leads to it.

    An alias of the name of another account (a copy in the holidays) lends nobody that name.
    """
    person = rules.people.owner(sender, rules.mail_domains)
    if person is not None:
        return person.login == login
    return any(
        _is(alias, sender, rules) and any(_leads_to(target, login, rules) for target in targets)
        for alias, targets in aliases(rules)
    )


def aliases(rules: Rules) -> list[tuple[str, tuple[str, ...]]]:
    """The aliases of the settings as names and targets."""
    section = getattr(rules.settings, "rules", None)
    return [(entry.alias, entry.targets) for entry in getattr(section, "aliases", ())]


def _is(alias: str, sender: Address, rules: Rules) -> bool:
    address = address_of(alias, rules.mail_domains, rules.main_domain)
    if address is None or address.local.casefold() != sender.local.casefold():
        return False
    if "@" in alias:
        return address.domain_key == sender.domain_key
    return sender.domain_key in rules.mail_domains


def _leads_to(target: str, login: str, rules: Rules) -> bool:
    address = address_of(target, rules.mail_domains, rules.main_domain)
    if address is None:
        return False
    person = rules.people.owner(address, rules.mail_domains)
    return person is not None and person.login == login
