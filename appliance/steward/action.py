"""One entry of the steward's table: what is done, with which arguments, for whom."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Flag, auto
from typing import Any

from appliance.steward.arguments import Argument


class Who(Flag):
    """Who may ask: root (the CLI) and the web's user."""

    ROOT = auto()
    WEB = auto()
    PANEL = auto()
    BOTH = ROOT | WEB


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """One entry of the table."""

    do: Callable[..., Any]
    arguments: Mapping[str, Argument] = field(default_factory=dict)
    who: Who = Who.BOTH
    changes: bool = False  # worth a line in the log
