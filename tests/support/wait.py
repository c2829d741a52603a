"""Waiting on a condition, with a limit: the tests never sleep for a fixed time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


class TimedOut(AssertionError):
    """The condition did not come true in time; says which and what was seen last."""


def wait_until(
    condition: Callable[[], T],
    *,
    what: str,
    timeout_seconds: float = 60.0,
    every_seconds: float = 0.1,
    ignore: tuple[type[BaseException], ...] = (),
) -> T:
    """Call `condition` until it returns something true and return that.

    Exceptions named in `ignore` count as "not yet"; the last one is told in the
    message of `TimedOut`.
    """
    end = time.monotonic() + timeout_seconds
    last: object = None
    while True:
        try:
            last = condition()
            if last:
                return last
        except ignore as error:
            last = error
        if time.monotonic() > end:
            raise TimedOut(f"{what}: not in {timeout_seconds:.0f} s; last seen: {last!r}")
        time.sleep(every_seconds)
