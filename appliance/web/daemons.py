"""The steward and the relay, as the pages reach them: by their control sockets."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from appliance.base import control
from appliance.base.clock import Clock
from appliance.base.finding import PennypostError

APPLY_TIMEOUT_SECONDS = 120.0  # for each line of progress, not for the whole


class Daemon:
    """One daemon. Every call may raise `Refused` (its finding) or `Unreachable`."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def ask(
        self,
        verb: str,
        args: Mapping[str, Any] | None = None,
        *,
        timeout_seconds: float = 20.0,
        on_progress: Callable[[Mapping[str, Any]], None] | None = None,
    ) -> Any:
        return control.call(
            self._path, verb, args, timeout_seconds=timeout_seconds, on_progress=on_progress
        )


class RelayState:
    """The relay's state for the header of each page, asked at most every few seconds."""

    KEEP_SECONDS = 5.0

    def __init__(self, relay: Daemon, clock: Clock) -> None:
        self._relay = relay
        self._clock = clock
        self._lock = threading.Lock()
        self._until = 0.0
        self._status: Mapping[str, Any] | None = None

    def status(self) -> Mapping[str, Any] | None:
        """What the relay says of itself; None when it does not answer."""
        with self._lock:
            if self._clock.monotonic() >= self._until:
                try:
                    answer = self._relay.ask("status", timeout_seconds=3.0)
                    self._status = answer if isinstance(answer, dict) else None
                except PennypostError:
                    self._status = None
                self._until = self._clock.monotonic() + self.KEEP_SECONDS
            return self._status

    def forget(self) -> None:
        """Ask again next time: something was just changed."""
        with self._lock:
            self._until = 0.0
