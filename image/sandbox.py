"""How the build gets the few rights it needs, without being root where it can.

A root tree has files of many owners and its maintainer scripts expect to be root.
Three ways give that, tried in this order: the caller is root already; a user
namespace (`unshare --map-auto`, needs a range in /etc/subuid); `sudo`, with a word
about it. Mounts are made in a mount namespace of their own, so that they are gone
when the build ends, however it ends.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from image.run import BuildError, clean_environment, run

# If the build is killed, so is all it started.
UNSHARE = ("setpriv", "--pdeathsig", "KILL", "--", "unshare")
NAMESPACES = ("--mount", "--pid", "--fork", "--kill-child")
USER = ("--user", "--map-auto", "--map-root-user")


@dataclass(frozen=True, slots=True)
class Sandbox:
    """A way to run commands as (a kind of) root in their own mount namespace."""

    kind: str
    prefix: tuple[str, ...]

    def argv(self, command: Sequence[str]) -> list[str]:
        """The command as it has to be started."""
        return [*self.prefix, *command]

    def run(self, command: Sequence[str], *, log: Path | None = None, hint: str = "") -> str:
        """Run a host's program with the rights of the sandbox."""
        return run(self.argv(command), log=log, hint=hint)

    def remove(self, path: Path) -> None:
        """Delete a tree whose files may belong to others."""
        if path.exists():
            self.run(["rm", "-rf", "--one-file-system", "--", str(path)])

    def own(self, *paths: Path) -> None:
        """Give finished files to the caller: with sudo they were made by root."""
        if self.kind == "sudo":
            self.run(["chown", f"{os.getuid()}:{os.getgid()}", *map(str, paths)])


@cache
def find() -> Sandbox:
    """The way that works on this host; ends the build when none does."""
    root = (*UNSHARE, *NAMESPACES, "--")
    if os.geteuid() == 0:
        return Sandbox("root", root)
    user = (*UNSHARE, *USER, *NAMESPACES, "--")
    if _works([*user, "sh", "-ec", "mount -t proc proc /proc; mount -t tmpfs tmpfs /mnt"]):
        return Sandbox("user namespace", user)
    if shutil.which("sudo"):
        print("This host allows no user namespaces here, so parts of the build run by sudo.")
        return Sandbox("sudo", ("sudo", "--", *root))
    raise BuildError(
        "the build needs user namespaces, sudo or root, and this host offers none of them",
        "run it as root, install sudo, or give this user a line in /etc/subuid and /etc/subgid"
        " (and install uidmap)",
    )


def _works(argv: Sequence[str]) -> bool:
    try:
        done = subprocess.run(argv, capture_output=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def chroot_script(
    tree: Path, command: Sequence[str], binds: Mapping[Path, str], env: Mapping[str, str]
) -> str:
    """A shell script that mounts what programs expect in `tree` and runs `command` there."""
    root = shlex.quote(str(tree))
    lines = [
        "set -e",
        f"mount --rbind /dev {root}/dev",
        f"mount -t proc proc {root}/proc",
        f"mount --rbind /sys {root}/sys",
        f"mount -t tmpfs -o mode=755 tmpfs {root}/run",
    ]
    for source, target in binds.items():
        place = shlex.quote(f"{tree}{target}")
        make = "mkdir -p" if source.is_dir() else "touch"
        lines.append(f"{make} {place}; mount --bind {shlex.quote(str(source))} {place}")
    pairs = {**clean_environment(), **env}
    words = ["chroot", str(tree), "/usr/bin/env", "-i", *(f"{k}={v}" for k, v in pairs.items())]
    lines.append(f"exec {shlex.join([*words, *command])}")
    return "\n".join(lines)


def chroot(
    tree: Path,
    command: Sequence[str],
    *,
    binds: Mapping[Path, str] | None = None,
    env: Mapping[str, str] | None = None,
    log: Path | None = None,
    hint: str = "",
) -> str:
    """Run a program inside `tree`, seen as its whole file system."""
    script = chroot_script(tree, command, binds or {}, env or {})
    return find().run(["sh", "-c", script], log=log, hint=hint)
