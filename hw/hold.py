"""How long the reset button is held, and what that means (H5); pure.

    up to 2 s    a press: claims the box, or ends the blinking that identifies it
    5 s          the administrator's password
    10 s         the network settings
    20 s         a factory reset; mail is kept
    30 s         nothing any more: something lies on the button

What counts is when it is let go. In the two gaps (2 to 5 s, after 30 s) nothing happens.
"""

from hw.patterns import Stage

STARTS: tuple[tuple[float, Stage], ...] = (
    (30.0, Stage.CANCELLED),
    (20.0, Stage.FACTORY),
    (10.0, Stage.NETWORK),
    (5.0, Stage.PASSWORD),
    (2.0, Stage.NOTHING),
    (0.0, Stage.PRESS),
)


def stage_of(seconds: float) -> Stage:
    """What letting go after so long would do."""
    return next((stage for start, stage in STARTS if seconds >= start), Stage.PRESS)


class Hold:
    """One button between going down and up. Times are those of the monotonic clock."""

    def __init__(self) -> None:
        self._since: float | None = None

    def down(self, now: float) -> None:
        """A second `down` without an `up` (a device that was pulled) begins anew."""
        self._since = now

    def up(self, now: float) -> Stage | None:
        """It was let go: what is to be done; None when it was not held."""
        stage = self.stage(now)
        self._since = None
        return stage

    def forget(self) -> None:
        """The device is gone: nobody lets go of it any more."""
        self._since = None

    def stage(self, now: float) -> Stage | None:
        """The stage reached so far; None when it is not held."""
        return None if self._since is None else stage_of(now - self._since)
