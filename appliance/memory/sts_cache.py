"""MTA-STS policies that were fetched, until they expire (RFC 8461 §5.1).

All are in memory; the file lets them survive a start, so that somebody who can cut us off from
a policy host cannot make us forget what it asked. The fullest that the cache gets is bounded: then
the policy goes that expires first.
"""

import json
import sqlite3
from dataclasses import dataclass
from pathlib import Path

from appliance.base.database import Database
from appliance.policy.mta_sts import Policy

MAX_POLICIES = 10_000
_SCHEMA = """
CREATE TABLE IF NOT EXISTS sts_policies (
    domain TEXT PRIMARY KEY,
    id TEXT NOT NULL,
    fetched_at REAL NOT NULL,
    mode TEXT NOT NULL,
    max_age_seconds INTEGER NOT NULL,
    mx TEXT NOT NULL,
    text TEXT NOT NULL
)
"""


@dataclass(frozen=True, slots=True)
class Kept:
    """A policy, the id under which it was published, and when it was fetched (since 1970)."""

    id: str
    policy: Policy
    fetched_at: float

    @property
    def expires_at(self) -> float:
        """In seconds since 1970."""
        return self.fetched_at + self.policy.max_age_seconds


class StsCache:
    """Policies by domain. Raises sqlite3.Error when opened on a disk that fails."""

    def __init__(self, path: Path, *, max_policies: int = MAX_POLICIES) -> None:
        self._database = Database(path, _SCHEMA, durable=False)
        self._max_policies = max_policies
        self._kept = {row["domain"]: _read(row) for row in self._rows()}

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, domain: str, now: float) -> Kept | None:
        """What is known and has not expired."""
        found = self._kept.get(domain)
        return found if found is not None and found.expires_at > now else None

    def expiring(self, before: float, now: float) -> list[str]:
        """Domains whose policy expires before that time, to be fetched anew."""
        return [name for name, kept in self._kept.items() if now < kept.expires_at < before]

    def put(self, domain: str, kept: Kept) -> list[str]:
        """Remember in memory; returns the domains that had to go. `store` comes after."""
        self._kept[domain] = kept
        gone = []
        while len(self._kept) > self._max_policies:
            first = min(self._kept, key=lambda name: self._kept[name].expires_at)
            del self._kept[first]
            gone.append(first)
        return gone

    def store(self, domain: str, kept: Kept, gone: list[str]) -> None:
        """Write what `put` did; for a thread. Raises sqlite3.Error."""
        policy = kept.policy
        with self._database.transaction() as db:
            db.executemany("DELETE FROM sts_policies WHERE domain = ?", [(name,) for name in gone])
            db.execute(
                "REPLACE INTO sts_policies VALUES (?, ?, ?, ?, ?, ?, ?)",
                (
                    domain, kept.id, kept.fetched_at, policy.mode, policy.max_age_seconds,
                    json.dumps(policy.mx), json.dumps(policy.text),
                ),
            )  # fmt: skip

    def _rows(self) -> list[sqlite3.Row]:
        return self._database.read().execute("SELECT * FROM sts_policies").fetchall()


def _read(row: sqlite3.Row) -> Kept:
    mx, text = tuple(json.loads(row["mx"])), tuple(json.loads(row["text"]))
    return Kept(row["id"], Policy(row["mode"], row["max_age_seconds"], mx, text), row["fetched_at"])
