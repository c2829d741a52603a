"""From the state of the box to what its LEDs show; pure.

Steady green is well, slow blinking is busy, amber asks for somebody, fast red is broken. The
states are told apart by their rhythm as well, for people who do not see the colours and for
boards with a single-colour LED.
"""

from dataclasses import dataclass

from hw.model import DARK, Colour, Function, Pattern

STEADY = Pattern(on_ms=1000)
BUSY = Pattern(on_ms=500, off_ms=500)
WAITING = Pattern(on_ms=100, off_ms=1900, colour=Colour.AMBER)
NEEDS_HELP = Pattern(on_ms=1000, off_ms=200, colour=Colour.AMBER)
BROKEN = Pattern(on_ms=125, off_ms=125, colour=Colour.RED)


@dataclass(frozen=True, slots=True, kw_only=True)
class BoxState:
    """What the panel has to know of the box."""

    starting: bool = False
    stopping: bool = False
    claimed: bool = False
    failing: bool = False  # a service that is wanted does not run
    mail_wanted: bool = False
    mail_running: bool = False


def patterns(state: BoxState) -> dict[Function, Pattern]:
    """The pattern of every function. The first reason in each list that holds wins."""
    return {
        Function.POWER: BUSY if state.starting or state.stopping else STEADY,
        Function.STATUS: _status(state),
        Function.MAIL: _mail(state),
    }


def _status(state: BoxState) -> Pattern:
    if state.failing:
        return BROKEN
    if state.starting:
        return BUSY
    if not state.claimed:
        return WAITING
    return STEADY


def _mail(state: BoxState) -> Pattern:
    if not state.mail_wanted:
        return DARK
    return STEADY if state.mail_running else NEEDS_HELP
