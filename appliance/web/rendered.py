"""What the steward rendered for the pages: RUN/rendered/web.json.

`rendered` is a link that the steward swaps, so a file that was read whole is always one
revision. It is read again when the link leads to another file; there is no reload to miss.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from appliance.base.finding import PennypostError
from appliance.settings import schema
from appliance.settings.schema import Settings

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class View:
    """One revision of the settings and the facts of the box (addresses, board...)."""

    revision: int = 0
    settings: Settings = field(default_factory=Settings)
    facts: Mapping[str, Any] = field(default_factory=dict)


class Rendered:
    """The newest `View`; the defaults as long as there is none."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._stamp: tuple[int, int, int] | None = None
        self._view = View()

    def view(self) -> View:
        try:
            status = self._path.stat()
        except OSError:
            return self._view
        stamp = (status.st_ino, status.st_mtime_ns, status.st_size)
        with self._lock:
            if stamp != self._stamp:
                self._view, self._stamp = self._load() or self._view, stamp
            return self._view

    def _load(self) -> View | None:
        try:
            raw = json.loads(self._path.read_bytes())
            known = {field.name for field in schema.fields()}
            flat = {
                name: value
                for name, value in schema.flatten(raw.get("settings", {})).items()
                if name in known
            }
            return View(
                revision=int(raw.get("revision", 0)),
                settings=schema.from_json(flat),
                facts=raw.get("facts", {}) or {},
            )
        except (OSError, ValueError, TypeError, AttributeError, PennypostError):
            _log.exception("web.json can't be read; the last one stays")
            return None
