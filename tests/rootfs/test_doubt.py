"""The shell that puts a slot in doubt writes what Python and GRUB read."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.upkeep import bootstate
from appliance.upkeep.bootstate import BootState, Marks
from tests.rootfs.shell import sh

GOOD = Marks(confirmed=True, tries=0)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A state with both slots confirmed, written twice so that both copies are whole."""
    state = BootState(sequence=0, order=("a", "b"), a=GOOD, b=GOOD)
    bootstate.write(state, tmp_path)
    bootstate.write(state, tmp_path)
    return tmp_path


@pytest.mark.parametrize(("slot", "tries"), [("a", 0), ("a", 1), ("b", 2)])
def test_a_doubted_slot_is_unconfirmed_with_the_tries_given(
    folder: Path, slot: str, tries: int
) -> None:
    before = bootstate.read(folder)
    assert sh('doubt "$1" "$2" "$3"', folder, slot, tries).returncode == 0
    after = bootstate.read(folder)
    assert after.sequence == before.sequence + 1
    assert after == BootState(
        sequence=after.sequence,
        order=before.order,
        a=Marks(confirmed=False, tries=tries) if slot == "a" else GOOD,
        b=Marks(confirmed=False, tries=tries) if slot == "b" else GOOD,
    )


def test_the_copy_that_counted_stays_whole(folder: Path) -> None:
    newest = max(
        ("env0", "env1"), key=lambda name: bootstate.parse((folder / name).read_bytes()).sequence
    )
    before = (folder / newest).read_bytes()
    sh('doubt "$1" a 0', folder)
    assert (folder / newest).read_bytes() == before
    assert {(folder / name).stat().st_size for name in ("env0", "env1")} == {1024}


def test_a_torn_copy_is_the_one_that_is_written(folder: Path) -> None:
    (folder / "env1").write_bytes(bytes(1024))
    assert sh('doubt "$1" a 0', folder).returncode == 0
    assert bootstate.parse((folder / "env0").read_bytes()) is not None
    assert bootstate.read(folder).a == Marks(confirmed=False, tries=0)


def test_without_any_whole_copy_nothing_is_written(tmp_path: Path) -> None:
    assert sh('doubt "$1" a 0', tmp_path).returncode != 0
    assert not list(tmp_path.iterdir())
