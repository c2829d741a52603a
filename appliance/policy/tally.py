"""How much each station of the filtering scheme decided today (FEATURES F1).

In memory alone: after a restart it counts from then, and says since when.
"""

from collections import Counter
from datetime import UTC, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo

from appliance.base.clock import Clock
from appliance.policy.verdict import Action, Station


class Tally:
    """Counts by station and action since midnight, of the box's own time."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._zone: tzinfo = UTC
        self._counts: Counter[tuple[Station, Action]] = Counter()
        self.since = clock.now()
        self._turn_at(self.since)

    def take_zone(self, name: str) -> None:
        """Where midnight is; a name that cannot be read leaves it where it was."""
        try:
            zone = ZoneInfo(name)
        except (KeyError, OSError, ValueError):  # KeyError: there is no such zone
            return
        if zone != self._zone:
            self._zone = zone
            self._turn_at(self._clock.now())

    def count(self, station: Station, action: Action) -> None:
        """One more."""
        self._turn_page()
        self._counts[station, action] += 1

    def of(self, station: Station) -> dict[str, int]:
        """What it did today, by the action's name; what never happened is 0."""
        self._turn_page()
        return {action.value: self._counts[station, action] for action in Action}

    def _turn_page(self) -> None:
        """A new day begins with nothing, and so does one that was before (a clock set back)."""
        now = self._clock.now()
        if self._not_before <= now < self._until:
            return
        self._counts.clear()
        self.since = now
        self._turn_at(now)

    def _turn_at(self, now: datetime) -> None:
        self._until = _midnight_after(now, self._zone)
        self._not_before = self._until - timedelta(hours=26)


def _midnight_after(now: datetime, zone: tzinfo) -> datetime:
    day = now.astimezone(zone).date() + timedelta(days=1)
    return datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC)
