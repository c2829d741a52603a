"""A board without hardware: for a checkout, for tests, and for machines that have no LEDs.

`FakeSysfs` and `FakeBus` are the two ways to a LED as tests see them: a folder like
/sys/class/leds, and an I2C bus whose chips keep their registers.
"""

import errno
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from hw.model import DARK, Board, Led, Pattern, Role

FAKE_BOARD = Board(
    name="fake",
    title="A checkout",
    leds=tuple(Led(role=role, device=f"fake:{role}") for role in Role),
)


@dataclass(slots=True)
class FakePanel:
    """Remembers what each LED shows and every change, in order."""

    shown: dict[Role, Pattern] = field(default_factory=dict)
    changes: list[tuple[Role, Pattern]] = field(default_factory=list)

    def show(self, role: Role, pattern: Pattern) -> None:
        if self.shown.get(role) != pattern:
            self.shown[role] = pattern
            self.changes.append((role, pattern))

    def text(self) -> str:
        """One line for people: `power steady green · health blinking amber · mail dark`."""
        return " · ".join(f"{role} {in_words(self.shown.get(role, DARK))}" for role in Role)


def in_words(pattern: Pattern) -> str:
    """A pattern as one would say it."""
    if not pattern.is_lit:
        return "dark"
    if pattern.is_steady:
        return f"steady {pattern.colour}"
    speed = "flickering" if pattern.on_ms + pattern.off_ms < 500 else "blinking"
    return f"{speed} {pattern.colour}"


@dataclass(slots=True)
class FakeBus:
    """An I2C bus: registers by address. A bound address answers as one with a driver does."""

    chips: dict[int, dict[int, int]] = field(default_factory=dict)
    bound: set[int] = field(default_factory=set)
    touched: list[int] = field(default_factory=list)

    def _at(self, address: int) -> dict[int, int]:
        self.touched.append(address)
        if address in self.bound:
            raise OSError(errno.EBUSY, "Device or resource busy")
        if address not in self.chips:
            raise OSError(errno.ENXIO, "No such device or address")
        return self.chips[address]

    def write_byte_data(self, address: int, register: int, value: int) -> None:
        self._at(address)[register] = value & 0xFF

    def read_byte_data(self, address: int, register: int) -> int:
        return self._at(address).get(register, 0)

    def close(self) -> None:
        """Nothing is held."""


def fake_led(
    folder: Path,
    name: str,
    *,
    triggers: str = "none timer heartbeat disk-activity",
    maximum: int = 255,
) -> Path:
    """A LED as the kernel shows it, with the files of the timer there from the start."""
    led = folder / name
    led.mkdir(parents=True)
    files: Mapping[str, str] = {
        "trigger": triggers,
        "brightness": "0",
        "max_brightness": str(maximum),
        "delay_on": "500",
        "delay_off": "500",
    }
    for file, text in files.items():
        (led / file).write_text(text)
    return led
