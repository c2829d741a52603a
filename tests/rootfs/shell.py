"""Runs functions of the initrd's shell files as they lie in `rootfs/`, on ordinary files."""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path

ROOTFS = Path(__file__).resolve().parents[2] / "rootfs"
INITRAMFS = ROOTFS / "usr/lib/pennypost/initramfs"


def sh(script: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run `script` with data.sh and doubt.sh read in; its arguments are $1, $2 ..."""
    text = f". {INITRAMFS}/data.sh\n. {INITRAMFS}/doubt.sh\n{script}"
    return subprocess.run(
        ["sh", "-c", text, "sh", *map(str, arguments)],
        env={
            "PENNYPOST_INITRAMFS": str(INITRAMFS),
            "PENNYPOST_DRAFT": str(Path(tempfile.gettempdir()) / f"pennypost-env-{os.getpid()}"),
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def sfdisk(disk: Path, table: str = "") -> str:
    """Write `table` to the disk image, or dump the one it has."""
    argv = ["/sbin/sfdisk", "--quiet" if table else "--dump", str(disk)]
    done = subprocess.run(argv, input=table, capture_output=True, text=True, check=True, timeout=60)
    return done.stdout
