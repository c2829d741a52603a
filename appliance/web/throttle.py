"""Slowing down who guesses passwords, without locking out who knows theirs.

After `FREE_FAILURES` failures the next try has to wait: a second, then twice as long each
time, up to five minutes. Counted are the network (IPv4 /24, IPv6 /64), the account from that
network, and the account from everywhere. The last one is not asked of a network from which
this account has signed in before: a stranger's guesses then don't keep the administrator out.

A try is counted before the password is looked at and forgiven when it was right, so that a
hundred at once gain nothing.
"""

from __future__ import annotations

import ipaddress
import sqlite3

from appliance.base.clock import Clock
from appliance.web.db import Database

FREE_FAILURES = 5
LONGEST_WAIT_SECONDS = 300.0
FORGET_AFTER_SECONDS = 24 * 3600.0
MAX_KEYS = 10_000


def network_of(peer: str) -> str:
    """The /24 or /64 that `peer` is in; text that is no address stands for itself."""
    try:
        address = ipaddress.ip_address(peer.split("%")[0])
    except ValueError:
        return peer[:64]
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    prefix = 24 if address.version == 4 else 64
    return str(ipaddress.ip_network(f"{address}/{prefix}", strict=False))


def wait_seconds(failures: int) -> float:
    """How long to wait after so many failures: 0, ..., 1, 2, 4, ... 300."""
    if failures < FREE_FAILURES:
        return 0.0
    doubled: float = 2.0 ** min(failures - FREE_FAILURES, 20)
    return min(LONGEST_WAIT_SECONDS, doubled)


class Throttle:
    """Counts in web.db, so that a restart forgets nothing."""

    def __init__(self, db: Database, clock: Clock) -> None:
        self._db = db
        self._clock = clock

    def try_now(self, account: str, peer: str) -> float:
        """Count one try. Return 0 when it may go on, else the seconds to wait (not counted)."""
        now = self._clock.now().timestamp()
        with self._db.transaction() as db:
            keys = self._keys(db, account, peer)
            waits = [self._remaining(db, key, now) for key in keys]
            if max(waits) > 0:
                return max(waits)
            for key in keys:
                db.execute(
                    "INSERT INTO throttle VALUES (?1, 1, ?2) ON CONFLICT (key) DO UPDATE"
                    " SET failures = failures + 1, last_at = ?2",
                    (key, now),
                )
            db.execute(
                "DELETE FROM throttle WHERE last_at < ? OR key NOT IN"
                " (SELECT key FROM throttle ORDER BY last_at DESC LIMIT ?)",
                (now - FORGET_AFTER_SECONDS, MAX_KEYS),
            )
        return 0.0

    def forgive(self, account: str, peer: str) -> None:
        """The password was right: forget the failures and remember the network."""
        now = self._clock.now().timestamp()
        with self._db.transaction() as db:
            for key in self._keys(db, account, peer):
                db.execute("DELETE FROM throttle WHERE key = ?", (key,))
            db.execute(
                "INSERT OR REPLACE INTO known_net VALUES (?, ?, ?)",
                (account, network_of(peer), now),
            )

    def _keys(self, db: sqlite3.Connection, account: str, peer: str) -> list[str]:
        net = network_of(peer)
        name = account.strip().lower()[:64]
        keys = [f"net {net}", f"account {name} from {net}"]
        known = db.execute(
            "SELECT 1 FROM known_net WHERE user = ? AND net = ?", (name, net)
        ).fetchone()
        return keys if known else [*keys, f"account {name}"]

    def _remaining(self, db: sqlite3.Connection, key: str, now: float) -> float:
        row = db.execute("SELECT failures, last_at FROM throttle WHERE key = ?", (key,)).fetchone()
        if row is None:
            return 0.0
        wait = wait_seconds(row["failures"])
        # A clock that went back must not make the wait longer than it can be.
        last_at: float = row["last_at"]
        return min(wait, max(0.0, last_at + wait - now))
