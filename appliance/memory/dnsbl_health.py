"""Whether a block list may be believed: proved, suspended, and why (FEATURES B10).

Three things suspend a list: it fails its proof, it does not answer too often, or it names
callers whose mail is wanted. It is proved again later, with growing pauses. Suspensions outlive
a start; the rest is in memory.
"""

from __future__ import annotations

import sqlite3
from collections import deque
from collections.abc import Iterable
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path

from appliance.base.clock import Clock
from appliance.base.database import Database
from appliance.base.finding import Finding, Result

PROOF_SECONDS = 3600.0  # so long a proof holds
FIRST_PAUSE_SECONDS = 600.0
LONGEST_PAUSE_SECONDS = 6 * 3600.0
GOOD_SENDERS_PAUSE_SECONDS = 24 * 3600.0
WINDOW = 20  # the last answers that are looked at ...
MAX_FAILURES = 5  # ... and how many of them may be missing
MAX_GOOD_CLIENTS = 3  # wanted callers in a day that a list may name
DAY_SECONDS = 86_400.0

_SCHEMA = """
CREATE TABLE IF NOT EXISTS suspended (
    zone TEXT PRIMARY KEY, until REAL NOT NULL, why TEXT NOT NULL, times INTEGER NOT NULL
)
"""


@dataclass(slots=True)
class _Zone:
    proved_at: float | None = None  # on the monotonic clock
    suspended_until: float = 0.0  # seconds since 1970
    why: str = ""
    times: int = 0  # suspensions in a row
    answers: deque[bool] = field(default_factory=lambda: deque(maxlen=WINDOW))
    good_clients: dict[str, float] = field(default_factory=dict)


class DnsblHealth:
    """The state of each zone. Raises sqlite3.Error when opened on a disk that fails."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self._clock = clock
        self._database = Database(path, _SCHEMA, durable=False)
        self._zones: dict[str, _Zone] = {}
        for row in self._database.read().execute("SELECT * FROM suspended"):
            self._zones[row["zone"]] = _Zone(
                suspended_until=row["until"], why=row["why"], times=row["times"]
            )

    def copy(self) -> DnsblHealth:
        """One that starts from the same state, learns for itself and writes nothing."""
        return _Copy(self)

    def proof_age(self, zone: str) -> float | None:
        """Seconds since the zone proved itself; None when it has to do so first."""
        at = self._of(zone).proved_at
        return None if at is None else self._clock.monotonic() - at

    def suspended(self, zone: str) -> str:
        """Why it does not count at the moment; empty when it may."""
        found = self._of(zone)
        left = found.suspended_until - self._now()
        # A clock that was set back must not suspend a list for years.
        return found.why if 0 < left <= GOOD_SENDERS_PAUSE_SECONDS else ""

    def proved(self, zone: str) -> None:
        """The proof went well."""
        found = self._of(zone)
        found.proved_at = self._clock.monotonic()
        if found.times and not self.suspended(zone):
            found.times, found.why, found.suspended_until = 0, "", 0.0
            self._store(zone, found)

    def failed_proof(self, zone: str, why: str) -> None:
        """The proof failed."""
        self._suspend(zone, why, self._pause(zone))

    def answered(self, zone: str, *, in_time: bool) -> None:
        """Whether it answered a look-up."""
        answers = self._of(zone).answers
        answers.append(in_time)
        if answers.count(False) >= MAX_FAILURES:
            why = f"it left {answers.count(False)} of the last {len(answers)} questions unanswered"
            self._suspend(zone, why, self._pause(zone))

    def good_sender_listed(self, zone: str, client: str) -> None:
        """It named a caller whose mail is wanted."""
        clients, now = self._of(zone).good_clients, self._now()
        clients[client] = now
        for old in [ip for ip, at in clients.items() if not 0 <= now - at < DAY_SECONDS]:
            del clients[old]
        if len(clients) >= MAX_GOOD_CLIENTS:
            why = f"it names {len(clients)} servers of senders that this office writes to"
            self._suspend(zone, why, GOOD_SENDERS_PAUSE_SECONDS)

    def findings(self, zones: Iterable[str]) -> list[Finding]:
        """The notices: one for each list that is suspended."""
        return [
            Finding(
                check="filter.dnsbl_zones",
                result=Result.WARN,
                say=f"The block list {zone} is suspended: {why}.",
                means="Mail is taken without asking it; the other filters go on.",
                fix="It is tried again by itself. If it stays so, take it out of the list.",
            )
            for zone in zones
            if (why := self.suspended(zone))
        ]

    def _of(self, zone: str) -> _Zone:
        return self._zones.setdefault(zone, _Zone())

    def _now(self) -> float:
        return self._clock.now().timestamp()

    def _pause(self, zone: str) -> float:
        times = min(self._of(zone).times, 20)
        return min(FIRST_PAUSE_SECONDS * float(2**times), LONGEST_PAUSE_SECONDS)

    def _suspend(self, zone: str, why: str, seconds: float) -> None:
        found = self._of(zone)
        found.suspended_until, found.why = self._now() + seconds, why
        found.times += 1
        found.proved_at = None
        found.answers.clear()
        found.good_clients.clear()
        self._store(zone, found)

    def _store(self, zone: str, found: _Zone) -> None:
        """A suspension that cannot be written is still in force until the next start."""
        try:
            with self._database.transaction() as db:
                db.execute("DELETE FROM suspended WHERE zone = ?", (zone,))
                if found.times:
                    row = (zone, found.suspended_until, found.why, found.times)
                    db.execute("INSERT INTO suspended VALUES (?, ?, ?, ?)", row)
        except sqlite3.Error:
            return


class _Copy(DnsblHealth):
    def __init__(self, live: DnsblHealth) -> None:  # no file of its own
        self._clock = live._clock
        self._zones = deepcopy(live._zones)

    def _store(self, zone: str, found: _Zone) -> None:
        pass
