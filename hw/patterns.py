"""From the state of the box to what its LEDs show; pure.

Steady green is well, slow blinking is busy, amber asks for somebody, fast red is broken. The
states are told apart by their rhythm as well, for people who do not see the colours and for
boards with a single-colour LED.

| role     | steady green | blinking               | amber                 | red, fast         |
|----------|--------------|------------------------|-----------------------|-------------------|
| power    | on           | starting, stopping     |                       |                   |
| health   | all is well  | starting               | unclaimed, needs help | something failed  |
| mail     | mail flows   | a letter comes or goes | wanted, does not run  |                   |
| disk     | ready        | formatting, copying    |                       | missing, failing  |
| update   |              | heartbeat: updating    |                       |                   |
| identify |              | this is the box        |                       |                   |
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import Enum, StrEnum, auto

from hw.model import DARK, Colour, Pattern, Role, Trigger

STEADY = Pattern(on_ms=1000)
BUSY = Pattern(on_ms=500, off_ms=500)
WAITING = Pattern(on_ms=100, off_ms=1900, colour=Colour.AMBER)
NEEDS_HELP = Pattern(on_ms=1000, off_ms=200, colour=Colour.AMBER)
BROKEN = Pattern(on_ms=125, off_ms=125, colour=Colour.RED)
LETTER = Pattern(on_ms=200, off_ms=100)
UPDATING = Pattern(on_ms=100, off_ms=600, trigger=Trigger.HEARTBEAT)
DISK_READY = Pattern(on_ms=1000, trigger=Trigger.DISK_ACTIVITY)
IDENTIFY = Pattern(on_ms=250, off_ms=250, colour=Colour.BLUE)


class MailDisk(StrEnum):
    """The disk of the mailboxes, as far as a LED tells."""

    NONE = "none"
    READY = "ready"
    BUSY = "busy"
    FAULT = "fault"


class Mail(StrEnum):
    """The mail service."""

    OFF = "off"
    DOWN = "down"  # wanted, but it does not run or takes nothing
    FLOWS = "flows"
    LETTER = "letter"  # one came or went just now


class Stage(Enum):
    """How long the reset button is held: what letting go would do."""

    PRESS = auto()
    NOTHING = auto()
    PASSWORD = auto()
    NETWORK = auto()
    FACTORY = auto()
    CANCELLED = auto()


STAGES: Mapping[Stage, Pattern] = {
    Stage.NOTHING: Pattern(on_ms=900, off_ms=100, colour=Colour.WHITE),
    Stage.PASSWORD: Pattern(on_ms=300, off_ms=900, colour=Colour.WHITE),
    Stage.NETWORK: Pattern(on_ms=200, off_ms=300, colour=Colour.WHITE),
    Stage.FACTORY: Pattern(on_ms=50, off_ms=50, colour=Colour.WHITE),
    Stage.CANCELLED: DARK,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class BoxState:
    """What the panel has to know of the box."""

    starting: bool = False
    stopping: bool = False
    claimed: bool = False
    failing: bool = False  # a service that is wanted does not run
    attention: bool = False  # somebody has to decide something
    updating: bool = False
    mail: Mail = Mail.OFF
    disk: MailDisk = MailDisk.NONE
    identify: bool = False
    stage: Stage | None = None  # None: the reset button is not held


def patterns(state: BoxState) -> dict[Role, Pattern]:
    """The pattern of every role. The first reason that holds wins."""
    return {
        Role.POWER: BUSY if state.starting or state.stopping else STEADY,
        Role.HEALTH: _health(state),
        Role.MAIL: _MAIL[state.mail],
        Role.DISK: _DISK[state.disk],
        Role.UPDATE: UPDATING if state.updating else DARK,
        Role.IDENTIFY: IDENTIFY if state.identify else DARK,
    }


_MAIL = {Mail.OFF: DARK, Mail.DOWN: NEEDS_HELP, Mail.FLOWS: STEADY, Mail.LETTER: LETTER}
_DISK = {
    MailDisk.NONE: DARK,
    MailDisk.READY: DISK_READY,
    MailDisk.BUSY: BUSY,
    MailDisk.FAULT: BROKEN,
}


def _health(state: BoxState) -> Pattern:
    if state.stage is not None and state.stage in STAGES:
        return STAGES[state.stage]
    if state.failing:
        return BROKEN
    if state.starting:
        return BUSY
    if not state.claimed:
        return WAITING
    if state.attention or state.disk is MailDisk.FAULT or state.mail is Mail.DOWN:
        return NEEDS_HELP
    return STEADY


def fitted(state: BoxState, roles: Collection[Role]) -> dict[Role, Pattern]:
    """The patterns for a board that has LEDs for `roles` only.

    A single LED shows what matters most. A board without one to identify it by, or for its
    health, shows that on the LED that is nearest in meaning.
    """
    if len(roles) == 1:
        return dict.fromkeys(roles, most_important(state))
    every = patterns(state)
    shown = {role: every[role] for role in roles}
    for lacking in (Role.HEALTH, Role.IDENTIFY):
        if shown and lacking not in roles and every[lacking] not in (STEADY, DARK):
            shown[_stand_in(roles)] = every[lacking]
    return shown


def most_important(state: BoxState) -> Pattern:
    """What one LED alone has to tell."""
    if state.stage is not None and state.stage in STAGES:
        return STAGES[state.stage]
    if state.identify:
        return IDENTIFY
    if state.failing or state.disk is MailDisk.FAULT:
        return BROKEN
    if state.stopping:
        return BUSY
    if state.updating:
        return UPDATING
    health = _health(state)
    return LETTER if health == STEADY and state.mail is Mail.LETTER else health


def _stand_in(roles: Collection[Role]) -> Role:
    """The LED that tells of what has none of its own."""
    order: tuple[Role, ...] = (Role.HEALTH, Role.POWER, *Role)
    return next(role for role in order if role in roles)


_SAID = {
    Stage.NOTHING: "button held; let go now and nothing happens",
    Stage.PASSWORD: "let go now to reset the administrator's password",
    Stage.NETWORK: "let go now to reset the network settings",
    Stage.FACTORY: "let go now for a factory reset; mail is kept",
    Stage.CANCELLED: "held too long; nothing happens",
}


def in_a_word(state: BoxState) -> str:
    """The text LED: one line for consoles, in the order of a single LED."""
    parts = [word for holds, word in _words(state) if holds]
    return " · ".join(parts[:3]) or "ready"


def _words(state: BoxState) -> tuple[tuple[bool, str], ...]:
    return (
        (state.stage in STAGES, _SAID.get(state.stage, "") if state.stage else ""),
        (state.identify, "identify: this is the box"),
        (state.stopping, "stopping"),
        (state.starting, "starting"),
        (state.failing, "FAILING: a service does not run"),
        (state.disk is MailDisk.FAULT, "FAULT: the mail disk is not usable"),
        (state.mail is Mail.DOWN, "ATTENTION: mail is not taken in"),
        (state.attention, "ATTENTION: mail is switched off"),
        (state.updating, "updating; do not switch off"),
        (state.disk is MailDisk.BUSY, "the mail disk is being prepared"),
        (not state.claimed and not state.starting, "waits to be set up"),
    )
