"""The line above the sign-in prompt, from the script as it lies in `rootfs/`."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.rootfs.shell import ROOTFS


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("ready\n", "State: ready\n\n"),
        ("ATTENTION · mail\nsecond\n", "State: ATTENTION · mail\n\n"),
        ("a\x1b[2J\\4\tb\n", "State: a[2J4b\n\n"),
        ("x" * 999, f"State: {'x' * 200}\n\n"),
        ("", None),
    ],
)
def test_one_line_is_shown_and_nothing_that_a_terminal_obeys(
    tmp_path: Path, written: str, shown: str | None
) -> None:
    status, issue = tmp_path / "status", tmp_path / "issue.d" / "pennypost.issue"
    status.write_text(written)
    subprocess.run(
        [str(ROOTFS / "usr/lib/pennypost/bin/panel-text")],
        env={
            "PENNYPOST_STATUS": str(status),
            "PENNYPOST_ISSUE": str(issue),
            "PATH": "/usr/bin:/bin",  # without agetty
        },
        check=True,
        timeout=60,
    )
    assert (issue.read_text() if issue.exists() else None) == shown
