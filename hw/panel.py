"""The LEDs of a board, found and driven: what `patterns` decides is shown here.

A LED that is not there, or does not take what is written, harms nothing: one line in the log,
and another try half a minute later (drivers load late, panels are plugged in).
"""

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

from hw.leds import CLASS, Bus, Chip, ChipLed, ClassLed, Lamp, Light, open_smbus
from hw.model import Board, Colour, Led, Pattern, Role
from hw.patterns import BoxState, fitted

RETRY_SECONDS = 30.0
_log = logging.getLogger("pennypost.panel")


@dataclass(slots=True)
class _Shown:
    """What a role shows just now, and since when it does not work."""

    pattern: Pattern | None = None
    failed_at: float | None = None
    said: str = ""


@dataclass(slots=True)
class BoardPanel:
    """The panel of a board. `monotonic` is handed in."""

    board: Board
    monotonic: Callable[[], float]
    leds: Path = CLASS
    open_bus: Callable[[int | str], Bus] = open_smbus
    _lamps: dict[Role, Lamp] = field(default_factory=dict)
    _shown: dict[Role, _Shown] = field(default_factory=dict)
    _chips: dict[str, Chip] = field(default_factory=dict)
    _devices: tuple[str, ...] | None = None

    def roles(self) -> frozenset[Role]:
        """The roles that have a LED just now. Looks for LEDs that came or went."""
        found = device_names(self.leds)
        if found != self._devices:
            self._devices = found
            self._lamps = self._find(found)
            self._shown.clear()
            names = ", ".join(role for role in Role if role in self._lamps)
            _log.info("board %s; LEDs: %s", self.board.name, names or "none")
        return frozenset(self._lamps)

    def bring(self, state: BoxState) -> None:
        """Let all LEDs tell the state."""
        for role, pattern in fitted(state, self.roles()).items():
            self.show(role, pattern)

    def show(self, role: Role, pattern: Pattern) -> None:
        lamp, shown = self._lamps.get(role), self._shown.setdefault(role, _Shown())
        if lamp is None or shown.pattern == pattern or self._rests(shown):
            return
        try:
            lamp.show(pattern)
        except OSError as error:
            self._failed(role, shown, error)
            return
        shown.pattern, shown.failed_at, shown.said = pattern, None, ""

    def _rests(self, shown: _Shown) -> bool:
        if shown.failed_at is None:
            return False
        return self.monotonic() - shown.failed_at < RETRY_SECONDS

    def _failed(self, role: Role, shown: _Shown, error: OSError) -> None:
        shown.pattern, shown.failed_at = None, self.monotonic()
        say = error.strerror or str(error)
        if say != shown.said:
            shown.said = say
            _log.warning("the LED for %s cannot be driven: %s", role, say)

    def _find(self, devices: Iterable[str]) -> dict[Role, Lamp]:
        names = tuple(devices)
        lights: dict[Role, dict[Colour, Light]] = {}
        for led in self.board.leds:
            if light := self._light(led, names):
                lights.setdefault(led.role, {}).setdefault(led.colour, light)
        return {role: Lamp(of_colours) for role, of_colours in lights.items()}

    def _light(self, led: Led, devices: tuple[str, ...]) -> Light | None:
        if led.chip:
            return ChipLed(self._chip(led.chip), led.line)
        name = next((name for name in devices if fnmatchcase(name, led.device)), None)
        return ClassLed(self.leds / name) if name else None

    def _chip(self, name: str) -> Chip:
        if name not in self._chips:
            what = next(chip for chip in self.board.chips if chip.name == name)
            self._chips[name] = Chip(what, self.open_bus)
        return self._chips[name]


def device_names(folder: Path) -> tuple[str, ...]:
    """The LEDs that the kernel drives, without those of keyboards and network sockets."""
    try:
        names: Iterable[str] = (path.name for path in folder.iterdir())
        return tuple(sorted(name for name in names if not name.startswith("input")))
    except OSError:
        return ()
