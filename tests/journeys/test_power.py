"""Slots and power cuts: the box comes up, whatever happens to it."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest

from tests.support.box import Box
from tests.support.disk import partitions, spoil
from tests.support.machine import Frozen
from tests.support.wait import wait_until

pytestmark = [pytest.mark.image, pytest.mark.timeout(3600)]
CUTS, ALL_CUTS = 8, 20  # the second by `soak`: each takes half a start
LATEST_CUT_SECONDS = 40.0  # by then the box is through its start, but on a very slow host
SEED = 20261124


def switched_on_from(frozen: Frozen, folder: Path) -> Box:
    """A box with the frozen one's disk that is off, as after a power cut."""
    box = Box(folder, frozen.hardware)
    box.machine.take_over(frozen)
    return box


@pytest.mark.parametrize("label", ["boot_a", "root_a"])
def test_a_box_whose_slot_a_is_unfit_comes_up_from_slot_b(
    ready: Frozen, image: Path, tmp_path: Path, label: str
) -> None:
    with switched_on_from(ready, tmp_path / "box") as box:
        spoil(box.machine.disk, partitions(image)[label])
        start = time.monotonic()
        box.power_on()
        box.wait_for_web()
        print(f"from slot B with a broken {label} after {time.monotonic() - start:.1f} s")
        assert box.slot() == "b"
        box.wait_until_settled()
        assert box.failed_units() == []
        box.wait_for_smtp()


def test_both_slots_hold_the_same_bytes(ready: Frozen, image: Path, ready_box: Box) -> None:
    digests = {
        slot: ready_box.root(
            f"for p in boot root; do sha256sum < /dev/disk/by-partlabel/${{p}}_{slot}; done",
            timeout_seconds=300,
        )
        for slot in "ab"
    }
    # The whole partitions need not be alike beyond what the file systems use, but
    # nothing else was ever written there.
    assert digests["a"] == digests["b"]


@pytest.mark.parametrize("cuts", [CUTS, pytest.param(ALL_CUTS, marks=pytest.mark.soak)])
def test_power_cuts_while_it_starts_do_not_stop_it(
    ready: Frozen, tmp_path: Path, cuts: int
) -> None:
    """A confirmed slot is never counted down, and no half-written file stops a start."""
    dice = random.Random(SEED)
    with switched_on_from(ready, tmp_path / "box") as box:
        start = time.monotonic()
        box.power_on()
        box.wait_for_web()
        boot_seconds = min(time.monotonic() - start, LATEST_CUT_SECONDS)
        box.cut_power()
        for _ in range(cuts):
            # The one place where time itself is the condition: when the power goes.
            cut_at = time.monotonic() + dice.uniform(0.5, boot_seconds)
            box.power_on()
            wait_until(
                lambda cut_at=cut_at: time.monotonic() >= cut_at,  # type: ignore[misc]
                what="the power cut",
                every_seconds=0.02,
            )
            assert box.machine.running, box.machine.log_tail()
            box.cut_power()
        box.power_on()
        box.wait_for_web()
        assert box.slot() == "a"
        box.wait_until_settled()
        assert box.failed_units() == []
        box.wait_for_smtp()
