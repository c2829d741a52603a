"""The slot state: what GRUB and the box both read, through every kind of damage."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.base.finding import Refused
from appliance.upkeep import bootstate
from appliance.upkeep.bootstate import BootState, Marks

GOOD = Marks(confirmed=True, tries=0)
EMPTY = Marks(confirmed=False, tries=0)
SHIPPED = BootState(sequence=1, order=("a", "b"), a=GOOD, b=EMPTY)
marks = st.builds(Marks, confirmed=st.booleans(), tries=st.integers(0, 3))
states = st.builds(
    BootState,
    sequence=st.integers(0, 2**31),
    order=st.sampled_from([("a", "b"), ("b", "a")]),
    a=marks,
    b=marks,
)


def put(folder: Path, env0: bytes, env1: bytes) -> None:
    (folder / "env0").write_bytes(env0)
    (folder / "env1").write_bytes(env1)


@given(states)
def test_what_is_encoded_is_read_back_and_fills_a_grub_block(state: BootState) -> None:
    block = bootstate.encode(state)
    assert bootstate.parse(block) == state
    assert len(block) == 1024
    assert block.startswith(b"# GRUB Environment Block\n")
    assert block.rstrip(b"#").endswith(b"END=ok\n")
    assert block.index(b"END=ok\n") < 512 - len(b"END=ok\n")


@given(states, st.integers(0, 200))
def test_a_copy_cut_before_its_end_marker_is_no_copy(state: BootState, length: int) -> None:
    block = bootstate.encode(state)
    cut = min(length, block.index(b"END=ok") + 5)
    assert bootstate.parse(block[:cut].ljust(1024, b"\0")) is None


@given(st.binary(max_size=1100))
def test_no_bytes_whatever_make_the_reader_stumble(block: bytes) -> None:
    bootstate.parse(block)
    bootstate.parse(b"# GRUB Environment Block\n" + block + b"\nEND=ok\n")


def test_the_higher_sequence_counts(tmp_path: Path) -> None:
    newer = BootState(2, ("b", "a"), GOOD, GOOD)
    put(tmp_path, bootstate.encode(SHIPPED), bootstate.encode(newer))
    assert bootstate.read(tmp_path) == newer
    put(tmp_path, bootstate.encode(newer), bootstate.encode(SHIPPED))
    assert bootstate.read(tmp_path) == newer


def test_equal_sequences_take_the_first_copy_as_grub_does(tmp_path: Path) -> None:
    other = BootState(1, ("b", "a"), GOOD, GOOD)
    put(tmp_path, bootstate.encode(SHIPPED), bootstate.encode(other))
    assert bootstate.read(tmp_path) == SHIPPED


@pytest.mark.parametrize("broken", [b"", b"\0" * 1024, b"#" * 1024, b"\0" * 512 + b"#" * 512])
def test_a_broken_copy_leaves_the_other_to_count(tmp_path: Path, broken: bytes) -> None:
    put(tmp_path, broken, bootstate.encode(SHIPPED))
    assert bootstate.read(tmp_path) == SHIPPED
    put(tmp_path, bootstate.encode(SHIPPED), broken)
    assert bootstate.read(tmp_path) == SHIPPED


def test_two_broken_copies_are_said_and_the_next_write_mends_them(tmp_path: Path) -> None:
    put(tmp_path, b"", b"\0" * 1024)
    with pytest.raises(Refused):
        bootstate.read(tmp_path)
    bootstate.write(SHIPPED, tmp_path)
    assert bootstate.read(tmp_path) == SHIPPED


def test_a_write_leaves_the_copy_that_counted_untouched(tmp_path: Path) -> None:
    put(tmp_path, bootstate.encode(SHIPPED), b"")
    for turn in range(6):
        before = {name: (tmp_path / name).read_bytes() for name in bootstate.FILES}
        counted = bootstate.newest({n: bootstate.parse(data) for n, data in before.items()})
        wanted = bootstate.read(tmp_path).doubt("b", turn % 4)
        written = bootstate.write(wanted, tmp_path)
        assert (tmp_path / counted).read_bytes() == before[counted]
        assert bootstate.read(tmp_path) == written
        assert written.sequence == 2 + turn


def test_a_confirmed_slot_has_no_tries_and_a_new_one_has_three() -> None:
    state = SHIPPED.try_first("b")
    assert (state.order, state.b) == (("b", "a"), Marks(confirmed=False, tries=3))
    assert state.confirm("b").b == GOOD
    assert state.doubt("a").a == EMPTY
    assert not state.doubt("a").a.startable


def test_the_state_an_image_ships_is_ours(tmp_path: Path) -> None:
    """`image/` may not import `appliance/`, so the format is written twice; once is checked."""
    from image import disk

    assert bootstate.parse(disk.first_state(1)) == SHIPPED
    assert disk.first_state(1) == bootstate.encode(SHIPPED)
