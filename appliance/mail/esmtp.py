"""MAIL and RCPT commands with their parameters (RFC 5321 §4.1.1.2, RFC 3461, RFC 6531).

Keywords are read in any case; values keep theirs, for ENVID and ORCPT mean it.
A command that cannot be read raises CommandError, which bears the reply.
"""

import re
from dataclasses import dataclass

from appliance.mail import reply as replies
from appliance.mail.address import Address, AddressError, parse_path
from appliance.mail.envelope import Notify, Recipient
from appliance.mail.reply import Reply

# A quoted local part may hold > and spaces, hence the two alternatives.
_PATH = re.compile(r'[ ]?<((?:"(?:[^"\\]|\\.)*"|[^<>" ])*)>(?: +(.*))?\Z')
_KEYWORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]*\Z")
_VALUE = re.compile(r"[!-<>-~]+\Z")  # RFC 5321 §4.1.2: esmtp-value
_XTEXT = re.compile(r"(?:[!-*,-<>-~]|\+[0-9A-F]{2})+\Z")  # RFC 3461 §4
_ORCPT = re.compile(r"[A-Za-z0-9.-]+;(?:[!-*,-<>-~]|\+[0-9A-F]{2}|[\u0080-\U0010FFFF])+\Z")
MAX_ENVID = 100  # RFC 3461 §4.4
MAX_ORCPT = 500  # RFC 3461 §4.2


class CommandError(ValueError):
    """The command cannot be read; `reply` says so to the client."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(reply.text)
        self.reply = reply


@dataclass(frozen=True, slots=True)
class MailCommand:
    """MAIL FROM as read. `size` is what the client announced, in octets, or 0."""

    mail_from: Address | None
    size: int = 0
    eight_bit: bool = False
    smtputf8: bool = False
    ret: str = ""
    envid: str = ""


def parse_mail(argument: str, *, extended: bool) -> MailCommand:
    """Read what follows `MAIL `. Raises CommandError."""
    path, parameters = _split(argument, "FROM:", extended=extended)
    # RFC 4954 §5: AUTH= is read and means nothing here, for we trust no other server's word
    found = dict.fromkeys(("SIZE", "BODY", "SMTPUTF8", "RET", "ENVID", "AUTH"), "")
    utf8 = False
    for keyword, value in parameters:
        if keyword not in found:
            raise CommandError(replies.UNKNOWN_PARAMETER)
        if found[keyword] or (keyword == "SMTPUTF8") is (value is not None):
            raise CommandError(replies.BAD_SYNTAX)
        found[keyword] = value or "yes"
    utf8 = bool(found["SMTPUTF8"])
    _matching(found["AUTH"], _XTEXT, MAX_ORCPT)
    address = _address(path, replies.BAD_SENDER, smtputf8=utf8)
    if address is not None and not address.domain:
        raise CommandError(replies.BAD_SENDER)
    return MailCommand(
        address,
        size=_size(found["SIZE"]),
        eight_bit=_one_of(found["BODY"], ("7BIT", "8BITMIME")) == "8BITMIME",
        smtputf8=utf8,
        ret=_one_of(found["RET"], ("FULL", "HDRS")),
        envid=_matching(found["ENVID"], _XTEXT, MAX_ENVID),
    )


def parse_rcpt(argument: str, *, extended: bool, smtputf8: bool) -> Recipient:
    """Read what follows `RCPT `. Raises CommandError; the null path is one."""
    path, parameters = _split(argument, "TO:", extended=extended)
    found = {"NOTIFY": "", "ORCPT": ""}
    for keyword, value in parameters:
        if keyword not in found:
            raise CommandError(replies.UNKNOWN_PARAMETER)
        if found[keyword] or not value:
            raise CommandError(replies.BAD_SYNTAX)
        found[keyword] = value
    address = _address(path, replies.BAD_RECIPIENT, smtputf8=smtputf8)
    if address is None:
        raise CommandError(replies.BAD_RECIPIENT)
    if not found["NOTIFY"] and not found["ORCPT"]:
        return Recipient(address)
    return Recipient(
        address, _notify(found["NOTIFY"]), _matching(found["ORCPT"], _ORCPT, MAX_ORCPT)
    )


def _split(argument: str, word: str, *, extended: bool) -> tuple[str, list[tuple[str, str | None]]]:
    """Cut into path and parameters."""
    if argument[: len(word)].upper() != word:
        raise CommandError(replies.BAD_SYNTAX)
    matched = _PATH.match(argument, len(word))
    if not matched:
        raise CommandError(replies.BAD_SENDER if word == "FROM:" else replies.BAD_RECIPIENT)
    path, rest = matched.groups()
    if not rest:
        return path, []
    if not extended:
        raise CommandError(replies.UNKNOWN_PARAMETER)
    return path, [_parameter(part) for part in rest.split()]


def _parameter(part: str) -> tuple[str, str | None]:
    keyword, equals, value = part.partition("=")
    if not _KEYWORD.match(keyword):
        raise CommandError(replies.BAD_SYNTAX)
    if not equals:
        return keyword.upper(), None
    # ENVID and ORCPT are xtext, where "=" and "+" are written as hex; other values know no "=".
    # RFC 6533 §3: with SMTPUTF8 an ORCPT may hold UTF-8 as it is.
    if not _VALUE.match(value) and not (keyword.upper() == "ORCPT" and value.isprintable()):
        raise CommandError(replies.BAD_SYNTAX)
    return keyword.upper(), value


def _address(path: str, refusal: Reply, *, smtputf8: bool) -> Address | None:
    try:
        address = parse_path(path)
    except AddressError as error:
        raise CommandError(refusal) from error
    if address is not None and not smtputf8 and not address.is_ascii:
        raise CommandError(replies.NEEDS_SMTPUTF8)
    return address


def _size(value: str) -> int:
    # RFC 1870 §3: up to 20 digits
    if value and not (value.isascii() and value.isdigit() and len(value) <= 20):
        raise CommandError(replies.BAD_SYNTAX)
    return int(value or 0)


def _one_of(value: str, choices: tuple[str, ...]) -> str:
    if value and value.upper() not in choices:
        raise CommandError(replies.BAD_SYNTAX)
    return value.upper()


def _matching(value: str, pattern: re.Pattern[str], limit: int) -> str:
    if value and (len(value) > limit or not pattern.match(value)):
        raise CommandError(replies.BAD_SYNTAX)
    return value


def _notify(value: str) -> tuple[Notify, ...]:
    words = value.upper().split(",") if value else []
    try:
        wishes = tuple(dict.fromkeys(Notify(word) for word in words))
    except ValueError as error:
        raise CommandError(replies.BAD_SYNTAX) from error
    # RFC 3461 §4.1: NEVER stands alone
    if Notify.NEVER in wishes and len(wishes) > 1:
        raise CommandError(replies.BAD_SYNTAX)
    return wishes
