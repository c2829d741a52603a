"""web.db: what the pages themselves must remember.

    session    who is signed in, by the hash of the session id
    throttle   failed sign-ins by account and network
    claim      who is setting the box up, and the pause after wrong codes
    press      the press of the button that was used up
    draft      the wizard's answers so far
    applying   how far the wizard's last step came
    known_net  networks from which an account has signed in before

One transaction per request that writes, `synchronous=FULL`, so that an answer that was
acknowledged in the wizard survives a power cut.
"""

from __future__ import annotations

from pathlib import Path

from appliance.base import database

_SCHEMA = """
CREATE TABLE IF NOT EXISTS session (
    id_hash TEXT PRIMARY KEY, csrf TEXT NOT NULL, user TEXT, flash TEXT,
    opened_at REAL NOT NULL, seen_at REAL NOT NULL, peer TEXT NOT NULL) STRICT;
CREATE INDEX IF NOT EXISTS session_by_age ON session (user, seen_at);
CREATE TABLE IF NOT EXISTS throttle (
    key TEXT PRIMARY KEY, failures INTEGER NOT NULL, last_at REAL NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS known_net (
    user TEXT NOT NULL, net TEXT NOT NULL, seen_at REAL NOT NULL, PRIMARY KEY (user, net)) STRICT;
CREATE TABLE IF NOT EXISTS claim (
    only INTEGER PRIMARY KEY CHECK (only = 1), session TEXT, peer TEXT, at REAL,
    wrong INTEGER NOT NULL DEFAULT 0, paused_until REAL NOT NULL DEFAULT 0) STRICT;
INSERT OR IGNORE INTO claim (only) VALUES (1);
CREATE TABLE IF NOT EXISTS press (
    only INTEGER PRIMARY KEY CHECK (only = 1), used TEXT NOT NULL DEFAULT '') STRICT;
INSERT OR IGNORE INTO press (only) VALUES (1);
CREATE TABLE IF NOT EXISTS draft (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS applying (
    only INTEGER PRIMARY KEY CHECK (only = 1), state TEXT NOT NULL, steps TEXT NOT NULL,
    finding TEXT, at REAL NOT NULL) STRICT;
"""


class Database(database.Database):
    """The file at `path`, with the tables above."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, _SCHEMA)
