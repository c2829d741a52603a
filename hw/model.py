"""The words of the hardware: LEDs and what they show, boards. Standard library only."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol


class Role(StrEnum):
    """What a LED is for."""

    POWER = "power"
    HEALTH = "health"
    MAIL = "mail"
    DISK = "disk"
    UPDATE = "update"
    IDENTIFY = "identify"


class Colour(StrEnum):
    GREEN = "green"
    AMBER = "amber"
    RED = "red"
    BLUE = "blue"
    WHITE = "white"


class Trigger(StrEnum):
    """Rhythms that the kernel keeps by itself; the value is its name for them."""

    NONE = ""
    HEARTBEAT = "heartbeat"
    DISK_ACTIVITY = "disk-activity"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pattern:
    """How a LED lights: for `on_ms`, then dark for `off_ms`, again and again.

    Steady is on without ever off; dark is never on. One LED of several colours shows `colour`;
    one of a single colour shows the same times in its own. Where the kernel drives the LED and
    knows `trigger`, that takes the place of the times.
    """

    on_ms: int = 0
    off_ms: int = 0
    colour: Colour = Colour.GREEN
    trigger: Trigger = Trigger.NONE

    @property
    def is_lit(self) -> bool:
        return self.on_ms > 0

    @property
    def is_steady(self) -> bool:
        return self.on_ms > 0 and self.off_ms == 0


DARK = Pattern()


@dataclass(frozen=True, slots=True, kw_only=True)
class Led:
    """A LED of a board: one the kernel drives (`device`), or a line of a chip.

    `device` is the name under /sys/class/leds, or a pattern for it (`input*`-style wildcards).
    """

    role: Role
    colour: Colour = Colour.GREEN
    device: str = ""
    chip: str = ""
    line: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class LedChip:
    """A LED chip on an I2C bus: the bus by its number or its name, and the one address."""

    name: str
    kind: str
    bus: int | str
    address: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Bay:
    """A place for a disk: its number as printed on the case, and the path (udev's ID_PATH)."""

    number: int
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Board:
    """What a board has to show with, and to be pressed on.

    `compatible` and `machines` say by what it is recognised: names of its device tree, or
    `vendor/product` of its DMI tables; wildcards allowed. Buttons are key codes.
    """

    name: str
    title: str
    compatible: tuple[str, ...] = ()
    machines: tuple[str, ...] = ()
    leds: tuple[Led, ...] = ()
    chips: tuple[LedChip, ...] = ()
    bays: tuple[Bay, ...] = ()
    reset_keys: frozenset[int] = frozenset()
    identify_keys: frozenset[int] = frozenset()

    @property
    def roles(self) -> frozenset[Role]:
        return frozenset(led.role for led in self.leds)


class Panel(Protocol):
    """Whatever shows patterns: LEDs, a fake, a line of text."""

    def show(self, role: Role, pattern: Pattern) -> None:
        """Let the LED of `role` show `pattern`; a panel without that LED does nothing."""
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
