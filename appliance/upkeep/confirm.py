"""Confirms the slot the box runs from, once the box is in good health.

A confirmed slot is left as it is: nothing is looked at, nothing is written. An unconfirmed one
(an update, or one that failed and was put in doubt) has a few minutes to prove itself. If it
does not and the other slot is good, the box restarts; the boot loader counts the tries down and
comes to the other slot in the end. Why is kept on the data partition for the pages to show.
"""

import logging
import sys
import time
from pathlib import Path

from appliance.base.files import replace_file
from appliance.base.finding import Finding, PennypostError
from appliance.base.run import run
from appliance.upkeep import bootstate, esp, health
from appliance.upkeep.bootstate import BootState
from appliance.upkeep.slots import booted, other

LIMIT_SECONDS = 180.0
PAUSE_SECONDS = 5.0
REASON = Path("/data/pennypost/slot-refused")
_log = logging.getLogger("pennypost.confirm")


def until_healthy(limit_seconds: float = LIMIT_SECONDS) -> list[Finding]:
    """Look again and again until nothing is wrong; what was wrong at the end."""
    end = time.monotonic() + limit_seconds
    while (found := health.findings(health.look())) and time.monotonic() < end:
        time.sleep(PAUSE_SECONDS)
    return found


def should_restart(state: BootState, slot: str, command_line: str) -> bool:
    """Whether a restart leads anywhere: the other slot is good and we are not its last resort."""
    return state.marks(other(slot)).confirmed and "pennypost.recovery=1" not in command_line


def confirm(slot: str, command_line: str) -> int:
    """Confirm `slot` or turn it down; the exit status of the unit."""
    state = bootstate.read()
    if state.marks(slot).confirmed:
        return 0
    found = until_healthy()
    if not found:
        with esp.writable():
            bootstate.write(bootstate.read().confirm(slot))
        _log.info("slot %s is confirmed", slot)
        return 0
    reason = " ".join(finding.say for finding in found)
    _log.error("slot %s is not confirmed: %s", slot, reason)
    if should_restart(state, slot, command_line):
        replace_file(REASON, f"Slot {slot}: {reason}\n".encode())
        run(("/usr/bin/systemctl", "--no-block", "reboot"), timeout_seconds=30)
    return 1


def main() -> int:
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    command_line = Path("/proc/cmdline").read_text()
    slot = booted(command_line)
    if not slot or not esp.is_there():
        _log.warning("no slot is named, or the boot partition is not mounted: nothing to confirm")
        return 0
    try:
        return confirm(slot, command_line)
    except (PennypostError, OSError) as error:
        _log.error("the slot could not be confirmed: %s", error)
        return 1


if __name__ == "__main__":
    sys.exit(main())
