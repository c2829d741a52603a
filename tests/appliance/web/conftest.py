"""A box with pages and a real steward for each test; see tests/support/web_box.py."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.web_box import Visitor, WebBox


@pytest.fixture
def box(tmp_path: Path) -> Iterator[WebBox]:
    """A box that nobody has claimed yet."""
    with WebBox(tmp_path) as running:
        yield running


@pytest.fixture
def owner(box: WebBox) -> Visitor:
    """The administrator of a box that is set up, signed in."""
    return box.set_up()
