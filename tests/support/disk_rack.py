"""The real keeper of the disks over plain files: what would change a disk is only written down."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from appliance.base.clock import SystemClock
from appliance.storage.keeper import Keeper
from appliance.storage.main import handlers
from appliance.storage.plan import Step
from hw.model import Bus, Disk
from tests.support.wait import wait_until

GIB = 1 << 30


class Rack:
    """A keeper whose disks are files; what would touch them is written down instead."""

    def __init__(
        self, data: Path, run: Path, folder: Path, serve: Callable[[str, Mapping[str, Any]], None]
    ) -> None:
        self.folder = folder
        self.disks: list[Disk] = []
        self.done: list[Step] = []
        (folder / "mail").mkdir()
        self.keeper = Keeper(
            data=data,
            run=run,
            point=folder / "mail",
            list_disks=lambda allow_usb: self.disks,
            clock=SystemClock(),
            units=False,
        )
        self.keeper.hands.do = lambda step, *_: self.done.append(step)  # type: ignore[method-assign]
        self.keeper.tick()
        serve("disks", handlers(self.keeper))

    def first_step(self) -> Step:
        wait_until(lambda: self.done, what="the first step", timeout_seconds=30)
        return self.done[0]

    def add(self, serial: str, *, content: bytes = b"", **more: Any) -> Disk:
        file = self.folder / f"{serial.encode().hex()}.img"
        file.write_bytes(content)
        os.truncate(file, 64 << 20)
        known: dict[str, Any] = {
            "device": str(file),
            "identity": f"serial-M_{serial.encode().hex()}",
            "bus": Bus.SATA,
            "vendor": "PENNY",
            "model": "LABDISK",
            "serial": serial,
            "size_bytes": 8 * GIB,
        }
        self.disks.append(Disk(**(known | more)))
        return self.disks[-1]
