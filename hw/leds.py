"""The ways to a LED: the kernel's LED class, and chips on an I2C bus that no driver has.

The kernel goes first: it blinks by itself, knows disk activity, and shows a panic. It is asked
by files under /sys/class/leds (a udev rule gives them to the panel). A chip is written to only
where the kernel has no driver for it, at the one address that the board's file names; nothing
is ever searched for, since a bus may carry parts that break when they are read.

Every way answers `show(pattern)` and raises OSError when the hardware does not take it.
"""

import errno
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from hw.model import DARK, Colour, LedChip, Pattern

CLASS = Path("/sys/class/leds")
BUSES = Path("/sys/bus/i2c/devices")
RIGHTS_SECONDS = 1.0  # udev needs a moment to hand over the files that a trigger brings
RIGHTS_TRIES = 50


class Light(Protocol):
    """One LED of one colour."""

    def show(self, pattern: Pattern) -> None: ...


class ClassLed:
    """A LED that the kernel drives: its folder under /sys/class/leds."""

    def __init__(self, folder: Path, *, pause: Callable[[float], None] = time.sleep) -> None:
        self._folder = folder
        self._pause = pause

    def show(self, pattern: Pattern) -> None:
        known = self._read("trigger").replace("[", "").replace("]", "").split()
        if pattern.trigger and pattern.trigger in known:
            self._write("trigger", pattern.trigger)
        elif pattern.is_lit and not pattern.is_steady and "timer" in known:
            self._blink(pattern)
        else:
            self._write("trigger", "none")
            self._write("brightness", self._read("max_brightness") if pattern.is_lit else "0")

    def _blink(self, pattern: Pattern) -> None:
        # Full brightness first: the timer blinks with the brightness that it finds.
        self._write("trigger", "none")
        self._write("brightness", self._read("max_brightness"))
        self._write("trigger", "timer")
        self._write("delay_on", str(pattern.on_ms))
        self._write("delay_off", str(pattern.off_ms))

    def _read(self, name: str) -> str:
        return (self._folder / name).read_text().strip()

    def _write(self, name: str, text: str) -> None:
        """Write it, waiting a moment for a file that is not there or not ours yet."""
        for _ in range(RIGHTS_TRIES):
            try:
                self._put(name, text)
                return
            except (PermissionError, FileNotFoundError):
                self._pause(RIGHTS_SECONDS / RIGHTS_TRIES)
        self._put(name, text)

    def _put(self, name: str, text: str) -> None:
        # Not write_text: a missing file must not be made, in a test's folder neither.
        fd = os.open(self._folder / name, os.O_WRONLY | os.O_TRUNC)
        try:
            os.write(fd, text.encode())
        finally:
            os.close(fd)


class Bus(Protocol):
    """What is used of smbus2.SMBus."""

    def write_byte_data(self, address: int, register: int, value: int) -> None: ...

    def read_byte_data(self, address: int, register: int) -> int: ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class ChipKind:
    """How many LEDs a chip drives, where its registers lie, and its clock.

    From `base`: PSC0, PWM0, PSC1, PWM1 (two rhythms), then LS0... with two bits for each LED.
    A rhythm takes (PSC + 1) / `clock_hz` seconds and is lit for (256 - PWM) / 256 of them.
    """

    lines: int
    base: int
    clock_hz: int = 44

    @property
    def selectors(self) -> range:
        return range(self.base + 4, self.base + 4 + (self.lines + 3) // 4)


KINDS: Mapping[str, ChipKind] = {
    "pca9550": ChipKind(lines=2, base=1),
    "pca9551": ChipKind(lines=8, base=1, clock_hz=38),
    "pca9552": ChipKind(lines=16, base=2),
    "pca9553": ChipKind(lines=4, base=1),
}
ON, OFF, FIRST_RHYTHM = 0, 1, 2


@dataclass(slots=True)
class Chip:
    """A LED chip of the pca955x family. All registers are written by us, none is trusted."""

    what: LedChip
    open_bus: Callable[[int | str], Bus]
    lines: dict[int, Pattern] = field(default_factory=dict)
    _bus: Bus | None = None
    _written: dict[int, int] = field(default_factory=dict)

    def show(self, line: int, pattern: Pattern) -> None:
        """Let a line show a pattern; a chip knows two rhythms, the others take the nearest."""
        self.lines[line] = pattern
        self._bring(registers(KINDS[self.what.kind], self.lines))

    def _bring(self, wanted: Mapping[int, int]) -> None:
        try:
            if self._bus is None:
                self._bus = self.open_bus(self.what.bus)
            for register, value in wanted.items():
                if self._written.get(register) != value:
                    self._bus.write_byte_data(self.what.address, register, value)
                    self._written[register] = value
        except OSError:
            self._forget()
            raise

    def _forget(self) -> None:
        """The chip may have lost its power: next time all is written again."""
        self._written.clear()
        if self._bus is not None:
            self._bus.close()
            self._bus = None


def registers(kind: ChipKind, lines: Mapping[int, Pattern]) -> dict[int, int]:
    """Register to value for what the lines show; a line that is not named is off."""
    rhythms = sorted({p for p in lines.values() if not p.is_steady and p.is_lit}, key=_importance)
    times = list(dict.fromkeys((p.on_ms, p.off_ms) for p in rhythms))[:2]
    values = {}
    for number, (on_ms, off_ms) in enumerate(times):
        values[kind.base + 2 * number] = _prescale(on_ms + off_ms, kind.clock_hz)
        values[kind.base + 2 * number + 1] = _duty(on_ms, off_ms)
    for at, register in enumerate(kind.selectors):
        bits = [_selector(lines.get(4 * at + n), times) for n in range(4)]
        values[register] = sum(two << (2 * n) for n, two in enumerate(bits))
    return values


def _importance(pattern: Pattern) -> tuple[int, int, int]:
    """The faster, the more urgent."""
    return (pattern.on_ms + pattern.off_ms, pattern.on_ms, pattern.off_ms)


def _prescale(period_ms: int, clock_hz: int) -> int:
    return min(255, max(0, round(period_ms * clock_hz / 1000) - 1))


def _duty(on_ms: int, off_ms: int) -> int:
    """PWM: 0 would be lit for ever, 255 hardly at all."""
    return min(255, max(1, 256 - round(256 * on_ms / (on_ms + off_ms))))


def _selector(pattern: Pattern | None, times: list[tuple[int, int]]) -> int:
    if pattern is None or not pattern.is_lit:
        return OFF
    if pattern.is_steady:
        return ON
    own = (pattern.on_ms, pattern.off_ms)
    nearest = min(range(len(times)), key=lambda n: abs(sum(times[n]) - sum(own)))
    return FIRST_RHYTHM + nearest


@dataclass(frozen=True, slots=True)
class ChipLed:
    """A line of a chip."""

    chip: Chip
    line: int

    def show(self, pattern: Pattern) -> None:
        self.chip.show(self.line, pattern)


@dataclass(frozen=True, slots=True)
class Lamp:
    """All LEDs of one role: one colour, or several of which the wanted one lights."""

    lights: Mapping[Colour, Light]

    def show(self, pattern: Pattern) -> None:
        lit = self._lit(pattern.colour)
        for colour, light in self.lights.items():
            light.show(pattern if colour in lit else DARK)

    def _lit(self, wanted: Colour) -> set[Colour]:
        """The LEDs that make a colour: itself, red and green together, or all there are."""
        if wanted in self.lights:
            return {wanted}
        mixed = {Colour.RED, Colour.GREEN}
        if wanted is Colour.AMBER and mixed <= self.lights.keys():
            return mixed
        if wanted is Colour.RED and Colour.AMBER in self.lights:
            return {Colour.AMBER}
        return set(self.lights)


def open_smbus(bus: int | str, folder: Path = BUSES) -> Bus:
    """The I2C bus of that number, or whose adapter has that name. smbus2's one door."""
    number = bus if isinstance(bus, int) else bus_number(bus, folder)
    try:
        from smbus2 import SMBus  # only boards with such a chip pay for it
    except ImportError as error:
        raise OSError(errno.ENOSYS, "smbus2 is not installed") from error
    opened: Bus = SMBus(number)
    return opened


def bus_number(name: str, folder: Path = BUSES) -> int:
    """The number of the first bus whose adapter's name begins so: numbers follow no order."""
    for path in sorted(folder.glob("i2c-*"), key=lambda p: int(p.name.rpartition("-")[2])):
        try:
            if (path / "name").read_text().strip().startswith(name):
                return int(path.name.rpartition("-")[2])
        except OSError:
            continue
    raise FileNotFoundError(errno.ENOENT, f"no I2C bus is called {name}")
