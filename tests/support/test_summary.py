"""One line for several runs, and no run is forgotten."""

from __future__ import annotations

from tests.support.summary import summed

FAST = "....\n1600 passed, 2 skipped in 61.20s (0:01:01)\n-- fast tests done: 70 s\n"
IMAGE = "=== 40 passed in 1500.00s (0:25:00) ===\n"


def test_counts_are_added() -> None:
    line, well = summed([FAST, IMAGE], 3725)
    assert line == "==== 1640 passed, 2 skipped in 3725.00s (1:02:05) ===="
    assert well


def test_a_failure_or_a_missing_summary_is_not_well() -> None:
    assert summed([FAST, "1 failed, 3 passed, 2 errors in 1.00s\n"], 1) == (
        "==== 1 failed, 1603 passed, 2 skipped, 2 error in 1.00s (0:00:01) ====",
        False,
    )
    line, well = summed([FAST, "Killed"], 1)
    assert "a part ended without a summary" in line
    assert not well
