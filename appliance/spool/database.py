"""The queue's database: its tables, and how a connection is opened.

WAL with `synchronous=FULL`: a commit returns when the log is on stable storage. Changes to the
tables only ever add, so that the program of the other slot reads what this one wrote.
"""

import sqlite3
from pathlib import Path

VERSION = 1
PAGES_BETWEEN_CHECKPOINTS = 4_000

# Columns that came later: what an older program wrote has their defaults.
_ADDED = (
    ("messages", "skip", "INTEGER NOT NULL DEFAULT 0"),
    ("messages", "no_reports", "INTEGER NOT NULL DEFAULT 0"),
    ("ledger", "steps", "TEXT NOT NULL DEFAULT ''"),
    ("ledger", "times", "INTEGER NOT NULL DEFAULT 1"),  # attempts that a refusal's row stands for
    ("attempts", "author", "TEXT NOT NULL DEFAULT ''"),  # who held, released, sent or deleted
)
_TABLES = """
CREATE TABLE IF NOT EXISTS messages (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    queue_id TEXT NOT NULL UNIQUE,
    received_at REAL NOT NULL,
    size INTEGER NOT NULL,
    held INTEGER NOT NULL DEFAULT 0,
    delay_notified INTEGER NOT NULL DEFAULT 0,
    direction TEXT NOT NULL,
    mail_from TEXT,                     -- NULL is the null reverse-path
    smtputf8 INTEGER NOT NULL,
    eight_bit INTEGER NOT NULL,
    ret TEXT NOT NULL,
    envid TEXT NOT NULL,
    client TEXT NOT NULL,
    helo TEXT NOT NULL,
    trace BLOB NOT NULL,
    body_file TEXT NOT NULL,            -- empty: the body is here
    body BLOB                           -- last, so that reading the rest does not touch it
);
CREATE INDEX IF NOT EXISTS messages_of_body ON messages (body_file) WHERE body_file != '';
CREATE INDEX IF NOT EXISTS messages_in_numbers ON messages (received_at, size, held);
CREATE TABLE IF NOT EXISTS recipients (
    id INTEGER PRIMARY KEY,             -- the ledger's
    message_id INTEGER NOT NULL,
    address TEXT NOT NULL,
    domain TEXT NOT NULL,
    notify TEXT NOT NULL,
    orcpt TEXT NOT NULL,
    state TEXT NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    next_attempt_at REAL,               -- NULL: not to be tried (done or held)
    say TEXT NOT NULL DEFAULT '',
    reply TEXT NOT NULL DEFAULT '',
    host TEXT NOT NULL DEFAULT '',
    route TEXT NOT NULL DEFAULT ''
);
CREATE INDEX IF NOT EXISTS recipients_of_message ON recipients (message_id);
CREATE INDEX IF NOT EXISTS recipients_due ON recipients (next_attempt_at)
    WHERE next_attempt_at IS NOT NULL;
CREATE TABLE IF NOT EXISTS ledger (     -- one row a recipient of an accepted message, or a refusal
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    at REAL NOT NULL,
    updated_at REAL NOT NULL,
    queue_id TEXT NOT NULL,             -- of a refusal: the session's id
    client TEXT NOT NULL,
    helo TEXT NOT NULL,
    mail_from TEXT,
    recipient TEXT NOT NULL,
    fate TEXT NOT NULL,
    station TEXT NOT NULL DEFAULT '',   -- the check that refused, or who deleted
    say TEXT NOT NULL DEFAULT '',
    reply TEXT NOT NULL DEFAULT '',
    host TEXT NOT NULL DEFAULT ''
);
CREATE INDEX IF NOT EXISTS ledger_of_message ON ledger (queue_id);
CREATE TABLE IF NOT EXISTS attempts (
    id INTEGER PRIMARY KEY,
    ledger_id INTEGER NOT NULL,
    at REAL NOT NULL,
    state TEXT NOT NULL,
    say TEXT NOT NULL,
    reply TEXT NOT NULL,
    host TEXT NOT NULL,
    route TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS attempts_of_ledger ON attempts (ledger_id);
CREATE INDEX IF NOT EXISTS ledger_refusals ON ledger (at) WHERE fate IN ('refused', 'put off');
CREATE TABLE IF NOT EXISTS tally (      -- rows that left the ledger, and how (reconcile)
    name TEXT PRIMARY KEY,
    number INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS reconciliations (
    id INTEGER PRIMARY KEY,
    at REAL NOT NULL,
    mismatches INTEGER NOT NULL,
    report TEXT NOT NULL                -- JSON
);
"""


def open_for_writing(path: Path) -> sqlite3.Connection:
    """The one connection that writes. Recovery happens here, by SQLite, on each start.

    The log is folded into the database and emptied before anything else: after a failed flush
    its pages may be in memory only, and nothing may be appended behind them.
    Raises sqlite3.Error.
    """
    database = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=30)
    try:
        if not database.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone():
            database.execute("PRAGMA auto_vacuum=INCREMENTAL")  # before the first table or never
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("PRAGMA synchronous=FULL")
        database.execute(f"PRAGMA wal_autocheckpoint={PAGES_BETWEEN_CHECKPOINTS}")
        database.execute("PRAGMA journal_size_limit=67108864")
        busy = database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
        if busy:
            raise sqlite3.OperationalError("the log could not be folded in")
        database.executescript(_TABLES)
        _add_columns(database)
        _begin_tally(database)
        database.execute(f"PRAGMA user_version={VERSION}")
    except sqlite3.Error:
        database.close()
        raise
    return database


def _add_columns(database: sqlite3.Connection) -> None:
    for table, column, kind in _ADDED:
        there = {row[1] for row in database.execute(f"PRAGMA table_info({table})")}
        if column not in there:
            database.execute(f"ALTER TABLE {table} ADD COLUMN {column} {kind}")


def _begin_tally(database: sqlite3.Connection) -> None:
    """Count from now on; what an older program pruned is taken as pruned."""
    database.execute(
        "INSERT OR IGNORE INTO tally SELECT 'pruned', last - (SELECT count(*) FROM ledger)"
        " FROM (SELECT ifnull((SELECT seq FROM sqlite_sequence WHERE name = 'ledger'), 0) AS last)"
        " WHERE NOT EXISTS (SELECT 1 FROM tally WHERE name = 'pruned')"
    )
    database.execute(
        "INSERT OR IGNORE INTO tally SELECT 'pruned to', CASE WHEN number > 0 THEN"
        " ifnull((SELECT seq FROM sqlite_sequence WHERE name = 'ledger'), 0) ELSE 0 END"
        " FROM tally WHERE name = 'pruned'"
    )
    database.execute("INSERT OR IGNORE INTO tally VALUES ('withdrawn', 0)")


def open_for_reading(path: Path) -> sqlite3.Connection:
    """A connection that cannot write. Raises sqlite3.Error."""
    database = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=30)
    database.execute("PRAGMA query_only=ON")
    return database
