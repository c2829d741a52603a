"""The filtering scheme as a list: which stations there are, in which order, and what is on.

Read off the table of `policy/chain.py`, so that a page that draws it cannot be wrong.
"""

from dataclasses import dataclass

from appliance.policy.chain import CHAIN
from appliance.policy.rules import Rules
from appliance.policy.verdict import Stage, Station

# What happens to a message that is taken; these are no checks.
_NAMES = tuple(Station.__members__.values())
_AFTER = (Station.REWRITE, Station.DELIVERY)


@dataclass(frozen=True, slots=True)
class Stop:
    """One station with its checks. `on` of them are asked for by the settings."""

    station: Station
    stages: tuple[Stage, ...]
    checks: int
    on: int
    strangers_only: bool  # our own people pass by all of it

    @property
    def is_on(self) -> bool:
        """Whether anything is done there."""
        return bool(self.on) or self.station in _AFTER


def stops(rules: Rules) -> tuple[Stop, ...]:
    """The stations in the order of F1."""
    found = []
    order: list[Station] = sorted(_NAMES, key=lambda one: one.number)
    for station in order:
        here = [
            (stage, check)
            for stage, checks in CHAIN.items()
            for check in checks
            if check.station is station
        ]
        if not here and station not in _AFTER:
            continue
        found.append(
            Stop(
                station,
                tuple(dict.fromkeys(stage for stage, _ in here)),
                len(here),
                sum(check.is_on is None or check.is_on(rules) for _, check in here),
                bool(here) and all(check.strangers_only for _, check in here),
            )
        )
    return tuple(found)
