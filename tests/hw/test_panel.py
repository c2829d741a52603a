"""What the LEDs show for each state of the box."""

import itertools

import pytest

from hw.fake import FAKE_BOARD, FakePanel
from hw.model import Function, Pattern
from hw.panel import BoxState, patterns


def line(state: BoxState) -> str:
    panel = FakePanel()
    for function, pattern in patterns(state).items():
        panel.show(function, pattern)
    return panel.text()


@pytest.mark.parametrize(
    ("state", "shown"),
    [
        (
            BoxState(starting=True),
            "power blinking green · status blinking green · mail dark",
        ),
        (BoxState(), "power steady green · status blinking amber · mail dark"),
        (BoxState(claimed=True), "power steady green · status steady green · mail dark"),
        (
            BoxState(claimed=True, mail_wanted=True, mail_running=True),
            "power steady green · status steady green · mail steady green",
        ),
        (
            BoxState(claimed=True, mail_wanted=True, failing=True),
            "power steady green · status flickering red · mail blinking amber",
        ),
        (
            BoxState(claimed=True, stopping=True),
            "power blinking green · status steady green · mail dark",
        ),
    ],
)
def test_each_state_has_its_picture(state: BoxState, shown: str) -> None:
    assert line(state) == shown


def test_every_state_shows_something_on_every_led_of_a_board() -> None:
    for values in itertools.product([False, True], repeat=6):
        state = BoxState(**dict(zip(BoxState.__slots__, values, strict=True)))
        assert patterns(state).keys() == {led.function for led in FAKE_BOARD.leds}


def test_states_differ_by_their_rhythm_and_not_by_colour_alone() -> None:
    rhythms: dict[tuple[int, int], Pattern] = {}
    for values in itertools.product([False, True], repeat=6):
        state = BoxState(**dict(zip(BoxState.__slots__, values, strict=True)))
        for pattern in patterns(state).values():
            known = rhythms.setdefault((pattern.on_ms, pattern.off_ms), pattern)
            assert known.colour == pattern.colour


def test_a_panel_that_is_shown_the_same_again_does_not_flicker() -> None:
    panel = FakePanel()
    for _ in range(3):
        panel.show(Function.POWER, Pattern(on_ms=10))
    assert len(panel.changes) == 1
