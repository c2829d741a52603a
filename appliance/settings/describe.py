"""How a setting is described: the makers that the sections under `settings/` are written with."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from appliance.settings import parse
from appliance.settings.parse import JSON


@dataclass(frozen=True, slots=True)
class Field:
    """The description of one setting.

    `kind` is one of bool, int, text, choice, list; `unit` is what the number counts
    (seconds, bytes, minutes) or empty; `item` describes one entry of a list.
    """

    name: str
    kind: str
    unit: str
    default: JSON
    label: str
    help: str
    parse: Callable[[JSON], Any] = field(repr=False)
    secret: bool = False
    choices: tuple[str, ...] = ()
    minimum: int | None = None
    maximum: int | None = None
    item: str = ""

    def describe(self) -> dict[str, JSON]:
        """This description as JSON, as `pennypost settings schema --json` prints it."""
        return {
            "name": self.name,
            "type": self.kind,
            "unit": self.unit,
            "default": plain(self.default),
            "label": self.label,
            "help": self.help,
            "secret": self.secret,
            "choices": list(self.choices),
            "minimum": self.minimum,
            "maximum": self.maximum,
            "item": self.item,
        }


def setting(
    default: Any, label: str, help: str, kind: str, parser: Callable[[JSON], Any], **more: Any
) -> Any:
    return field(
        default=default,
        metadata={"label": label, "help": help, "kind": kind, "parse": parser, **more},
    )


def switch(default: bool, label: str, help: str) -> Any:
    return setting(default, label, help, "bool", parse.boolean)


def number(default: int, low: int, high: int, unit: str, label: str, help: str) -> Any:
    parser = parse.whole_number(low, high)
    return setting(default, label, help, "int", parser, unit=unit, minimum=low, maximum=high)


def text(default: str, parser: Callable[[JSON], Any], label: str, help: str, **more: Any) -> Any:
    return setting(default, label, help, "text", parser, **more)


def choice(default: str, choices: tuple[str, ...], label: str, help: str) -> Any:
    return setting(default, label, help, "choice", parse.choice(*choices), choices=choices)


def list_of(
    default: tuple[Any, ...],
    item: Callable[[JSON], Any],
    of: str,
    label: str,
    help: str,
    **more: Any,
) -> Any:
    return setting(default, label, help, "list", parse.many(item), item=of, **more)


def plain(value: Any) -> JSON:
    """A setting's value as JSON types."""
    if isinstance(value, tuple):
        return [plain(item) for item in value]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {name: plain(inner) for name, inner in dataclasses.asdict(value).items()}
    return value
