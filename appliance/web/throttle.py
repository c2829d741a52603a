"""Guessed passwords at the door of the pages: the counter is the one that all doors share.

The relay keeps it (`appliance.memory.throttle`), for mail programs are guessed at too. Where it
does not answer (mail is off, the box is new) the pages count in web.db by the same rules.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from appliance.base.clock import Clock
from appliance.base.finding import PennypostError
from appliance.memory import throttle
from appliance.memory.throttle import network_of, wait_seconds
from appliance.web.daemons import Daemon
from appliance.web.db import Database

__all__ = ["Throttle", "network_of", "wait_seconds"]
ASK_SECONDS = 3.0


class Throttle:
    """`try_now` before a password is looked at, `forgive` when it was right."""

    def __init__(self, db: Database, clock: Clock, relay: Daemon | None = None) -> None:
        self._own = throttle.Throttle(db, clock)
        self._relay = relay

    def try_now(self, account: str, peer: str) -> float:
        """Count one try. Return 0 when it may go on, else the seconds to wait (not counted)."""
        answer = self._ask("throttle.try", account, peer)
        if answer is None:
            return self._own.try_now(account, peer)
        return float(answer.get("wait_seconds", 0.0))

    def forgive(self, account: str, peer: str) -> None:
        """The password was right."""
        self._own.forgive(account, peer)
        self._ask("throttle.forgive", account, peer)

    def _ask(self, verb: str, account: str, peer: str) -> Mapping[str, Any] | None:
        if self._relay is None:
            return None
        try:
            answer = self._relay.ask(
                verb, {"account": account, "peer": peer}, timeout_seconds=ASK_SECONDS
            )
        except PennypostError:
            return None
        return answer if isinstance(answer, dict) else None
