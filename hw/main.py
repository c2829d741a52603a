"""The panel daemon: LEDs tell how the box is, buttons are heard.

Runs as pp-panel, from early in a start to the end. It looks at the box once a second (`state`),
decides (`patterns`), and shows it: on the board's LEDs (`panel`), and as a line of text, at once
on standard output, which is the kernel's console on a box, and in the file `TEXT`, from which
pennypost-panel-text.service takes it above the sign-in prompt. What a button orders the steward
does.
"""

import contextlib
import logging
import signal
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from appliance.base import control, sd
from appliance.base.clock import Clock, SystemClock
from appliance.base.finding import PennypostError
from hw import board as boards
from hw.bays import Bays
from hw.buttons import RESET_KEYS, Buttons, Key
from hw.hold import Hold
from hw.model import Board
from hw.panel import BoardPanel
from hw.patterns import BoxState, Stage, in_a_word
from hw.state import Looker

RUN = Path("/run/pennypost")
TEXT = Path("/run/pennypost-panel/status")
OWN_BOARD = RUN / "board.toml"
TIMEOUT_SECONDS = 60.0  # the steward may have to start first
TURN_SECONDS = 1.0
HELD_SECONDS = 0.1  # while a button is down its stages come on time
RESETS = {Stage.PASSWORD: "password", Stage.NETWORK: "network", Stage.FACTORY: "factory"}
_log = logging.getLogger("pennypost.panel")
Ask = Callable[[str, Mapping[str, object]], bool]


def ask_steward(verb: str, args: Mapping[str, object]) -> bool:
    """Have the steward do it; one that refuses or does not answer is said and gone on from."""
    try:
        control.call(RUN / "steward.sock", verb, args, timeout_seconds=TIMEOUT_SECONDS)
    except PennypostError as error:
        _log.warning("%s: %s", verb, error.finding.say)
        return False
    return True


@dataclass(slots=True)
class Daemon:
    """One turn after the other, until told to end."""

    board: Board
    panel: BoardPanel
    buttons: Buttons
    looker: Looker
    clock: Clock
    ask: Ask = ask_steward
    text: Path = TEXT
    console: Callable[[str], None] = lambda said: _print(said)
    bays: Bays = field(default_factory=Bays)
    hold: Hold = field(default_factory=Hold)
    state: BoxState = field(default_factory=lambda: BoxState(starting=True))
    _said: str = ""

    def turn(self) -> None:
        """Hear what was pressed, look, show."""
        held = self.hold.stage(self.clock.monotonic()) is not None
        self.buttons.rescan()
        for key in self.buttons.wait(HELD_SECONDS if held else TURN_SECONDS):
            self._heard(key)
        self.show_now()

    def show_now(self) -> None:
        """Look at the box and show it."""
        self.show(replace(self.looker.look(), stage=self.hold.stage(self.clock.monotonic())))

    def show(self, state: BoxState) -> None:
        """Bring a state to LEDs, bays and consoles."""
        self.state = state
        self.panel.bring(state)
        self.bays.bring(self.looker.marks())
        said = in_a_word(state)
        if said != self._said:
            self._said = said
            _log.info("%s", said)
            self.console(said)
            _write(self.text, said)

    def _heard(self, key: Key) -> None:
        now = self.clock.monotonic()
        if key.lost:
            self.hold.forget()
        elif key.code in RESET_KEYS | self.board.reset_keys:
            if key.down:
                self.hold.down(now)
            else:
                self._let_go(self.hold.up(now))
        elif key.code in self.board.identify_keys and key.down:
            self.ask("box.identify", {"on": not self.state.identify})

    def _let_go(self, stage: Stage | None) -> None:
        if stage in RESETS:
            _log.warning("the button was held: %s reset", RESETS[stage])
            self.ask("box.reset", {"what": RESETS[stage]})
        elif stage is Stage.PRESS:
            self._pressed()

    def _pressed(self) -> None:
        """A press ends the blinking; a box without an owner can be claimed by it."""
        if self.state.identify:
            self.ask("box.identify", {"on": False})
        elif self.ask("claim.press", {}):
            _log.info(
                "the button was pressed: the box can be claimed without its code for two minutes"
            )


def _print(said: str) -> None:
    """The line for the console, which may be in the middle of another one."""
    with contextlib.suppress(OSError):
        print(f"\r\nState: {said}\r", flush=True)


def _write(path: Path, said: str) -> None:
    """The line for the sign-in prompt; its folder is made by systemd."""
    try:
        fresh = path.with_name(path.name + ".new")
        fresh.write_text(said + "\n")
        fresh.replace(path)
    except OSError as error:
        _log.warning("the text for the consoles cannot be written: %s", error)


def find_board(own: Path = OWN_BOARD) -> Board:
    """The board of this machine; a file of the owner's goes first, a broken one is said."""
    if own.exists():
        try:
            return boards.load(own)
        except (PennypostError, OSError) as error:
            fix = error.finding.fix if isinstance(error, PennypostError) else ""
            _log.error("%s %s", error, fix)
    found = boards.choose(boards.known(), *boards.machine())
    return found or Board(name="none", title="No board")


def main() -> int:
    logging.basicConfig(level=logging.INFO, format="%(name)s: %(message)s")
    ended: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda signum, frame: ended.append(signum))
    clock, buttons, board = SystemClock(), Buttons(), find_board()
    panel = BoardPanel(board, clock.monotonic)
    daemon = Daemon(board, panel, buttons, Looker(RUN, clock), clock)
    daemon.show(BoxState(starting=True))
    sd.notify("READY=1")
    try:
        while not ended:
            daemon.turn()
        daemon.show(BoxState(stopping=True, claimed=True))
    finally:
        buttons.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
