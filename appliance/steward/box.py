"""`box.identify`, `box.reset`: what a person standing before the box has to do with it."""

import json
from collections.abc import Callable, Mapping
from typing import Any

from appliance.base.clock import Clock
from appliance.base.files import remove_file, replace_file
from appliance.base.finding import Refused
from appliance.render.apply import Progress
from appliance.render.facts import Place
from appliance.steward.action import Action, Who
from appliance.steward.arguments import Argument, boolean
from appliance.upkeep import resets

IDENTIFY_SECONDS = 300.0


class BoxActions:
    """The actions on the box at `place` as a thing one can touch."""

    def __init__(self, place: Place, clock: Clock, restart: Callable[[], None]) -> None:
        self._place = place
        self._clock = clock
        self._restart = restart

    def table(self) -> Mapping[str, Action]:
        """The verbs."""
        on = {"on": Argument(boolean)}
        what = {"what": Argument(kind_of_reset)}
        everybody = Who.BOTH | Who.PANEL
        at_the_box = Who.ROOT | Who.PANEL
        return {
            "box.identify": Action(do=self.identify, arguments=on, who=everybody, changes=True),
            "box.reset": Action(do=self.reset, arguments=what, who=at_the_box, changes=True),
        }

    def identify(self, progress: Progress, who: Who, *, on: bool) -> Any:
        """Let the box blink for some minutes, so that one finds it; in memory only."""
        path = self._place.run / "identify"
        if not on:
            remove_file(path)
            return {"seconds": 0.0}
        until = self._clock.monotonic() + IDENTIFY_SECONDS
        replace_file(path, json.dumps({"until": until}).encode(), mode=0o644)
        return {"seconds": IDENTIFY_SECONDS}

    def reset(self, progress: Progress, who: Who, *, what: resets.Reset) -> Any:
        """Leave the mark and restart: the start carries it out, while nothing runs."""
        if self._place.dev:
            raise Refused.because("box.reset", "This is a checkout; there is no box to reset.")
        resets.request(self._place.data, what)
        self._restart()
        return {"what": str(what)}


def kind_of_reset(raw: Any) -> resets.Reset:
    """password, network or factory."""
    try:
        return resets.Reset(raw)
    except ValueError as error:
        raise ValueError("password, network or factory") from error
