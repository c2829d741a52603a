"""The image, built once, and the box that has been through the wizard, frozen once."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.support.wait import wait_until

_BUILD_LIMIT_SECONDS = 2400


@pytest.fixture(scope="session")
def image(root: Path) -> Path:
    """The amd64 disk image of this checkout: built now, or already being built."""
    return built_image(root, "generic-amd64")


def built_image(root: Path, board: str) -> Path:
    """Build a board's image (a quick look when it is up to date) and return its path."""
    ready = os.environ.get("PENNYPOST_IMAGE_BUILD")  # scripts/test builds it in the background
    if ready and board == "generic-amd64":
        wait_until(
            (root / ready).exists,
            what="the image built",
            timeout_seconds=_BUILD_LIMIT_SECONDS,
            every_seconds=0.5,
        )
        code, log = int((root / ready).read_text()), root / "build/test/image.log"
    else:
        log = root / f"build/test/{board}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("wb") as output:
            code = subprocess.run(
                ["make", "image", f"BOARD={board}"],
                cwd=root,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                timeout=_BUILD_LIMIT_SECONDS,
                check=False,
            ).returncode
    if code != 0:
        tail = log.read_text("utf-8", "replace").splitlines()[-40:]
        pytest.fail("the image could not be built:\n" + "\n".join(tail), pytrace=False)
    images = sorted((root / "build/images").glob(f"*{board}*.img"), key=lambda p: p.stat().st_mtime)
    if not images:
        pytest.fail(f"the build says it is done but there is no *{board}*.img", pytrace=False)
    return images[-1]
