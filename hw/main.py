"""The panel daemon: tells the steward what is pressed on the box.

Runs as pp-panel while the box waits for its owner (systemd starts and ends it).
"""

import logging
import signal
import sys
from pathlib import Path

from appliance.base import control, sd
from appliance.base.finding import PennypostError
from hw.buttons import Buttons, watch

STEWARD = Path("/run/pennypost/steward.sock")
TIMEOUT_SECONDS = 60.0  # the steward may have to start first
_log = logging.getLogger("pennypost.panel")


def tell_steward(socket: Path = STEWARD) -> None:
    """The button was pressed; a steward that does not answer is said and gone on from."""
    try:
        control.call(socket, "claim.press", timeout_seconds=TIMEOUT_SECONDS)
    except PennypostError as error:
        _log.warning("the button was pressed: %s", error.finding.say)
        return
    _log.info("the button was pressed: the box can be claimed without its code for two minutes")


def main() -> int:
    logging.basicConfig(level=logging.INFO, format="%(name)s: %(message)s")
    ended: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda signum, frame: ended.append(signum))
    buttons = Buttons()
    sd.notify("READY=1")
    try:
        watch(buttons, tell_steward, ended=lambda: bool(ended))
    finally:
        buttons.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
