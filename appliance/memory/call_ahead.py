"""What next hops said of recipients: a yes for hours, a no for less, bounded."""

from __future__ import annotations

from pathlib import Path

from appliance.base.clock import Clock
from appliance.memory.seen import SeenStore, key_of
from appliance.policy.greylist import Seen

MAX_ROWS = 50_000
YES_SECONDS = 12 * 3600.0
NO_SECONDS = 1800.0


class CallAheadStore(SeenStore):
    """Answers by next hop and address. A yes outlives a flood of noes: unconfirmed go first."""

    def __init__(self, path: Path, clock: Clock, *, maximum: int = MAX_ROWS) -> None:
        super().__init__(path, maximum=maximum)
        self._clock = clock

    def answer(self, next_hop: str, address: str) -> bool | None:
        """Yes, no, or not known (any more)."""
        seen = self.get(_key(next_hop, address))
        if seen is None:
            return None
        age = self._clock.now().timestamp() - seen.last
        if not 0 <= age <= (YES_SECONDS if seen.passed else NO_SECONDS):
            return None
        return bool(seen.passed)

    def remember(self, next_hop: str, address: str, *, exists: bool) -> None:
        """Keep what was said."""
        now = self._clock.now().timestamp()
        self.put(_key(next_hop, address), Seen(now, now, int(exists)))


def _key(next_hop: str, address: str) -> bytes:
    return key_of("call ahead", next_hop, address)
