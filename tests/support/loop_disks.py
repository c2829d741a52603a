"""Real block devices without hardware: loop devices over sparse files."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from hw.model import Bus, Disk

GIB = 1 << 30


def lacking() -> str:
    """Why this machine has no loop devices, or an empty string."""
    if os.geteuid() != 0:
        return "loop devices need root"
    if not Path("/dev/loop-control").exists():
        return "this kernel has no loop devices"
    return ""


class LoopDisk:
    """One disk; `pull` takes it away while it may be in use, `plug` brings it back."""

    def __init__(self, file: Path, serial: str, *, size_bytes: int = 2 * GIB) -> None:
        self.file = file
        self.serial = serial
        self.device = ""
        if not file.exists():
            file.touch()
            os.truncate(file, size_bytes)
        self.plug()

    def plug(self) -> None:
        self.device = _losetup("--find", "--show", str(self.file)).strip()
        subprocess.run(["partx", "--add", self.device], capture_output=True, check=False)

    def pull(self) -> None:
        subprocess.run(["partx", "--delete", self.device], capture_output=True, check=False)
        _losetup("--detach", self.device)
        self.device = ""

    def disk(self) -> Disk:
        """As hw/disks.py would tell it, were it a SATA disk."""
        return Disk(
            device=self.device,
            identity=f"serial-LOOP_{self.serial}",
            bus=Bus.SATA,
            model="LOOP",
            serial=self.serial,
            size_bytes=self.file.stat().st_size,
        )


def _losetup(*arguments: str) -> str:
    done = subprocess.run(["losetup", *arguments], capture_output=True, text=True, check=True)
    return done.stdout
