"""Slowing down who guesses passwords, without locking out who knows theirs.

After `FREE_FAILURES` failures the next try has to wait: a second, then twice as long each
time, up to five minutes. Counted are the network (IPv4 /24, IPv6 /64), the account from that
network, and the account from everywhere. From a network from which this account has signed in
before, only the second counts: neither a stranger's guesses nor a colleague's telephone with an
old password keep somebody out. The same goes for networks that the caller trusts.

A try is counted before the password is looked at and forgiven when it was right, so that a
hundred at once gain nothing. A right password makes the account's failures undone, and not those
of the network: else a guesser with an account of his own would start afresh as he likes.
"""

from __future__ import annotations

import ipaddress
import sqlite3

from appliance.base.clock import Clock
from appliance.base.database import Database

SCHEMA = """
CREATE TABLE IF NOT EXISTS throttle (
    key TEXT PRIMARY KEY, failures INTEGER NOT NULL, last_at REAL NOT NULL) STRICT;
CREATE INDEX IF NOT EXISTS throttle_by_age ON throttle (last_at);
CREATE TABLE IF NOT EXISTS known_net (
    user TEXT NOT NULL, net TEXT NOT NULL, seen_at REAL NOT NULL, PRIMARY KEY (user, net)) STRICT
"""
FREE_FAILURES = 5
LONGEST_WAIT_SECONDS = 300.0
FORGET_AFTER_SECONDS = 24 * 3600.0
KNOWN_NET_SECONDS = 90 * 24 * 3600.0
MAX_KEYS = 10_000
MAX_KNOWN_NETS = 20_000
TIDY_EVERY = 256  # tries


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
    """Counts in a database with the tables of SCHEMA, so that a restart forgets nothing."""

    def __init__(self, db: Database, clock: Clock) -> None:
        self._db = db
        self._clock = clock
        self._tries = 0

    def try_now(self, account: str, peer: str, *, trusted: bool = False) -> float:
        """Count one try. Return 0 when it may go on, else the seconds to wait (not counted)."""
        now = self._clock.now().timestamp()
        name, net = _folded(account), network_of(peer)
        with self._db.transaction() as db:
            keys = _keys(name, net, known=trusted or _is_known(db, name, net))
            wait = max(_remaining(db, key, now) for key in keys)
            if wait > 0:
                return wait
            for key in keys:
                db.execute(
                    "INSERT INTO throttle VALUES (?1, 1, ?2) ON CONFLICT (key) DO UPDATE"
                    " SET failures = failures + 1, last_at = ?2",
                    (key, now),
                )
            if self._tries % TIDY_EVERY == 0:
                _tidy(db, now)
            self._tries += 1
        return 0.0

    def forgive(self, account: str, peer: str, *, trusted: bool = False) -> None:
        """The password was right: forget the account's failures and remember the network."""
        now = self._clock.now().timestamp()
        name, net = _folded(account), network_of(peer)
        with self._db.transaction() as db:
            net_key, from_net, from_all = _keys(name, net, known=False)
            db.execute("DELETE FROM throttle WHERE key = ?", (from_net,))
            if not trusted and not _is_known(db, name, net):  # the others went up with this try
                db.execute("DELETE FROM throttle WHERE key = ?", (from_all,))
                db.execute(
                    "UPDATE throttle SET failures = max(0, failures - 1) WHERE key = ?", (net_key,)
                )
            db.execute("INSERT OR REPLACE INTO known_net VALUES (?, ?, ?)", (name, net, now))


def _folded(account: str) -> str:
    return account.strip().lower()[:64]


def _keys(name: str, net: str, *, known: bool) -> list[str]:
    own = f"account {name} from {net}"
    return [own] if known else [f"net {net}", own, f"account {name}"]


def _is_known(db: sqlite3.Connection, name: str, net: str) -> bool:
    sql = "SELECT 1 FROM known_net WHERE user = ? AND net = ?"
    return db.execute(sql, (name, net)).fetchone() is not None


def _remaining(db: sqlite3.Connection, key: str, now: float) -> float:
    row = db.execute("SELECT failures, last_at FROM throttle WHERE key = ?", (key,)).fetchone()
    if row is None:
        return 0.0
    wait = wait_seconds(row["failures"])
    # A clock that went back must not make the wait longer than it can be.
    last_at: float = row["last_at"]
    return min(wait, max(0.0, last_at + wait - now))


def _tidy(db: sqlite3.Connection, now: float) -> None:
    """Forget what is old, and the oldest of too many."""
    db.execute("DELETE FROM throttle WHERE last_at < ?", (now - FORGET_AFTER_SECONDS,))
    db.execute(
        "DELETE FROM throttle WHERE key IN"
        " (SELECT key FROM throttle ORDER BY last_at DESC LIMIT -1 OFFSET ?)",
        (MAX_KEYS,),
    )
    db.execute("DELETE FROM known_net WHERE seen_at < ?", (now - KNOWN_NET_SECONDS,))
    db.execute(
        "DELETE FROM known_net WHERE rowid IN"
        " (SELECT rowid FROM known_net ORDER BY seen_at DESC LIMIT -1 OFFSET ?)",
        (MAX_KNOWN_NETS,),
    )
