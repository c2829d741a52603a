"""A bounded memory of answers with an end to each: the cheapest cache that does not leak."""

from __future__ import annotations

from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Kept(Generic[K, V]):
    """Answers by key until their time is up. Full, the one goes that was put in first.

    Times are seconds of one clock, handed in: nothing here looks at a clock.
    """

    def __init__(self, maximum: int) -> None:
        self._maximum = maximum
        self._kept: dict[K, tuple[float, V]] = {}

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, key: K, now: float) -> V | None:
        """What is known of `key` and still holds."""
        found = self._kept.get(key)
        if found is None:
            return None
        until, value = found
        if until <= now:
            del self._kept[key]
            return None
        return value

    def put(self, key: K, value: V, until: float) -> None:
        """Remember until then."""
        self._kept.pop(key, None)
        while len(self._kept) >= self._maximum:
            del self._kept[next(iter(self._kept))]
        self._kept[key] = (until, value)

    def forget(self, key: K) -> None:
        """Ask again next time."""
        self._kept.pop(key, None)

    def clear(self) -> None:
        """Forget everything."""
        self._kept.clear()


class ReadThrough(Kept[K, V]):
    """Knows what `live` knows; what is put here stays here."""

    MAXIMUM = 1_000

    def __init__(self, live: Kept[K, V]) -> None:
        super().__init__(self.MAXIMUM)
        self._live = live

    def get(self, key: K, now: float) -> V | None:
        own = super().get(key, now)
        return self._live.get(key, now) if own is None else own
