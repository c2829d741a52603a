"""Order and common fixtures of all tests."""

from __future__ import annotations

from pathlib import Path

import hypothesis
import pytest

# Two busy cores: how long one example takes says nothing about the product.
hypothesis.settings.register_profile("house", deadline=None)
hypothesis.settings.load_profile("house")

ROOT = Path(__file__).resolve().parent.parent
_COST = {"full": 1, "image": 2, "soak": 3}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Cheap tests first: they fail soonest, and meanwhile the image is built."""

    def cost(item: pytest.Item) -> int:
        return max((_COST.get(mark.name, 0) for mark in item.iter_markers()), default=0)

    items.sort(key=cost)  # stable: files keep their order


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return ROOT
