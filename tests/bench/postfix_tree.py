"""Postfix 3.10 as Debian 13 has it, in a tree of its own, whatever the host has.

Made once under `build/cache/`, from the mirror of the host's own apt settings.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from image import mirror, tools

TREE = Path("build/cache/bench-postfix").resolve()


def make() -> Path:
    """The tree's folder. Raises RuntimeError when it cannot be made here."""
    if (TREE / "usr/sbin/postfix").exists():
        return TREE
    if os.geteuid() != 0:
        raise RuntimeError("Postfix needs root to run")
    if not shutil.which("mmdebstrap"):
        raise RuntimeError("mmdebstrap is not installed (scripts/setup-host)")
    print("bench: making a tree with Debian 13's Postfix, once", flush=True)
    part = TREE.with_suffix(".part")
    shutil.rmtree(part, ignore_errors=True)
    part.parent.mkdir(parents=True, exist_ok=True)
    command = [
        "mmdebstrap", "--mode=root", "--variant=minbase", "--include=postfix",
        *(f"--aptopt={option.rstrip(';')}" for option in tools.apt_options()),
        mirror.SUITE, str(part), *mirror.choose(os.environ).sources(),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr.decode(errors="replace")[-400:])
    part.rename(TREE)
    return TREE


def version(tree: Path) -> str:
    """Postfix's own word for its version."""
    command = ["chroot", str(tree), "/usr/sbin/postconf", "-d", "-h", "mail_version"]
    return subprocess.run(command, capture_output=True, check=True, text=True).stdout.strip()
