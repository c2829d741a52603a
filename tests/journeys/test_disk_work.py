"""What is done with a mailbox disk, cut off in the middle; and a disk from another box."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from tests.journeys.conftest import SAS, SATA
from tests.journeys.test_mailboxes import (
    connect,
    identifiers_of,
    letters,
    open_mailboxes,
    post,
    state,
    submit,
    wait_for_letters,
    with_mailboxes,
)
from tests.support.box import Box
from tests.support.machine import Frozen
from tests.support.wait import wait_until

pytestmark = [pytest.mark.image, pytest.mark.timeout(3600)]
SENT = 10


def cut_after(box: Box, command: str, seconds: float) -> None:
    """Begin something, take the plug out so much later, and start again."""
    box.root(f"({command}) >/dev/null 2>&1 &")
    time.sleep(seconds)
    box.cut_power()
    box.power_on()
    box.wait_for_smtp()


def serials(box: Box) -> set[str]:
    """Of the disks that hold the mailboxes now."""
    rows = json.loads(box.root("pennypost --json disk list"))
    return {row["serial"] for row in rows if row["is_mailbox_disk"]}


def settled(box: Box) -> str:
    """The word for the mailbox disk once no work on it goes on."""

    def word() -> str | None:
        said = state(box)
        return None if said.get("job") or said["state"] == "checking" else str(said["state"])

    return wait_until(word, what="the disks daemon at rest", timeout_seconds=600)


@pytest.mark.parametrize(
    "seconds", [2.0, *(pytest.param(s, marks=pytest.mark.soak) for s in (0.5, 1.0, 3.0, 5.0, 8.0))]
)
def test_a_cut_while_a_disk_is_made_ready_leaves_it_as_it_was_or_goes_on(
    ready_box: Box, seconds: float
) -> None:
    box = ready_box
    cut_after(box, f"pennypost disk connect {SATA.serial}", seconds)
    word = settled(box)
    print(f"cut after {seconds} s: {word}")
    assert word in ("none", "ready")
    if word == "none":
        assert serials(box) == set()
        connect(box, SATA)
    else:
        assert serials(box) == {SATA.serial}
    password = open_mailboxes(box)
    post(box)
    wait_for_letters(box, password, 1)
    assert box.failed_units() == []


@pytest.mark.soak
@pytest.mark.parametrize("seconds", [1.0, 4.0, 10.0, 20.0])
def test_a_cut_while_mail_moves_to_another_disk_loses_none(ready_box: Box, seconds: float) -> None:
    box = ready_box
    password = with_mailboxes(box, SATA)
    sent = [f"<moved-{number}@office.example>" for number in range(SENT)]
    submit(box, password, sent)
    wait_for_letters(box, password, SENT)
    cut_after(box, f"pennypost disk replace {SAS.serial}", seconds)
    word = settled(box)
    print(f"cut after {seconds} s: {word} on {serials(box)}")
    assert word == "ready"
    assert serials(box) in ({SATA.serial}, {SAS.serial})
    if serials(box) == {SATA.serial}:
        box.root(f"pennypost disk replace {SAS.serial}", timeout_seconds=300)
        assert settled(box) == "ready"
    assert serials(box) == {SAS.serial}
    wait_for_letters(box, password, SENT)
    assert identifiers_of(letters(box, password)) == sorted(sent)
    assert box.failed_units() == []


@pytest.mark.soak
def test_a_disk_from_another_box_is_taken_over_once_somebody_agrees(
    ready: Frozen, ready_box: Box, tmp_path: Path
) -> None:
    password = with_mailboxes(ready_box, SATA)
    post(ready_box)
    (letter,) = wait_for_letters(ready_box, password, 1)
    ready_box.root("pennypost disk detach", timeout_seconds=120)
    ready_box.cut_power()
    with Box(tmp_path / "other", ready.hardware) as other:
        other.thaw(ready)
        other.wait_for_smtp()
        # Both woke from one frozen box: give this one a key of its own, and the disk.
        other.root("rm /data/pennypost/keys/disk.key && systemctl restart pennypost-disks.service")
        other.cut_power()
        ready_box.machine.bay_file(1).replace(other.machine.bay_file(1))
        other.power_on()
        other.wait_for_smtp()
        refused, said = other.ask(f"pennypost disk take {SATA.serial}")
        assert refused
        assert "another" in said
        other.root(f"pennypost disk take --agree {SATA.serial}", timeout_seconds=120)
        assert settled(other) == "ready"
        fresh = open_mailboxes(other)
        assert wait_for_letters(other, fresh, 1) == [letter]
        assert other.failed_units() == []
