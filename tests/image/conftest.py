"""The built image, for tests that look at it or borrow its boot loader."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.journeys.conftest import built_image


@pytest.fixture(scope="session")
def image(root: Path) -> Path:
    """The amd64 disk image of this checkout."""
    return built_image(root, "generic-amd64")
