"""Whom we have written to: learned when our own mail is taken, forgotten when it is long ago."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from appliance.base.clock import Clock
from appliance.base.kept import Kept
from appliance.memory.seen import SeenStore, key_of
from appliance.policy.greylist import Seen

MAX_ROWS = 100_000
KEEP_SECONDS = 400 * 86_400.0  # a year and a little: who writes once a year is known
REFRESH_SECONDS = 86_400.0


class CorrespondentStore(SeenStore):
    """`policy.greylist.Correspondents`, and how it learns."""

    def __init__(self, path: Path, clock: Clock, *, maximum: int = MAX_ROWS) -> None:
        super().__init__(path, maximum=maximum)
        self._clock = clock
        self._lately: Kept[bytes, bool] = Kept(10_000)

    def knows(self, address: str) -> bool:
        """Whether mail from here went to that address."""
        seen = self.get(_key(address))
        if seen is None:
            return False
        return self._clock.now().timestamp() - seen.last <= KEEP_SECONDS

    def learn(self, addresses: Iterable[str]) -> None:
        """Mail from here goes to them."""
        now, tick = self._clock.now().timestamp(), self._clock.monotonic()
        for address in addresses:
            key = _key(address)
            if self._lately.get(key, tick):
                continue
            self._lately.put(key, True, tick + REFRESH_SECONDS)
            self.put(key, Seen(now, now, 1))


def _key(address: str) -> bytes:
    return key_of("correspondent", address.lower())
