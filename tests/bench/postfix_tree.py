"""Postfix 3.10 as Debian 13 has it, in a tree of its own, whatever the host has."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.support import trixie_tree


def make() -> Path:
    """The tree's folder. Raises RuntimeError when it cannot be made here."""
    return trixie_tree.make("bench-postfix", ("postfix",))


def version(tree: Path) -> str:
    """Postfix's own word for its version."""
    command = ["chroot", str(tree), "/usr/sbin/postconf", "-d", "-h", "mail_version"]
    return subprocess.run(command, capture_output=True, check=True, text=True).stdout.strip()
