"""Where the pages find things: what `main` or a test hands to `create_app`."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from appliance.base.clock import Clock, SystemClock

_BESIDE_THE_PACKAGE = Path(__file__).resolve().parents[2] / "docs" / "manual"


@dataclass(frozen=True, slots=True, kw_only=True)
class WebConfig:
    """`data` and `run` are the folders of the box (see `appliance/web/main.py`).

    `behind_proxy`: nginx stands in front and says by X-Forwarded-* who calls and how. Plain
    HTTP then gets the landing page only. Without a proxy all pages are served as they come,
    which is for loopback.
    """

    data: Path
    run: Path
    behind_proxy: bool = False
    manual: Path = _BESIDE_THE_PACKAGE
    clock: Clock = field(default_factory=SystemClock)

    @property
    def rendered(self) -> Path:
        return self.run / "rendered" / "web.json"

    @property
    def claim_code(self) -> Path:
        return self.data / "claim" / "code"

    @property
    def claim_press(self) -> Path:
        return self.run / "claim-press"

    @property
    def claimed_marker(self) -> Path:
        return self.data / "claim" / "claimed"

    @property
    def root_certificate(self) -> Path:
        return self.data / "keys" / "public" / "ca.crt"
