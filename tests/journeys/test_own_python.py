"""The fast tests once more, with the image's own Python and Debian packages.

The host's virtual environment has the same versions by name, but another Python and
other builds; what runs on the box is what is on the image.
"""

from __future__ import annotations

import re
import shutil
import sysconfig
from pathlib import Path

import pytest

from image import sandbox
from tests.support.disk import partitions

pytestmark = [pytest.mark.image, pytest.mark.timeout(3600)]
# The test runner is not on the image; these are plain Python and run on any version.
_RUNNER = (
    "pytest",
    "_pytest",
    "py.py",
    "pluggy",
    "iniconfig",
    "packaging",
    "hypothesis",
    "attr",
    "attrs",
    "sortedcontainers",
    "pytest_timeout",
    "_hypothesis_",
    "xdist",
    "execnet",
    # the oracles of some tests
    "dkim",
    "authres",
    "nacl",
)
# What only the host has: a browser's driver, the build.
_NOT_THERE = re.compile(r"^(?:from|import) (?:playwright|image|tests\.support\.(?:browser|wizard))")


@pytest.fixture(scope="module")
def tree(image: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The root file system of the image, unpacked."""
    folder = tmp_path_factory.mktemp("own") / "root"
    offset = partitions(image)["root_a"].offset
    sandbox.find().run(
        ["unsquashfs", "-q", "-n", "-no-xattrs", "-o", str(offset), "-d", str(folder), str(image)]
    )
    return folder


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """pytest and what it needs, copied out of the virtual environment."""
    folder = tmp_path_factory.mktemp("runner")
    for entry in Path(sysconfig.get_paths()["purelib"]).iterdir():
        if entry.name.startswith(_RUNNER) and entry.suffix != ".so":
            if entry.is_dir():
                shutil.copytree(entry, folder / entry.name)
            else:
                shutil.copyfile(entry, folder / entry.name)
    return folder


def only_here(tests: Path) -> list[Path]:
    """The test files, and the folders whose conftest, cannot be read on the box."""
    found = [
        path.parent if path.name == "conftest.py" else path
        for path in sorted(tests.rglob("*.py"))
        if path.name.startswith(("test_", "conftest"))
        and any(_NOT_THERE.match(line) for line in path.read_text().splitlines())
    ]
    return [tests / "journeys", tests / "image", *found]


def test_the_fast_tests_pass_with_the_images_own_python(
    tree: Path, runner: Path, root: Path, tmp_path: Path
) -> None:
    checkout = tmp_path / "checkout"
    for name in ("appliance", "hw", "tests", "rootfs", "image", "scripts", "docs"):
        if (root / name).exists():
            ignore = shutil.ignore_patterns("*.pyc", "__pycache__")
            shutil.copytree(root / name, checkout / name, symlinks=True, ignore=ignore)
    shutil.copyfile(root / "pyproject.toml", checkout / "pyproject.toml")
    skipped = [f"--ignore={path.relative_to(checkout)}" for path in only_here(checkout / "tests")]
    command = [
        *("/usr/bin/python3", "-m", "pytest", "-q", "-p", "no:cacheprovider"),
        *("-n", "2", "--dist", "loadfile"),
        *("-m", "not full and not image and not soak", "--timeout=120"),
        *("--rootdir=/checkout", *skipped),
        "tests",
    ]
    # /etc/hosts leads to what the box renders at its start; some tests look up localhost.
    hosts = "mkdir -p /run/pennypost/rendered && echo 127.0.0.1 localhost >/etc/hosts"
    said = sandbox.chroot(
        tree,
        ["/bin/sh", "-c", f'{hosts} && cd /checkout && exec "$@" 2>&1', "sh", *command],
        binds={checkout: "/checkout", runner: "/runner"},
        env={
            "PYTHONPATH": "/checkout:/runner",
            "HOME": "/tmp",
            "PYTHONDONTWRITEBYTECODE": "1",
            "PENNYPOST_ON_IMAGE": "1",
        },
    )
    print(said[-2000:])
    assert re.search(r"\d+ passed", said), said[-4000:]
    assert " failed" not in said
