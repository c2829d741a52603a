"""A resolver that asks the same thing once: for checks that every message makes.

The box's own name server remembers too, by each record's own time; asking it costs a packet and
a parse each time. So answers are kept for half a minute at most, which no mail policy feels.
Failures are never kept: what nobody could say is asked again.
"""

from __future__ import annotations

from appliance.base.clock import Clock
from appliance.base.kept import Kept
from appliance.dns.resolver import Answer, NoSuchName, Resolver

KEEP_SECONDS = 30.0
MAX_ANSWERS = 20_000


class RememberingResolver:
    """Wraps another resolver; raises what that raises."""

    def __init__(self, inner: Resolver, clock: Clock) -> None:
        self._inner = inner
        self._clock = clock
        self._kept: Kept[tuple[str, str], Answer | NoSuchName] = Kept(MAX_ANSWERS)

    async def query(self, name: str, rdtype: str) -> Answer:
        """The records, from memory when they were asked for a moment ago."""
        key = (name, rdtype)
        found = self._kept.get(key, self._clock.monotonic())
        if found is None:
            try:
                found = await self._inner.query(name, rdtype)
            except NoSuchName as error:
                found = error
            self._kept.put(key, found, self._clock.monotonic() + KEEP_SECONDS)
        if isinstance(found, NoSuchName):
            raise NoSuchName(*found.args)
        return found
