"""The arguments of the steward's actions, checked on the root side.

Whoever calls may have been taken over. An argument is a small typed value with a limit; there
are no paths, no program names, no free text that reaches a program. Unknown arguments are
refused, so that a caller learns at once that an option does not exist.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from appliance.base.finding import Refused
from appliance.mail import domain as domains

MAX_AUTHOR_CHARACTERS = 100
MAX_HISTORY = 1000


@dataclass(frozen=True, slots=True)
class Argument:
    """One argument: how it is read, and its value when it is left out (None: must be given)."""

    read: Callable[[Any], Any]
    default: Any = None
    optional: bool = False


def refuse(name: str, say: str) -> Refused:
    return Refused.because(f"steward.{name}", say)


def author(raw: Any) -> str:
    """A name for the history: short, printable, one line."""
    if not isinstance(raw, str) or not 0 < len(raw) <= MAX_AUTHOR_CHARACTERS:
        raise ValueError("a name of at most 100 characters")
    if not raw.isprintable():
        raise ValueError("a name without control characters")
    return raw


def short_text(limit: int) -> Callable[[Any], str]:
    """Text on one line; what it has to look like is judged by who keeps it."""

    def read(raw: Any) -> str:
        if not isinstance(raw, str) or len(raw) > limit or not (raw.isprintable() or not raw):
            raise ValueError(f"text of at most {limit} characters, without control characters")
        return raw

    return read


def long_text(limit: int) -> Callable[[Any], str]:
    """Text of several lines, such as a table."""

    def read(raw: Any) -> str:
        if not isinstance(raw, str) or len(raw) > limit:
            raise ValueError(f"text of at most {limit} characters")
        return raw

    return read


def one_of(words: Collection[str]) -> Callable[[Any], str]:
    """One of a few words."""

    def read(raw: Any) -> str:
        if not isinstance(raw, str) or raw not in words:
            raise ValueError(f"one of {', '.join(word or 'nothing' for word in words)}")
        return raw

    return read


def settings_object(raw: Any) -> Mapping[str, Any]:
    """A JSON object; the schema judges its content."""
    if not isinstance(raw, dict):
        raise ValueError("a JSON object")
    return raw


def whole_number(low: int, high: int) -> Callable[[Any], int]:
    def read(raw: Any) -> int:
        if not isinstance(raw, int) or isinstance(raw, bool) or not low <= raw <= high:
            raise ValueError(f"a whole number from {low} to {high}")
        return raw

    return read


def domain_name(raw: Any) -> str:
    """A domain in its one canonical form; whether it is one of ours the action knows."""
    if not isinstance(raw, str):
        raise ValueError("a domain")
    try:
        return domains.normalise_hostname(raw)
    except ValueError as error:
        raise ValueError("a domain such as example.com") from error


def boolean(raw: Any) -> bool:
    if not isinstance(raw, bool):
        raise ValueError("true or false")
    return raw


def read(wanted: Mapping[str, Argument], raw: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments as typed values. Raises Refused that names the argument."""
    unknown = raw.keys() - wanted.keys()
    if unknown:
        raise refuse("arguments", f"There is no argument {min(unknown)[:40]!r} here.")
    return {name: _one(name, argument, raw) for name, argument in wanted.items()}


def _one(name: str, argument: Argument, raw: Mapping[str, Any]) -> Any:
    if raw.get(name) is None:
        if argument.optional:
            return argument.default
        raise refuse("arguments", f"The argument {name} is missing.")
    try:
        return argument.read(raw[name])
    except ValueError as error:
        raise refuse("arguments", f"The argument {name} has to be {error}.") from error
