"""What the panel knows of the box, looked up where it is cheap: small files in RUN, the relay's
pulse, and systemd's one word for the whole.

    RUN/rendered/relay.on   the box has an owner          RUN/rendered/mail.on  mail is switched on
    RUN/identify            {"until": monotonic seconds}
    RUN/maildisk.json       {"state": "none|ready|missing|...", "device": "/dev/sdb"}; absent: none
    RUN/locate.json         {"device": "/dev/sdb", "until": ...}: the bay that is to blink
    RUN/update.json         there is one while an update is put in

A file that is absent, or half written, or not understood, is the quiet state. Nothing here
writes, and nothing waits for long.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from appliance.base import control
from appliance.base.clock import Clock
from appliance.base.finding import PennypostError
from appliance.base.run import run
from hw.bays import Mark
from hw.patterns import BoxState, Mail, MailDisk

SYSTEMCTL = "/usr/bin/systemctl"
SYSTEM_SECONDS = 10.0  # how often systemd is asked
HURRIED_SECONDS = 2.0  # and while the box starts
PULSE_SECONDS = 2.0
ASK_SECONDS = 2.0
DISK_STATES = {
    "ready": MailDisk.READY,
    "formatting": MailDisk.BUSY,
    "copying": MailDisk.BUSY,
    "checking": MailDisk.BUSY,
    "missing": MailDisk.FAULT,
    "readonly": MailDisk.FAULT,
    "full": MailDisk.FAULT,
    "failing": MailDisk.FAULT,
}


def system_word() -> str:
    """systemd's word: starting, running, degraded, stopping, ...; empty when it is silent."""
    argv = (SYSTEMCTL, "is-system-running")
    try:
        return run(argv, timeout_seconds=ASK_SECONDS, check=False).stdout.decode().strip()
    except PennypostError:
        return ""


def relay_pulse(socket: Path) -> Any:
    """What the relay answers; None when it does not."""
    try:
        return control.call(socket, "pulse", timeout_seconds=ASK_SECONDS)
    except PennypostError:
        return None


@dataclass(slots=True)
class Looker:
    """Looks at the box below `run_folder`, each thing as often as it is worth."""

    run_folder: Path
    clock: Clock
    ask_system: Callable[[], str] = system_word
    ask_relay: Callable[[Path], Any] = relay_pulse
    _word: str = "starting"
    _asked_system_at: float | None = None
    _mail: Mail = Mail.OFF
    _asked_relay_at: float | None = None
    _letters: int | None = field(default=None)

    def look(self) -> BoxState:
        """The state of the box now."""
        now = self.clock.monotonic()
        rendered = self.run_folder / "rendered"
        claimed, wanted = (rendered / "relay.on").exists(), (rendered / "mail.on").exists()
        self._ask_system(now)
        self._ask_relay(now, wanted)
        state = of_word(self._word)
        unready = state.starting or state.stopping  # who starts has no fault yet
        return replace(
            state,
            starting=state.starting or not rendered.exists(),
            claimed=claimed,
            attention=claimed and not wanted,
            mail=Mail.OFF if unready and self._mail is Mail.DOWN else self._mail,
            disk=self._disk(),
            updating=(self.run_folder / "update.json").exists(),
            identify=self._identify(now),
        )

    def _ask_system(self, now: float) -> None:
        every = SYSTEM_SECONDS if self._word in ("running", "degraded") else HURRIED_SECONDS
        if self._asked_system_at is None or now - self._asked_system_at >= every:
            self._asked_system_at = now
            self._word = self.ask_system() or self._word

    def _ask_relay(self, now: float, wanted: bool) -> None:
        if not wanted:
            self._mail, self._letters, self._asked_relay_at = Mail.OFF, None, None
            return
        if self._asked_relay_at is not None and now - self._asked_relay_at < PULSE_SECONDS:
            return
        self._asked_relay_at = now
        self._mail = self._felt(self.ask_relay(self.run_folder / "relay.sock"))

    def _felt(self, pulse: Any) -> Mail:
        if not isinstance(pulse, dict) or pulse.get("accepting") is not True:
            return Mail.DOWN
        before, self._letters = self._letters, pulse.get("letters")
        return Mail.FLOWS if before in (None, self._letters) else Mail.LETTER

    def _disk(self) -> MailDisk:
        raw = _json(self.run_folder / "maildisk.json")
        return DISK_STATES.get(str(raw.get("state")), MailDisk.NONE)

    def _identify(self, now: float) -> bool:
        until = _json(self.run_folder / "identify").get("until")
        return isinstance(until, int | float) and now < until

    def marks(self) -> frozenset[Mark]:
        """The bays to mark: that of a mail disk at fault, and that of a disk to be found."""
        disk, sought = (_json(self.run_folder / f"{name}.json") for name in ("maildisk", "locate"))
        until = sought.get("until")
        found = set()
        if DISK_STATES.get(str(disk.get("state"))) is MailDisk.FAULT and disk.get("device"):
            found.add(Mark(Path(str(disk["device"])).name, "fault"))
        if isinstance(until, int | float) and self.clock.monotonic() < until:
            found.add(Mark(Path(str(sought.get("device"))).name, "locate"))
        return frozenset(found)


def of_word(word: str) -> BoxState:
    """What systemd's word tells: at most one of starting, stopping, failing."""
    return BoxState(
        starting=word in ("initializing", "starting"),
        stopping=word == "stopping",
        failing=word in ("degraded", "maintenance"),
    )


def _json(path: Path) -> dict[str, Any]:
    try:
        raw = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return raw if isinstance(raw, dict) else {}
