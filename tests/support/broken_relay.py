"""Relays that break the promise, for the negative controls: a test that cannot fail proves nothing.

BROKEN=early-250     says 250 before the commit, which comes a little later
BROKEN=no-flush      commits without flushing
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from appliance.relay import main
from appliance.spool import database
from appliance.spool.writer import Writer


def say_250_early() -> None:
    """The promise is kept only if nothing happens for the next moments."""

    def submit(self: Writer, apply: Callable[[Any], Any], **_: object) -> asyncio.Future[Any]:
        future: asyncio.Future[Any] = self._loop.create_future()
        future.set_result([])

        def late(batch: Any) -> Any:
            time.sleep(0.05)
            return apply(batch)

        real(self, late)
        return future

    real = Writer.submit
    Writer.submit = submit  # type: ignore[method-assign]


def do_not_flush() -> None:
    """As fast as can be, until the power fails."""

    def open_for_writing(path: Path) -> sqlite3.Connection:
        opened = real(path)
        opened.execute("PRAGMA synchronous=OFF")
        return opened

    real = database.open_for_writing
    database.open_for_writing = open_for_writing


if __name__ == "__main__":
    {"early-250": say_250_early, "no-flush": do_not_flush}[os.environ["BROKEN"]]()
    main.main()
