"""The makers of settings' descriptions, one for each kind of value."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import field
from typing import Any

from appliance.settings import parse
from appliance.settings.parse import JSON


def setting(
    default: Any, label: str, help: str, kind: str, parser: Callable[[JSON], Any], **more: Any
) -> Any:
    """A dataclass field that bears its description."""
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


def list_(
    default: tuple[Any, ...],
    item: Callable[[JSON], Any],
    of: str,
    label: str,
    help: str,
    **more: Any,
) -> Any:
    return setting(default, label, help, "list", parse.many(item), item=of, **more)
