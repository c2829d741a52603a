"""Claiming: the box belongs to whom can read its code, or press its button (H6).

The code is made at the first boot; the console and CLAIM.TXT on the boot partition show it. A
press of the button stands for the code for two minutes, and for one person.
Of many visitors at once exactly one gets the box; the others see from where it is being set
up. Who has the code may take over from another browser. Five wrong codes make a pause of 15
minutes, which a restart does not shorten. Once set up, the box is closed for ever (until a
factory reset): the marker file says so, and nothing here opens it again.
"""

from __future__ import annotations

import hmac
import sqlite3
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from appliance.base.clock import Clock
from appliance.render.claim import Press
from appliance.web.db import Database

WRONG_CODES = 5
PAUSE_SECONDS = 15 * 60.0


class Outcome(StrEnum):
    """What became of a code."""

    CLAIMED = "claimed"
    WRONG = "wrong"
    PAUSED = "paused"
    TAKEN = "taken"  # somebody else has it; the code was right
    NO_CODE = "no code"
    NOT_PRESSED = "not pressed"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class Holder:
    """Who is setting the box up."""

    session: str
    peer: str


def folded(code: str) -> bytes:
    """A code as it is compared: case, spaces and hyphens do not matter."""
    return "".join(c for c in code.upper() if c.isalnum()).encode()


class Claim:
    """The claim of this box."""

    def __init__(
        self, db: Database, clock: Clock, *, code: Path, marker: Path, press: Press
    ) -> None:
        self._db = db
        self._clock = clock
        self._code = code
        self._marker = marker
        self._press = press

    def closed(self) -> bool:
        """The box has an owner; the wizard is over."""
        return self._marker.exists()

    def has_code(self) -> bool:
        return self._code.is_file()

    def holder(self) -> Holder | None:
        row = self._db.read().execute("SELECT session, peer FROM claim").fetchone()
        return Holder(row["session"], row["peer"]) if row["session"] else None

    def pause_seconds(self) -> float:
        """How long nobody may try a code; 0 when one may."""
        row = self._db.read().execute("SELECT paused_until FROM claim").fetchone()
        return self._pause_left(row["paused_until"])

    def tries_left(self) -> int:
        row = self._db.read().execute("SELECT wrong FROM claim").fetchone()
        return max(0, WRONG_CODES - int(row["wrong"]))

    def _pause_left(self, until: float) -> float:
        left = until - self._clock.now().timestamp()
        return min(PAUSE_SECONDS, max(0.0, left))  # a clock set back does not make it longer

    def try_code(self, code: str, *, session: str, peer: str, take_over: bool = False) -> Outcome:
        """Claim the box for `session` (the hash of its id)."""
        try:
            right_code = folded(self._code.read_text())
        except OSError:
            return Outcome.CLOSED if self.closed() else Outcome.NO_CODE
        with self._db.transaction() as db:
            if self.closed():
                return Outcome.CLOSED
            row = db.execute("SELECT * FROM claim").fetchone()
            if self._pause_left(row["paused_until"]) > 0:
                return Outcome.PAUSED
            now = self._clock.now().timestamp()
            if not right_code or not hmac.compare_digest(folded(code), right_code):
                wrong = row["wrong"] + 1
                paused = wrong >= WRONG_CODES
                db.execute(
                    "UPDATE claim SET wrong = ?, paused_until = ?",
                    (0 if paused else wrong, now + PAUSE_SECONDS if paused else 0.0),
                )
                return Outcome.PAUSED if paused else Outcome.WRONG
            if row["session"] not in (None, session) and not take_over:
                return Outcome.TAKEN
            return self._give(db, session, peer)

    def try_press(self, *, session: str, peer: str, take_over: bool = False) -> Outcome:
        """Claim the box for `session` because its button was pressed just now.

        A pause after wrong codes does not matter: who presses stands in front of the box.
        """
        with self._db.transaction() as db:
            if self.closed():
                return Outcome.CLOSED
            press = self._press.name(self._clock.monotonic())
            is_new = press and press != db.execute("SELECT used FROM press").fetchone()["used"]
            holder = db.execute("SELECT session FROM claim").fetchone()["session"]
            if holder not in (None, session) and not (take_over and is_new):
                return Outcome.NOT_PRESSED if take_over else Outcome.TAKEN
            return self._give(db, session, peer) if is_new else Outcome.NOT_PRESSED

    def _give(self, db: sqlite3.Connection, session: str, peer: str) -> Outcome:
        """The box is `session`'s. A press is used up, even if it was the code that counted."""
        db.execute(
            "UPDATE claim SET session = ?, peer = ?, at = ?, wrong = 0, paused_until = 0",
            (session, peer, self._clock.now().timestamp()),
        )
        db.execute("UPDATE press SET used = ?", (self._press.name(self._clock.monotonic()),))
        return Outcome.CLAIMED

    def release(self) -> None:
        """Forget the claiming session, once its holder has signed in as administrator."""
        with self._db.transaction() as db:
            db.execute("UPDATE claim SET session = NULL")
