"""Queue ids: short, sortable by time, safe in a file name, a header and a log line."""

import random

from appliance.base.clock import Clock

_DIGITS = "0123456789BCDFGHJKLMNPQRSTVWXZ"  # without vowels: ids must not spell words
_TRIPLES = [a + b + c for a in _DIGITS for b in _DIGITS for c in _DIGITS]
_BASE = len(_TRIPLES)


class QueueIds:
    """Microseconds since 1970 and three random digits; never the same twice in one process.

    They need not be secret, only different, also from those before the clock was set back.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._last = 0

    def next(self) -> str:
        """The next id, 14 characters or so."""
        microseconds = int(self._clock.now().timestamp() * 1_000_000)
        self._last = number = max(self._last + 1, microseconds)
        text = random.choice(_TRIPLES)
        while number:
            number, rest = divmod(number, _BASE)
            text = _TRIPLES[rest] + text
        return text.lstrip("0")
