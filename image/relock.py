"""`make relock`: the lock files anew, from what the mirror has today.

Loads only package indexes, no packages; takes a few seconds for each architecture.
The date in a lock file is the date every file on the image carries.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from image import build, lock, mirror, recipe, tools
from image.run import BuildError, Steps

SECONDS_A_DAY = 86_400


def requests() -> dict[Path, lock.Request]:
    """What to plan for each lock file: the tools of this host, and every board's image."""
    source = mirror.choose(os.environ)
    options = tools.apt_options()
    host = lock.Request(tools.host_arch(), tools.PACKAGES, source, options)
    out = {build.lock_path("tools"): host}
    for board in recipe.known_boards():
        what = recipe.load(board)
        image = replace(host, arch=what.arch.debian, packages=what.packages)
        out[build.lock_path(what.arch.debian)] = replace(
            image, loaded_only=(what.arch.grub_package,)
        )
    return out


def relock(steps: Steps) -> None:
    """Plan without pins and write what comes out."""
    epoch = int(time.time()) // SECONDS_A_DAY * SECONDS_A_DAY
    for path, request in requests().items():
        with steps.step(path.name), tempfile.TemporaryDirectory() as state:
            plan = lock.plan(request, lock.Lock(), Path(state))
            changes = lock.moved(lock.read(path), plan)
            steps.note(f"{len(plan)} packages, {len(changes)} changed")
            for change in changes[:40]:
                steps.note(f"  {change}")
            if changes:
                lock.write(path, lock.Lock(epoch, plan))


def main() -> int:
    """`scripts/relock`."""
    try:
        relock(Steps())
    except BuildError as error:
        print(f"\nNothing was locked: {error.what}", file=sys.stderr)
        if error.hint:
            print(f"What to do: {error.hint}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
