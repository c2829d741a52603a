"""The words of the hardware: boards, LEDs, what a LED shows. Standard library only."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol


class Function(StrEnum):
    """What a LED is for; the kernel's names where it has one."""

    POWER = "power"
    STATUS = "status"
    MAIL = "mail"


class Colour(StrEnum):
    GREEN = "green"
    AMBER = "amber"
    RED = "red"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pattern:
    """How a LED lights: for `on_ms`, then dark for `off_ms`, again and again.

    Steady is on without ever off; dark is never on. One LED of several colours shows `colour`;
    one of a single colour shows the same times in its own.
    """

    on_ms: int = 0
    off_ms: int = 0
    colour: Colour = Colour.GREEN

    @property
    def is_lit(self) -> bool:
        return self.on_ms > 0

    @property
    def is_steady(self) -> bool:
        return self.on_ms > 0 and self.off_ms == 0


DARK = Pattern()


@dataclass(frozen=True, slots=True)
class Led:
    """A LED of a board."""

    name: str
    function: Function


@dataclass(frozen=True, slots=True, kw_only=True)
class Board:
    """What a board has to show with."""

    name: str
    title: str
    leds: tuple[Led, ...] = ()


class Panel(Protocol):
    """Whatever shows patterns: LEDs, a fake, a line of text."""

    def show(self, function: Function, pattern: Pattern) -> None:
        """Let the LED of `function` show `pattern`; a panel without that LED does nothing."""
        ...
