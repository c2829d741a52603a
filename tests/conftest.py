"""Order and common fixtures of all tests."""

from __future__ import annotations

import functools
import os
import re
import time
from collections.abc import Generator
from pathlib import Path

import hypothesis
import pytest

from appliance.certs import dkim_keys

# Two busy cores: how long one example takes says nothing about the product. The same examples
# each time, so that a red run is a change's doing; PENNYPOST_RANDOM=1 (make soak) draws others.
hypothesis.settings.register_profile(
    "house",
    deadline=None,
    max_examples=60,
    derandomize=not os.environ.get("PENNYPOST_RANDOM"),
)
hypothesis.settings.load_profile("house")

# An RSA key takes 50 ms to make: one does for all boxes within this process.
dkim_keys.make_rsa = functools.cache(dkim_keys.make_rsa)

ROOT = Path(__file__).resolve().parent.parent
_COST = {"full": 1, "image": 2, "soak": 3}
_BUILD_LIMIT_SECONDS = 2400
_SWEEP_LIMIT_SECONDS = 7200  # of a long sweep that names no limit of its own


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Cheap tests first: they fail soonest, and meanwhile the image is built."""

    def cost(item: pytest.Item) -> int:
        return max((_COST.get(mark.name, 0) for mark in item.iter_markers()), default=0)

    items.sort(key=cost)  # stable: files keep their order
    for item in items:
        if item.get_closest_marker("soak") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(_SWEEP_LIMIT_SECONDS))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Let the build that scripts/test started end before a test needs the image.

    Here and not in a fixture, so that a test's own time limit does not count it.
    """
    if item.get_closest_marker("image") and (result := build_result()):
        end = time.monotonic() + _BUILD_LIMIT_SECONDS
        while not result.exists() and time.monotonic() < end:
            time.sleep(0.5)
    return (yield)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Keep what went wrong as it happens, in build/test/: a run cut off has told it by then."""
    if report.failed:
        told = ROOT / "build" / "test" / "failures.txt"
        told.parent.mkdir(parents=True, exist_ok=True)
        with told.open("a") as file:
            captured = "\n".join(text for _, text in report.sections)
            file.write(f"=== {report.nodeid} ({report.when})\n{report.longreprtext}\n{captured}\n")


def build_result() -> Path | None:
    """The file that will hold the exit code of the build in the background, if there is one."""
    name = os.environ.get("PENNYPOST_IMAGE_BUILD")
    return ROOT / name if name else None


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return ROOT


_MISSING_TOOL = re.compile(r"not installed|not on this machine|needs sfdisk|needs qemu|lacking:")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A tool that scripts/setup-host installs may lack on the image alone; elsewhere the test
    that needs it fails, it is not skipped."""
    report = yield
    if report.skipped and not os.environ.get("PENNYPOST_ON_IMAGE"):
        why = str(report.longrepr)
        if _MISSING_TOOL.search(why):
            report.outcome, report.longrepr = "failed", f"{why}\nrun scripts/setup-host test"
    return report
