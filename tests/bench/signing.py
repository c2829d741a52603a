"""Settings and facts with which the relay signs what it sends for example.test's sender."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def given(folder: Path) -> dict[str, Any]:
    """What `Ours` is to be given."""
    raise NotImplementedError(folder)
