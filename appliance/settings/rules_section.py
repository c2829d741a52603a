"""Rules: aliases and groups (R1 to R3), copies of all mail (A2, A3).

An alias is written as an object or as a line:

    info: r.johnson, j.smith@example.net # whom strangers write to
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from appliance.mail import address as addresses
from appliance.mail.address import AddressError
from appliance.settings import parse
from appliance.settings.describe import setting, text
from appliance.settings.parse import JSON, Bad

MAX_ALIASES = 10_000
MAX_TARGETS_OF_ALIAS = 1_000
MAX_COMMENT = 200

_DOMAIN_TO_TRY = "example.invalid"
_PARTS = re.compile(r"[\s,;]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Alias:
    """A name that stands for others. Without a domain it answers in all our mail domains."""

    alias: str
    targets: tuple[str, ...]
    comment: str = ""

    @classmethod
    def from_json(cls, raw: JSON) -> Alias:
        """Read an object, or a line `alias: target, target # comment`."""
        if isinstance(raw, Alias):
            return raw
        if isinstance(raw, str):
            raw = _of_line(raw)
        if not isinstance(raw, Mapping) or not {"alias", "targets"} <= raw.keys():
            raise Bad("An alias has no name or no targets.", "Give both alias and targets.")
        unknown = raw.keys() - {"alias", "targets", "comment"}
        if unknown:
            raise Bad(f"“{min(unknown)}” is not known here.", "Leave it out.")
        targets = _targets(raw["targets"])
        name = mail_name(raw["alias"])
        if not targets:
            raise Bad(f"“{name}” leads nowhere.", "Give at least one address that gets the mail.")
        return cls(
            alias=name,
            targets=targets,
            comment=parse.text(MAX_COMMENT)(raw.get("comment", "")),
        )

    def to_text(self) -> str:
        """The line that people write."""
        comment = f" # {self.comment}" if self.comment else ""
        return f"{self.alias}: {', '.join(self.targets)}{comment}"


def _of_line(line: str) -> Mapping[str, JSON]:
    rule, _, comment = line.partition("#")
    name, colon, targets = rule.partition(":")
    if not colon:
        raise Bad(f"“{line.strip()[:60]}” is no alias.", "Write it as info: anna, bert@example.net")
    return {"alias": name, "targets": targets, "comment": comment}


def _targets(raw: JSON) -> tuple[str, ...]:
    """Each one once; text may part them by commas, semicolons, spaces or lines."""
    if isinstance(raw, str):
        raw = [part for part in _PARTS.split(raw) if part]
    return parse.many(target, maximum=MAX_TARGETS_OF_ALIAS)(raw)


def mail_name(raw: JSON) -> str:
    """`info` or `info@example.com`, in lower case."""
    return target(raw).lower()


def target(raw: JSON) -> str:
    """An address, whose domain may be left out when it is the main one."""
    value = parse.text(320)(raw)
    local, at, domain = value.rpartition("@")
    if not at:
        local = domain
        domain = ""
    try:
        found = addresses.parse(value if at else f"{value}@{_DOMAIN_TO_TRY}")
    except AddressError as error:
        raise Bad(
            f"“{value[:60]}” is not an address.", "Write it like anna or anna@example.com."
        ) from error
    if local.startswith('"') or domain.startswith("["):
        raise Bad(f"“{value[:60]}” is too unusual here.", "Write it like anna@example.com.")
    return f"{local}@{found.domain_key}" if domain else local


@dataclass(frozen=True, slots=True, kw_only=True)
class Rewriting:
    """Where mail goes that is not for a mailbox of its own name."""

    aliases: tuple[Alias, ...] = setting(
        (),
        "Aliases",
        "Mail to an alias goes to its targets: people, other aliases, addresses elsewhere. "
        "An alias to several is a group.",
        "list",
        parse.many(Alias.from_json, maximum=MAX_ALIASES),
        item="alias: target, target # comment",
    )
    copy_incoming: str = text(
        "",
        parse.optional(target),
        "Copy of all incoming mail",
        "An address that gets a copy of all mail from outside, such as an archive. Empty: none. "
        "Tell the people concerned; in many countries you must.",
    )
    copy_outgoing: str = text(
        "",
        parse.optional(target),
        "Copy of all outgoing mail",
        "An address that gets a copy of all mail that your people and devices send. Empty: none. "
        "Tell the people concerned; in many countries you must.",
    )
