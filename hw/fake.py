"""A board without hardware: for a checkout, for tests, and for machines that have no LEDs."""

from dataclasses import dataclass, field

from hw.model import DARK, Board, Colour, Function, Led, Pattern

FAKE_BOARD = Board(
    name="fake",
    title="A checkout",
    leds=tuple(Led(f"fake:{function}", function) for function in Function),
)
_SIGNS = {Colour.GREEN: "green", Colour.AMBER: "amber", Colour.RED: "red"}


@dataclass(slots=True)
class FakePanel:
    """Remembers what each LED shows and every change, in order."""

    shown: dict[Function, Pattern] = field(default_factory=dict)
    changes: list[tuple[Function, Pattern]] = field(default_factory=list)

    def show(self, function: Function, pattern: Pattern) -> None:
        if self.shown.get(function) != pattern:
            self.shown[function] = pattern
            self.changes.append((function, pattern))

    def text(self) -> str:
        """One line for people: `power steady green · status blinking amber · mail dark`."""
        return " · ".join(
            f"{function} {in_words(self.shown.get(function, DARK))}" for function in Function
        )


def in_words(pattern: Pattern) -> str:
    """A pattern as one would say it."""
    if not pattern.is_lit:
        return "dark"
    if pattern.is_steady:
        return f"steady {_SIGNS[pattern.colour]}"
    speed = "flickering" if pattern.on_ms + pattern.off_ms < 500 else "blinking"
    return f"{speed} {_SIGNS[pattern.colour]}"
