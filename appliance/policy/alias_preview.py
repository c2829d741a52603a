"""Where mail to an alias finally goes, in sentences (FEATURES R1). Pure."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from appliance.base.finding import Refused, Result
from appliance.mail.address import Address
from appliance.policy.rewrite import MAX_DEPTH, MAX_TARGETS, Expansion, Kind, Target
from appliance.policy.rules import Rules
from appliance.settings.schema import Settings

SHOWN_PLACES = 20


class Say(StrEnum):
    """What a preview may say; the pages translate it as it stands."""

    MAILBOXES = "Mail to %(alias)s ends in the mailboxes: %(places)s."
    RELAY = "It is handed to the next server for: %(places)s."
    OUTSIDE = "It leaves the box, with its sender rewritten, for: %(places)s."
    KEEPS = "The mailbox %(alias)s keeps a copy."
    ONLY_ON = "The mailbox %(alias)s itself gets nothing as long as this alias stands."
    CIRCLE = (
        "These send mail to each other in a circle: %(places)s. "
        "Each mailbox among them gets one copy, and it ends there."
    )
    UNKNOWN = "Nobody here has the address: %(places)s. It is left out."
    NOWHERE = "Mail to %(alias)s arrives nowhere, so it is refused."
    BOUNDLESS = "%(alias)s leads too far (%(why)s). Mail to it is put off until that is changed."
    NOT_OURS = "%(alias)s is in a domain that is not one of this box, so no mail for it comes here."


@dataclass(frozen=True, slots=True)
class Sentence:
    """One thing to know, and how grave it is."""

    say: Say
    result: Result = Result.OK
    values: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return str(self.say) % self.values

    def to_json(self) -> dict[str, Any]:
        """For the pages: the template and its values too, so that they can translate it."""
        return {
            "result": str(self.result),
            "text": str(self),
            "say": str(self.say),
            "values": self.values,
        }


@dataclass(frozen=True, slots=True)
class Preview:
    """One alias followed to its ends."""

    alias: str
    expansion: Expansion
    sentences: tuple[Sentence, ...]

    def to_json(self) -> dict[str, Any]:
        return {
            "alias": self.alias,
            "targets": [
                {"address": str(t.address), "kind": str(t.kind), "via": list(t.via)}
                for t in self.expansion.targets
            ],
            "circle": list(self.expansion.circle),
            "unknown": list(self.expansion.unknown),
            "trouble": self.expansion.trouble,
            "sentences": [sentence.to_json() for sentence in self.sentences],
        }


def preview(rules: Rules, alias: str) -> Preview:
    """What becomes of mail to `alias`, which need not be one: any address may be asked for."""
    name, at, domain = alias.strip().lower().rpartition("@")
    if not at:
        name, domain = domain, rules.main_domain
    found = rules.expand(Address(name, domain, domain))
    return Preview(alias, found, tuple(_sentences(rules, alias, name, domain, found)))


def _sentences(
    rules: Rules, alias: str, name: str, domain: str, found: Expansion
) -> Iterable[Sentence]:
    if domain and domain not in rules.mail_domains and domain not in rules.relay_domains:
        yield Sentence(Say.NOT_OURS, Result.WARN, {"alias": alias})
        return
    if found.trouble:
        yield Sentence(Say.BOUNDLESS, Result.BAD, {"alias": alias, "why": found.trouble})
        return
    for kind, say in (
        (Kind.MAILBOX, Say.MAILBOXES),
        (Kind.RELAY, Say.RELAY),
        (Kind.OUTSIDE, Say.OUTSIDE),
    ):
        if places := _places(rules, [t for t in found.targets if t.kind is kind]):
            yield Sentence(say, Result.OK, {"alias": alias, "places": places})
    if found.is_alias and name in rules.accounts and domain not in rules.relay_domains:
        keeps = any(t.kind is Kind.MAILBOX and t.key[0] == name for t in found.targets)
        yield Sentence(Say.KEEPS if keeps else Say.ONLY_ON, Result.OK, {"alias": alias})
    if found.circle:
        yield Sentence(Say.CIRCLE, Result.WARN, {"places": ", ".join(found.circle[:SHOWN_PLACES])})
    if found.unknown:
        places = ", ".join(found.unknown[:SHOWN_PLACES])
        yield Sentence(Say.UNKNOWN, Result.WARN, {"places": places})
    if not found.targets:
        yield Sentence(Say.NOWHERE, Result.BAD, {"alias": alias})


def _places(rules: Rules, targets: list[Target]) -> str:
    shown = [
        target.address.local if target.kind is Kind.MAILBOX else str(target.address)
        for target in targets[:SHOWN_PLACES]
    ]
    more = len(targets) - len(shown)
    return ", ".join(shown) + (f" … (+{more})" if more else "")


def refuse_boundless(settings: Settings) -> None:
    """On saving: no alias may lead further than the box follows. Raises Refused."""
    trouble = Rules.from_settings(settings).aliases.trouble()
    if trouble is not None:
        name, why = trouble
        raise Refused.because(
            "settings.rules.aliases",
            f"The alias {name} leads {why}.",
            f"An alias may lead to {MAX_TARGETS} targets in all, over {MAX_DEPTH} aliases in a "
            "row. Make a mailing list of it, or take targets out.",
            "Its mail would reach nobody.",
        )
