"""The words of the hardware: boards, LEDs, what a LED shows. Standard library only."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol


class Function(StrEnum):
    """What a LED is for; the kernel's names where it has one."""

    POWER = "power"
    STATUS = "status"
    MAIL = "mail"


class Colour(StrEnum):
    GREEN = "green"
    AMBER = "amber"
    RED = "red"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pattern:
    """How a LED lights: for `on_ms`, then dark for `off_ms`, again and again.

    Steady is on without ever off; dark is never on. One LED of several colours shows `colour`;
    one of a single colour shows the same times in its own.
    """

    on_ms: int = 0
    off_ms: int = 0
    colour: Colour = Colour.GREEN

    @property
    def is_lit(self) -> bool:
        return self.on_ms > 0

    @property
    def is_steady(self) -> bool:
        return self.on_ms > 0 and self.off_ms == 0


DARK = Pattern()


@dataclass(frozen=True, slots=True)
class Led:
    """A LED of a board."""

    name: str
    function: Function


@dataclass(frozen=True, slots=True, kw_only=True)
class Board:
    """What a board has to show with."""

    name: str
    title: str
    leds: tuple[Led, ...] = ()


class Panel(Protocol):
    """Whatever shows patterns: LEDs, a fake, a line of text."""

    def show(self, function: Function, pattern: Pattern) -> None:
        """Let the LED of `function` show `pattern`; a panel without that LED does nothing."""
        ...


class Bus(StrEnum):
    """What a disk hangs on. Mailboxes are kept on SATA and SAS."""

    SATA = "sata"
    SAS = "sas"
    USB = "usb"
    NVME = "nvme"
    MMC = "mmc"
    VIRTUAL = "virtual"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Why:
    """Why a disk may not be used, and what helps."""

    say: str
    fix: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Disk:
    """A disk as a person is shown it. Vendor, model and serial are its own words: untrusted.

    `device` ("/dev/sdb") is valid only now; `identity` ("wwn-0x5000..." or
    "serial-MODEL_SERIAL", empty when the disk tells neither) finds it again.
    """

    device: str
    identity: str
    bus: Bus
    path: str = ""  # udev's ID_PATH: where it is plugged in
    bay: str = ""
    vendor: str = ""
    model: str = ""
    serial: str = ""
    size_bytes: int = 0
    rotation_rpm: int | None = None  # 0: solid state; None: it does not say
    content: tuple[str, ...] = ()  # what is on it, as sentences
    marker: str = ""  # volume of the Pennypost disk, when it is one
    in_use: tuple[str, ...] = ()
    refusal: Why | None = None  # None: it may be used

    @property
    def name(self) -> str:
        """The disk in a sentence: maker, model and serial number."""
        words = " ".join(filter(None, (self.vendor, self.model))) or "disk"
        return f"{words} ({self.serial})" if self.serial else words


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """What a disk says of itself. `result` is ok, warn, bad or unknown."""

    result: str
    say: str
    fix: str = ""
    temperature_celsius: int | None = None
    hours: int | None = None
