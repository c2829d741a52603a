"""Applying the wizard's choice of a mailbox disk: begin the work, or wait for what was begun.

The disks daemon goes on by itself after a power cut, so this asks first what there is.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from appliance.base.clock import Clock
from appliance.base.finding import Refused
from appliance.web.daemons import Daemon

LINE_SECONDS = 130.0  # for one sign of life
WHOLE_SECONDS = 900.0  # a disk of many terabytes is checked before its mailboxes open
PAUSE_SECONDS = 1.0

Heard = Callable[[Mapping[str, Any]], None]


def carry_out(chosen: Mapping[str, Any], steward: Daemon, clock: Clock, heard: Heard) -> None:
    """Do what was chosen. Raises the daemon's finding when the disk can't be had."""
    work = chosen.get("work", "later")
    if work == "later":
        return
    state = steward.ask("disk.status")
    if state.get("job"):
        _wait(steward, clock, heard)
    elif not state.get("volume"):
        more = {"agreed": chosen["agreed"]} if work == "take" else {"typed": chosen["typed"]}
        steward.ask(
            f"disk.{work}",
            {"disk": chosen["disk"], **more},
            timeout_seconds=LINE_SECONDS,
            on_progress=heard,
        )


def _wait(steward: Daemon, clock: Clock, heard: Heard) -> None:
    ends = clock.monotonic() + WHOLE_SECONDS
    while clock.monotonic() < ends:
        state = steward.ask("disk.status")
        if not state.get("job"):
            return
        heard(state["job"])
        time.sleep(PAUSE_SECONDS)
    raise Refused.because(
        "disk.job",
        "The disk is still being worked on.",
        "It goes on by itself; the page “Mailbox disk” shows how far it is.",
    )
