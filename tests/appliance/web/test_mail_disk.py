"""Home says how the mailbox disk is, and sounds the alarm only where there is one."""

from __future__ import annotations

from typing import Any

import pytest

from appliance.base.finding import Result
from appliance.storage import maildisk
from appliance.storage.maildisk import State, Verdict
from appliance.web import mail_disk
from tests.support.web_box import Visitor, WebBox

ALARMS = {State.MISSING, State.FULL, State.FAILING, State.READ_ONLY}
WORK = {State.CHECKING, State.FORMATTING, State.COPYING}


def document(state: State, **more: Any) -> dict[str, Any]:
    verdict = Verdict(state=state, say=f"It is {state}.", fix="Do this.")
    return dict(maildisk.document(verdict, **more))


@pytest.mark.parametrize("state", State)
def test_each_state_is_an_alarm_or_work_or_calm(state: State) -> None:
    seen = mail_disk.of(document(state))
    results = [f.result for f in seen.findings]
    wanted = [Result.BAD] if state in ALARMS else [Result.WARN] if state in WORK else []
    assert results == wanted
    assert seen.calm.fix


def test_half_a_mirror_and_a_worn_disk_are_said() -> None:
    worn = {"name": "M (S1)", "health": "warn", "health_say": "Worn.", "health_fix": "Replace."}
    seen = mail_disk.of(document(State.READY, missing_halves=1, disks=[worn]))
    assert [(f.check, f.result) for f in seen.findings] == [
        ("disks.state", Result.WARN),
        ("disks.health", Result.WARN),
    ]


def test_home_says_that_a_box_without_a_disk_relays_only(owner: Visitor) -> None:
    page = owner.get("/").text
    assert "There is no mailbox disk: the box relays mail and keeps no mailboxes." in page
    assert page.count("connect a disk by SATA or SAS") == 1


def test_home_shows_the_alarm_the_way_to_mend_it_and_what_happened_last(
    box: WebBox, owner: Visitor
) -> None:
    note = "2026-01-01T12:00:00+00:00: The mailbox disk is in use."
    maildisk.write(box.place.run, document(State.MISSING, note=note))
    page = owner.get("/").text
    assert "It is missing." in page
    assert "Open the mailbox disk" in page
    assert page.count("Do this.") == 1
    assert "The mailbox disk is in use." in page
