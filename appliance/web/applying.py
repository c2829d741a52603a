"""The wizard's last step: make it so, with live progress.

The order is administrator, settings, mailbox disk, claim. Each may be done twice without harm, so
a power cut anywhere between leaves a box that is still being set up by the same person with the
same answers, and applying again goes through; never a box that is open with an account half made.
A disk that can't be had does not hold the rest up: its finding stays with the end.
How far it came is in web.db, for a page that is loaded again and for a restart.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from appliance.accounts.store import Accounts
from appliance.base.clock import Clock
from appliance.base.finding import Finding, PennypostError, Result
from appliance.settings import schema
from appliance.web import applying_disk
from appliance.web.daemons import APPLY_TIMEOUT_SECONDS, Daemon
from appliance.web.db import Database
from appliance.web.disk_words import STEPS as DISK_STEPS
from appliance.web.draft import Draft
from appliance.web.i18n import N_, _

_log = logging.getLogger(__name__)


# What the steward calls its steps, in words for people. "check nginx" is a verb and a program.
_STEPS = {
    "check": N_("Look whether the answers fit together"),
    "certificate": N_("Make the certificate"),
    "signing keys": N_("Make the keys for signatures"),
    "render": N_("Work out the configuration"),
    "write": N_("Write it down"),
    "switch": N_("Switch over to it"),
    "probe relay": N_("See that mail is answered"),
    "probe web": N_("See that these pages are answered"),
    "commit": N_("Store the settings"),
}
_VERBS = {"check": N_("Have %(program)s check its part"), "reload": N_("Tell %(program)s")}


def step_words(name: str) -> str:
    """A step's name as the page shows it."""
    verb, _space, program = name.partition(" ")
    if program and name not in _STEPS and verb in _VERBS:
        return _(_VERBS[verb], program=program)
    return _(_STEPS.get(name, name))


class State(StrEnum):
    """Where the applying stands. INTERRUPTED: the box was switched off meanwhile."""

    NOT_BEGUN = "not begun"
    RUNNING = "running"
    INTERRUPTED = "interrupted"
    FAILED = "failed"
    DONE = "done"


@dataclass(frozen=True, slots=True)
class Step:
    """One line of the progress list; `state` is waiting, running, done or failed."""

    name: str
    state: str
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Progress:
    state: State
    steps: tuple[Step, ...] = ()
    finding: Finding | None = None


class Applying:
    """Runs at most once at a time in this process; there is one web process."""

    def __init__(
        self, db: Database, clock: Clock, *, draft: Draft, accounts: Accounts, steward: Daemon
    ) -> None:
        self._db = db
        self._clock = clock
        self._draft = draft
        self._accounts = accounts
        self._steward = steward
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._steps: list[Step] = []

    def progress(self) -> Progress:
        row = self._db.read().execute("SELECT * FROM applying").fetchone()
        if row is None:
            return Progress(State.NOT_BEGUN)
        state = State(row["state"])
        if state is State.RUNNING and not self._alive():
            state = State.INTERRUPTED
        return Progress(
            state=state,
            steps=tuple(Step(*step) for step in json.loads(row["steps"])),
            finding=Finding.from_json(json.loads(row["finding"])) if row["finding"] else None,
        )

    def _alive(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def start(self) -> None:
        """Begin, or begin again; nothing happens while it is running or when it is done."""
        with self._lock:
            if self._alive() or self.progress().state is State.DONE:
                return
            self._steps = []
            self._write(State.RUNNING)
            self._thread = threading.Thread(target=self._run, name="applying", daemon=True)
            self._thread.start()

    def forget(self) -> None:
        """Someone went back to change an answer after a failure."""
        with self._lock:
            if not self._alive() and self.progress().state is not State.DONE:
                with self._db.transaction() as db:
                    db.execute("DELETE FROM applying")

    # -- the work ---------------------------------------------------------------------

    def _run(self) -> None:
        finding: Finding | None = None
        try:
            self._apply()
        except PennypostError as error:
            finding = error.finding
        except Exception:
            _log.exception("applying the wizard's answers failed")
            finding = Finding(
                check="wizard.apply",
                result=Result.BAD,
                say="Something went wrong inside the box; the log has the details.",
                fix="Apply again.",
            )
        if finding is not None:
            self._steps = [
                Step(s.name, "failed", s.seconds) if s.state == "running" else s
                for s in self._steps
            ]
            self._write(State.FAILED, finding)

    def _apply(self) -> None:
        answers = self._draft.answers()
        name = str(answers["administrator.name"])
        password_hash = str(answers["administrator.password_hash"])
        known = schema.by_name()
        settings = {n: v for n, v in answers.items() if n in known}
        self._step(
            N_("Store the administrator"),
            lambda: self._accounts.put_administrator(name=name, password_hash=password_hash),
        )
        self._steward.ask(
            "settings.change",
            {"changes": {**settings, "mail.enabled": True}, "author": name},
            timeout_seconds=APPLY_TIMEOUT_SECONDS,
            on_progress=self._heard,
        )
        trouble = self._connect_disk(answers.get("wizard.disk", {}))
        self._step(
            N_("Close the wizard and open the mail ports"),
            lambda: self._steward.ask(
                "claim.close", timeout_seconds=APPLY_TIMEOUT_SECONDS, on_progress=self._heard_only
            ),
        )
        self._draft.clear()
        self._write(State.DONE, trouble)

    def _connect_disk(self, chosen: Mapping[str, Any]) -> Finding | None:
        """The mailbox disk, when one was chosen; what went wrong with it."""
        if chosen.get("work", "later") == "later":
            return None
        name, began = N_("Make the mailbox disk ready"), self._clock.monotonic()
        self._put(Step(name, "running"))
        try:
            applying_disk.carry_out(chosen, self._steward, self._clock, self._heard_of_disk)
        except PennypostError as error:
            _log.error("the mailbox disk: %s", error.finding.say)
            self._put(Step(name, "failed", self._clock.monotonic() - began))
            return error.finding
        self._put(Step(name, "done", self._clock.monotonic() - began))
        return None

    def _heard_of_disk(self, raw: Mapping[str, Any]) -> None:
        """A step of the disk's own is a line of the list, as the steward's steps are."""
        words = DISK_STEPS.get(str(raw.get("step", "")))
        if words:
            self._heard({**raw, "step": words})

    def _step(self, name: str, work: Callable[[], object]) -> None:
        began = self._clock.monotonic()
        self._put(Step(name, "running"))
        work()
        self._put(Step(name, "done", self._clock.monotonic() - began))

    def _heard(self, raw: Mapping[str, Any]) -> None:
        """One line of progress from the steward."""
        state = str(raw.get("state", "running"))
        seconds = raw.get("seconds", 0.0)
        self._put(
            Step(
                name=str(raw.get("step", ""))[:200],
                state=state if state in ("running", "done", "failed") else "running",
                seconds=float(seconds) if isinstance(seconds, int | float) else 0.0,
            )
        )

    def _heard_only(self, raw: Mapping[str, Any]) -> None:
        """Progress inside a step of our own is not listed apart."""

    def _put(self, step: Step) -> None:
        at = next((i for i, s in enumerate(self._steps) if s.name == step.name), None)
        if at is None:
            self._steps.append(step)
        else:
            self._steps[at] = step
        self._write(State.RUNNING)

    def _write(self, state: State, finding: Finding | None = None) -> None:
        steps = json.dumps([[s.name, s.state, s.seconds] for s in self._steps])
        shown = json.dumps(finding.to_json()) if finding else None
        with self._db.transaction() as db:
            db.execute(
                "INSERT OR REPLACE INTO applying VALUES (1, ?, ?, ?, ?)",
                (state, steps, shown, self._clock.now().timestamp()),
            )
