"""The guard of the mailbox disk: who is told when its state changes."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.base.clock import SystemClock
from appliance.storage import keeper, maildisk
from appliance.storage.keeper import Keeper
from appliance.storage.plan import Record

DISK = Record(volume="0b7c4f6e-3d0e", members=("wwn-0x5000c500a1b2c3d4",), attached=True)


def test_each_change_of_the_state_is_told_after_it_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And nothing is told where nothing changed: who is told reads the file."""
    told = []

    def run(argv: tuple[str, ...], *, timeout_seconds: float) -> None:
        assert argv[1:] == ("--no-block", "restart", "pennypost-mailboxes.service")
        told.append((tmp_path / "run" / maildisk.FILE_NAME).read_text())

    monkeypatch.setattr(keeper, "run", run)
    for name in ("data", "data/keys", "run", "mail"):
        (tmp_path / name).mkdir()
    kept = Keeper(
        data=tmp_path / "data",
        run=tmp_path / "run",
        point=tmp_path / "mail",
        list_disks=lambda allow_usb: [],
        clock=SystemClock(),
    )
    kept.tick()
    kept.tick()
    assert ['"none"' in text for text in told] == [True]
    kept.book.keep(record=DISK, job=None)
    kept.tick()
    kept.tick()
    assert ['"missing"' in text for text in told] == [False, True]
    kept.guard.close()
