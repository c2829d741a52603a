"""Queue ids: short, sortable by time, safe in a file name, a header and a log line."""

import random

from appliance.base.clock import Clock

_DIGITS = "0123456789BCDFGHJKLMNPQRSTVWXZ"  # without vowels: ids must not spell words
_RANDOM = 30**3


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
        self._last = max(self._last + 1, microseconds)
        number = self._last * _RANDOM + random.randrange(_RANDOM)
        digits = []
        while number:
            number, rest = divmod(number, 30)
            digits.append(_DIGITS[rest])
        return "".join(reversed(digits))
