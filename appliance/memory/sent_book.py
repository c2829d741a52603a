"""Who sent how much, and to whom for the first time: what the stolen-account brake looks at.

Addresses are kept as hashes. The tables are bounded: what an account wrote to longest ago is
forgotten first. May be lost without losing mail: held mail stays held in the queue.
"""

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

from appliance.base.database import Database
from appliance.mail.address import Address
from appliance.policy.verdict import Spread

HOUR_SECONDS, DAY_SECONDS = 3_600.0, 86_400.0
RELEASED_SECONDS = DAY_SECONDS  # for so long a release is believed
MAX_MET, MAX_SENT, MAX_HELD = 200_000, 100_000, 10_000  # rows
TIDY_EVERY = 256  # messages
_SCHEMA = """
CREATE TABLE IF NOT EXISTS met (
    login TEXT, key BLOB, at REAL NOT NULL, held INTEGER NOT NULL, PRIMARY KEY (login, key)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS met_by_age ON met (at);
CREATE TABLE IF NOT EXISTS sent (
    login TEXT NOT NULL, at REAL NOT NULL, recipients INTEGER NOT NULL,
    new_addresses INTEGER NOT NULL, new_domains INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS sent_by_login ON sent (login, at);
CREATE INDEX IF NOT EXISTS sent_by_age ON sent (at);
CREATE TABLE IF NOT EXISTS brake (
    login TEXT PRIMARY KEY, why TEXT NOT NULL, at REAL NOT NULL, released_at REAL NOT NULL
);
CREATE TABLE IF NOT EXISTS held (
    queue_id TEXT PRIMARY KEY, login TEXT NOT NULL
)
"""
_SUMS = """
SELECT count(*) FILTER (WHERE at > :hour),
    coalesce(sum(recipients) FILTER (WHERE at > :hour), 0),
    coalesce(sum(new_addresses) FILTER (WHERE at > :hour), 0),
    coalesce(sum(new_domains) FILTER (WHERE at > :hour), 0),
    coalesce(sum(new_addresses), 0), coalesce(sum(new_domains), 0)
FROM sent WHERE login = :login AND at > :day AND at <= :now
"""


@dataclass(frozen=True, slots=True)
class Brake:
    """An account whose mail is held: since when (seconds since 1970), why, how many messages."""

    login: str
    since: float
    why: str
    held: int


class SentBook:
    """The keeper. Raises sqlite3.Error only when it is opened; after that it counts less."""

    def __init__(self, path: Path, *, trouble: Callable[[sqlite3.Error], None]) -> None:
        """`trouble` is told what the disk said; mail goes on meanwhile, uncounted."""
        self._database = Database(path, _SCHEMA, durable=False)
        self._trouble = trouble
        self._added = 0

    def so_far(self, login: str, now: float) -> Spread:
        """What the account sent up to now."""
        try:
            db = self._database.read()
            times = {"hour": now - HOUR_SECONDS, "day": now - DAY_SECONDS, "now": now}
            sums = db.execute(_SUMS, {"login": login, **times}).fetchone()
            brake = db.execute(
                "SELECT why, released_at FROM brake WHERE login = ?", (login,)
            ).fetchone()
            (held,) = db.execute("SELECT count(*) FROM held WHERE login = ?", (login,)).fetchone()
        except sqlite3.Error as error:
            self._trouble(error)
            return Spread()
        why, released_at = brake or ("", 0.0)
        return Spread(
            messages=sums[0],
            recipients=sums[1],
            new_addresses=sums[2],
            new_domains=sums[3],
            new_addresses_day=sums[4],
            new_domains_day=sums[5],
            braked=why,
            held=held if why else 0,
            is_released=0 <= now - released_at < RELEASED_SECONDS,
        )

    def strangers(self, login: str, addresses: Sequence[Address]) -> tuple[int, int]:
        """How many of these addresses, and of their domains, are new to the account."""
        try:
            return _strangers(self._database.read(), login, addresses)
        except sqlite3.Error as error:
            self._trouble(error)
            return 0, 0

    def add(
        self, login: str, addresses: Sequence[Address], recipients: int, now: float, *, held: bool
    ) -> None:
        """Count a message. Whom held mail is for, the account has not written to yet."""
        try:
            with self._database.transaction() as db:
                new = _strangers(db, login, addresses)
                db.execute(
                    "INSERT INTO sent VALUES (?, ?, ?, ?, ?)", (login, now, recipients, *new)
                )
                db.executemany(
                    "INSERT INTO met VALUES (?1, ?2, ?3, ?4) ON CONFLICT (login, key)"
                    " DO UPDATE SET at = ?3, held = min(held, ?4)",
                    [(login, key, now, held) for key in _keys(addresses)],
                )
                if self._added % TIDY_EVERY == 0:
                    _tidy(db, now)
                self._added += 1
        except sqlite3.Error as error:
            self._trouble(error)

    def pull(self, login: str, why: str, now: float) -> None:
        """Hold the account's mail from now on."""
        self._write("INSERT OR REPLACE INTO brake VALUES (?, ?, ?, 0)", (login, why, now))

    def hold(self, login: str, queue_id: str) -> None:
        """Remember a message that is held for the brake's sake."""
        self._write("INSERT OR REPLACE INTO held VALUES (?, ?)", (queue_id, login))

    def brakes(self) -> tuple[Brake, ...]:
        """The accounts whose mail is held."""
        try:
            rows = self._database.read().execute(
                "SELECT login, at, why, (SELECT count(*) FROM held WHERE held.login = brake.login)"
                " FROM brake WHERE why <> '' ORDER BY at"
            )
            return tuple(Brake(*row) for row in rows)
        except sqlite3.Error as error:
            self._trouble(error)
            return ()

    def release(self, login: str, now: float) -> tuple[str, ...] | None:
        """All is well: the ids of what was held for it; None when nothing was braked.

        Whom that mail is for counts as known from now on. Raises sqlite3.Error.
        """
        with self._database.transaction() as db:
            done = db.execute(
                "UPDATE brake SET why = '', released_at = ? WHERE login = ? AND why <> ''",
                (now, login),
            )
            if not done.rowcount:
                return None
            ids = db.execute("SELECT queue_id FROM held WHERE login = ?", (login,)).fetchall()
            db.execute("DELETE FROM held WHERE login = ?", (login,))
            db.execute("UPDATE met SET held = 0 WHERE login = ?", (login,))
            db.execute(
                "UPDATE sent SET new_addresses = 0, new_domains = 0 WHERE login = ?", (login,)
            )
        return tuple(queue_id for (queue_id,) in ids)

    def _write(self, sql: str, values: tuple[object, ...]) -> None:
        try:
            with self._database.transaction() as db:
                db.execute(sql, values)
        except sqlite3.Error as error:
            self._trouble(error)


def _strangers(db: sqlite3.Connection, login: str, addresses: Sequence[Address]) -> tuple[int, int]:
    people = {_key(address.local.lower(), address.domain_key) for address in addresses}
    domains = {_key("", address.domain_key) for address in addresses}
    return _unmet(db, login, people), _unmet(db, login, domains)


def _unmet(db: sqlite3.Connection, login: str, keys: set[bytes]) -> int:
    sql = "SELECT 1 FROM met WHERE login = ? AND key = ? AND held = 0"
    return sum(db.execute(sql, (login, key)).fetchone() is None for key in keys)


def _keys(addresses: Sequence[Address]) -> set[bytes]:
    people = {_key(address.local.lower(), address.domain_key) for address in addresses}
    return people | {_key("", address.domain_key) for address in addresses}


def _key(local: str, domain: str) -> bytes:
    """Ten octets; that two addresses share them is less likely than a broken disk."""
    return blake2b(f"{local}@{domain}".encode("utf-8", "replace"), digest_size=10).digest()


def _tidy(db: sqlite3.Connection, now: float) -> None:
    db.execute("DELETE FROM sent WHERE at < ?", (now - DAY_SECONDS,))
    for table, maximum in (("sent", MAX_SENT), ("met", MAX_MET)):
        (count,) = db.execute(f"SELECT count(*) FROM {table}").fetchone()  # noqa: S608  ours
        if count > maximum:
            db.execute(
                f"DELETE FROM {table} WHERE at <= (SELECT at FROM {table} ORDER BY at"  # noqa: S608
                " LIMIT 1 OFFSET ?)",
                (count - maximum,),
            )
    db.execute(
        "DELETE FROM held WHERE rowid IN"
        " (SELECT rowid FROM held ORDER BY rowid DESC LIMIT -1 OFFSET ?)",
        (MAX_HELD,),
    )
