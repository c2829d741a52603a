"""What the LEDs show for each state of the box."""

import itertools
from collections.abc import Iterator
from dataclasses import replace

import pytest

from hw.fake import FAKE_BOARD, FakePanel
from hw.hold import Hold, stage_of
from hw.model import DARK, Pattern, Role
from hw.patterns import (
    BROKEN,
    BUSY,
    IDENTIFY,
    LETTER,
    NEEDS_HELP,
    STAGES,
    STEADY,
    UPDATING,
    WAITING,
    BoxState,
    Mail,
    MailDisk,
    Stage,
    fitted,
    in_a_word,
    most_important,
    patterns,
)

READY = BoxState(claimed=True, mail=Mail.FLOWS)


def line(state: BoxState) -> str:
    """What is lit, in words."""
    panel = FakePanel()
    for role, pattern in patterns(state).items():
        panel.show(role, pattern)
    return " · ".join(part for part in panel.text().split(" · ") if not part.endswith(" dark"))


@pytest.mark.parametrize(
    ("state", "shown"),
    [
        (BoxState(starting=True), "power blinking green · health blinking green"),
        (BoxState(), "power steady green · health blinking amber"),
        (
            BoxState(claimed=True, attention=True),
            "power steady green · health blinking amber",
        ),
        (READY, "power steady green · health steady green · mail steady green"),
        (
            replace(READY, mail=Mail.LETTER),
            "power steady green · health steady green · mail flickering green",
        ),
        (
            replace(READY, mail=Mail.DOWN),
            "power steady green · health blinking amber · mail blinking amber",
        ),
        (
            replace(READY, failing=True),
            "power steady green · health flickering red · mail steady green",
        ),
        (
            replace(READY, disk=MailDisk.READY),
            "power steady green · health steady green · mail steady green · disk steady green",
        ),
        (
            replace(READY, disk=MailDisk.BUSY),
            "power steady green · health steady green · mail steady green · disk blinking green",
        ),
        (
            replace(READY, disk=MailDisk.FAULT),
            "power steady green · health blinking amber · mail steady green · disk flickering red",
        ),
        (
            replace(READY, updating=True),
            "power steady green · health steady green · mail steady green · update blinking green",
        ),
        (
            replace(READY, identify=True),
            "power steady green · health steady green · mail steady green · identify blinking blue",
        ),
        (
            BoxState(claimed=True, stopping=True),
            "power blinking green · health steady green",
        ),
        (
            replace(READY, failing=True, stage=Stage.FACTORY),
            "power steady green · health flickering white · mail steady green",
        ),
    ],
)
def test_each_state_has_its_picture(state: BoxState, shown: str) -> None:
    assert line(state) == shown


def every_state() -> Iterator[BoxState]:
    """Every combination of the switches, each with one word of the others."""
    flags = itertools.product([False, True], repeat=7)
    names = ("starting", "stopping", "claimed", "failing", "attention", "updating", "identify")
    others = [{"mail": mail} for mail in Mail] + [{"disk": disk} for disk in MailDisk]
    others += [{"stage": stage} for stage in (None, *Stage)]
    for values, other in itertools.product(flags, others):
        yield replace(BoxState(**dict(zip(names, values, strict=True))), **other)


def test_every_state_shows_something_on_every_led_and_says_a_word() -> None:
    roles = {led.role for led in FAKE_BOARD.leds}
    for state in every_state():
        assert patterns(state).keys() == roles
        assert in_a_word(state)


def test_states_differ_by_their_rhythm_and_not_by_colour_alone() -> None:
    rhythms: dict[tuple[int, int], Pattern] = {}
    for state in every_state():
        for pattern in (*patterns(state).values(), most_important(state)):
            known = rhythms.setdefault((pattern.on_ms, pattern.off_ms), pattern)
            assert known.colour == pattern.colour


@pytest.mark.parametrize(
    ("state", "shown"),
    [
        (replace(READY, stage=Stage.NETWORK, identify=True), STAGES[Stage.NETWORK]),
        (replace(READY, identify=True, failing=True), IDENTIFY),
        (replace(READY, failing=True, updating=True), BROKEN),
        (replace(READY, disk=MailDisk.FAULT, updating=True), BROKEN),
        (replace(READY, stopping=True, updating=True), BUSY),
        (replace(READY, updating=True, attention=True), UPDATING),
        (BoxState(starting=True), BUSY),
        (BoxState(), WAITING),
        (replace(READY, attention=True), NEEDS_HELP),
        (replace(READY, mail=Mail.DOWN), NEEDS_HELP),
        (replace(READY, mail=Mail.LETTER), LETTER),
        (READY, STEADY),
        (replace(READY, stage=Stage.PRESS), STEADY),
    ],
)
def test_a_single_led_shows_what_matters_most(state: BoxState, shown: Pattern) -> None:
    assert fitted(state, {Role.HEALTH}) == {Role.HEALTH: shown}
    assert fitted(state, {Role.MAIL}) == {Role.MAIL: shown}


def test_a_board_without_a_led_for_health_or_to_identify_it_tells_it_elsewhere() -> None:
    two = {Role.POWER, Role.DISK}
    assert fitted(READY, two) == {Role.POWER: STEADY, Role.DISK: DARK}
    assert fitted(replace(READY, failing=True), two)[Role.POWER] == BROKEN
    assert fitted(replace(READY, failing=True, identify=True), two)[Role.POWER] == IDENTIFY
    with_health = {Role.POWER, Role.HEALTH}
    shown = fitted(replace(READY, failing=True, identify=True), with_health)
    assert shown == {Role.POWER: STEADY, Role.HEALTH: IDENTIFY}
    assert fitted(READY, set()) == {}


@pytest.mark.parametrize(
    ("state", "said"),
    [
        (READY, "ready"),
        (BoxState(), "waits to be set up"),
        (BoxState(starting=True), "starting"),
        (replace(READY, attention=True), "ATTENTION: mail is switched off"),
        (
            replace(READY, disk=MailDisk.FAULT, identify=True),
            "identify: this is the box · FAULT: the mail disk is not usable",
        ),
        (
            replace(READY, stage=Stage.PASSWORD),
            "let go now to reset the administrator's password",
        ),
        (replace(READY, stage=Stage.PRESS), "ready"),
    ],
)
def test_the_text_for_consoles_says_it_in_a_line(state: BoxState, said: str) -> None:
    assert in_a_word(state) == said


@pytest.mark.parametrize(
    ("seconds", "stage"),
    [
        (0.0, Stage.PRESS),
        (1.9, Stage.PRESS),
        (2.0, Stage.NOTHING),
        (4.9, Stage.NOTHING),
        (5.0, Stage.PASSWORD),
        (9.9, Stage.PASSWORD),
        (10.0, Stage.NETWORK),
        (19.9, Stage.NETWORK),
        (20.0, Stage.FACTORY),
        (29.9, Stage.FACTORY),
        (30.0, Stage.CANCELLED),
        (4000.0, Stage.CANCELLED),
    ],
)
def test_what_counts_is_how_long_the_button_was_held(seconds: float, stage: Stage) -> None:
    hold = Hold()
    assert hold.stage(7.0) is None
    hold.down(7.0)
    assert hold.stage(7.0 + seconds + 0.001) is stage
    assert hold.up(7.0 + seconds + 0.001) is stage
    assert hold.up(99.0) is None
    assert stage_of(-1.0) is Stage.PRESS


def test_a_button_whose_device_went_away_orders_nothing() -> None:
    hold = Hold()
    hold.down(0.0)
    hold.forget()
    assert hold.up(25.0) is None
