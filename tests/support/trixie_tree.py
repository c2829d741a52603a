"""Programs as Debian 13 has them, each set in a tree of its own, whatever the host has.

A tree is made once under `build/cache/`, from the mirror of the host's own apt settings, and
its programs run in a chroot: so making and using one takes root.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from image import mirror, tools

CACHE = Path("build/cache").resolve()


def make(name: str, packages: Sequence[str]) -> Path:
    """The folder of the tree `name` with `packages`, made anew when they are others.

    Raises RuntimeError when it cannot be made here.
    """
    tree = CACHE / name
    stamp, wanted = tree / "etc/packages-asked-for", "\n".join(packages)
    if stamp.exists() and stamp.read_text() == wanted:
        return tree
    if os.geteuid() != 0:
        raise RuntimeError(f"the tree {name} needs root to be made and used")
    if not shutil.which("mmdebstrap"):
        raise RuntimeError("mmdebstrap is not installed (scripts/setup-host)")
    print(f"making a tree with Debian 13's {' '.join(packages)}, once", flush=True)
    part = tree.with_suffix(f".part{os.getpid()}")
    part.parent.mkdir(parents=True, exist_ok=True)
    command = [
        "mmdebstrap", "--mode=root", "--variant=minbase", f"--include={','.join(packages)}",
        *(f"--aptopt={option.rstrip(';')}" for option in tools.apt_options()),
        mirror.SUITE, str(part), *mirror.choose(os.environ).sources(),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode:
        shutil.rmtree(part, ignore_errors=True)
        raise RuntimeError(done.stderr.decode(errors="replace")[-400:])
    (part / stamp.relative_to(tree)).write_text(wanted)
    shutil.rmtree(tree, ignore_errors=True)
    part.rename(tree)
    return tree
