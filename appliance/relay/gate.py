"""Who is connected: caps on connections, in all and of one address, and the roll of sessions."""

import asyncio
from collections import Counter
from typing import Protocol


class Guest(Protocol):
    """A connected session, as the gate sees it."""

    client: str


class Gate:
    """Counts sessions in and out. One address must not use up everybody's room."""

    def __init__(self) -> None:
        self.sessions: set[Guest] = set()
        self.is_empty = asyncio.Event()
        self.is_empty.set()
        self._of_address: Counter[str] = Counter()

    def enter(self, guest: Guest, *, total: int, per_address: int) -> bool:
        """Let a session in; False when there is no room for it."""
        if len(self.sessions) >= total or self._of_address[guest.client] >= per_address:
            if not self._of_address[guest.client]:
                del self._of_address[guest.client]
            return False
        self.sessions.add(guest)
        self.is_empty.clear()
        self._of_address[guest.client] += 1
        return True

    def leave(self, guest: Guest) -> None:
        """A session is over; saying so twice does no harm."""
        if guest not in self.sessions:
            return
        self.sessions.remove(guest)
        if not self.sessions:
            self.is_empty.set()
        self._of_address[guest.client] -= 1
        if self._of_address[guest.client] <= 0:
            del self._of_address[guest.client]
