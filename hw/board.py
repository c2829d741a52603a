"""Which board this is, and what its file says: `hw/boards/*.toml`.

    name = "front-panel"
    title = "An example"
    compatible = ["vendor,board"]             # names of the device tree, or
    machines = ["Vendor Inc./Product 7*"]     # vendor/product of the DMI tables

    [[led]]                                   # one that the kernel drives
    role = "power"                            # power, health, mail, disk, update, identify
    colour = "green"                          # green, amber, red, blue, white
    device = "*:green:power"                  # its name under /sys/class/leds

    [[chip]]                                  # a chip that the kernel has no driver for
    name = "front"
    kind = "pca9552"
    bus = "SMBus I801"                        # number, or how the adapter's name begins
    address = 0x60

    [[led]]                                   # a LED of that chip
    role = "health"
    chip = "front"
    line = 3

    [buttons]
    reset = [0x198]                           # key codes of linux/input-event-codes.h
    identify = []

    [[bay]]
    number = 1
    path = "pci-0000:00:1f.2-ata-1*"          # udev's ID_PATH

`read` is pure. A mistake is a Refused whose finding names the field.
"""

import tomllib
from collections.abc import Collection, Iterable, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from appliance.base.finding import Refused
from hw.leds import KINDS
from hw.model import Bay, Board, Colour, Led, LedChip, Role

FOLDER = Path(__file__).parent / "boards"
COMPATIBLE = Path("/sys/firmware/devicetree/base/compatible")
DMI = Path("/sys/class/dmi/id")
MAX_BYTES = 64 * 1024
_KEYS = {
    "": ("name", "title", "compatible", "machines", "led", "chip", "buttons", "bay"),
    "led": ("role", "colour", "device", "chip", "line"),
    "chip": ("name", "kind", "bus", "address"),
    "buttons": ("reset", "identify"),
    "bay": ("number", "path"),
}


def read(text: str) -> Board:
    """The board that a file describes. Raises Refused."""
    try:
        raw = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise refused("file", f"it cannot be read: {error}.") from None
    _known(raw, "")
    chips = tuple(_chip(table, n) for n, table in enumerate(_tables(raw, "chip")))
    named = {chip.name: chip for chip in chips}
    buttons = raw.get("buttons", {})
    if not isinstance(buttons, dict):
        raise refused("buttons", "it is not a section.")
    _known(buttons, "buttons")
    return Board(
        name=_text(raw, "name", "name"),
        title=_text(raw, "title", "title"),
        compatible=_texts(raw, "compatible"),
        machines=_texts(raw, "machines"),
        leds=tuple(_led(table, n, named) for n, table in enumerate(_tables(raw, "led"))),
        chips=chips,
        bays=tuple(_bay(table, n) for n, table in enumerate(_tables(raw, "bay"))),
        reset_keys=_keys(buttons, "reset"),
        identify_keys=_keys(buttons, "identify"),
    )


def load(path: Path) -> Board:
    """The board of a file. Raises Refused; OSError when it cannot be read at all."""
    with path.open("rb") as file:
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise refused("file", f"it is larger than {MAX_BYTES // 1024} kB.")
    try:
        return read(data.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise refused("file", "it is not UTF-8 text.") from None


def choose(boards: Iterable[Board], compatible: Collection[str], machine: str) -> Board | None:
    """The board of a machine: the name that the device tree puts first wins."""
    every = list(boards)
    for name in compatible:
        for board in every:
            if any(fnmatchcase(name, wanted) for wanted in board.compatible):
                return board
    return next((b for b in every if any(fnmatchcase(machine, w) for w in b.machines)), None)


def known(folder: Path = FOLDER) -> list[Board]:
    """The boards that the image brings; those with a fitting name before catch-all ones."""
    return sorted((load(path) for path in folder.glob("*.toml")), key=_generic_last)


def _generic_last(board: Board) -> tuple[bool, str]:
    return (board.name.startswith("generic"), board.name)


def machine(compatible: Path = COMPATIBLE, dmi: Path = DMI) -> tuple[tuple[str, ...], str]:
    """The device tree's names of this machine, and vendor/product of its DMI tables."""
    names = _quietly(compatible).split("\0")
    vendor, product = _quietly(dmi / "sys_vendor"), _quietly(dmi / "product_name")
    return tuple(name for name in names if name), f"{vendor.strip()}/{product.strip()}"


def _quietly(path: Path) -> str:
    try:
        return path.read_text("utf-8", "replace")
    except OSError:
        return ""


def bay_of(board: Board, path: str) -> int | None:
    """The number of the bay whose disk has this path; None when the board does not say."""
    return next((bay.number for bay in board.bays if fnmatchcase(path, bay.path)), None)


# --- one field after the other ---------------------------------------------------------


def refused(field: str, say: str) -> Refused:
    return Refused.because(
        f"board.{field}",
        f"The board file is not used: {field}: {say}",
        "Correct it; the box goes on as if there were none.",
    )


def _known(table: Mapping[str, Any], where: str) -> None:
    for name in table:
        if name not in _KEYS[where]:
            field = f"{where}.{name}" if where else name
            raise refused(field[:60], f"it is not known. There are: {', '.join(_KEYS[where])}.")


def _tables(raw: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    found = raw.get(name, [])
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise refused(name, f"write each one under [[{name}]].")
    for table in found:
        _known(table, name)
    return found


def _text(table: Mapping[str, Any], name: str, field: str) -> str:
    value = table.get(name)
    if not isinstance(value, str) or not value or not value.isprintable() or len(value) > 200:
        raise refused(field, "it has to be a text in quotation marks.")
    return value


def _texts(table: Mapping[str, Any], name: str) -> tuple[str, ...]:
    values = table.get(name, [])
    if not isinstance(values, list) or not all(isinstance(v, str) and v for v in values):
        raise refused(name, 'it has to be a list of texts, such as ["a", "b"].')
    return tuple(values)


def _number(table: Mapping[str, Any], name: str, field: str, low: int, high: int) -> int:
    value = table.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise refused(field, f"it has to be a whole number from {low} to {high}.")
    return value


def _keys(table: Mapping[str, Any], name: str) -> frozenset[int]:
    values = table.get(name, [])
    if not isinstance(values, list):
        raise refused(f"buttons.{name}", "it has to be a list of key codes, such as [0x198].")
    return frozenset(
        _number({"code": value}, "code", f"buttons.{name}", 1, 0x2FF) for value in values
    )


def _chip(table: Mapping[str, Any], number: int) -> LedChip:
    field = f"chip {number + 1}"
    kind = _text(table, "kind", f"{field}.kind")
    if kind not in KINDS:
        raise refused(f"{field}.kind", f"“{kind}” is not known. There are: {', '.join(KINDS)}.")
    bus = table.get("bus")
    return LedChip(
        name=_text(table, "name", f"{field}.name"),
        kind=kind,
        bus=_text(table, "bus", f"{field}.bus")
        if isinstance(bus, str)
        else _number(table, "bus", f"{field}.bus", 0, 255),
        # 0x00 to 0x07 and from 0x78 on are the bus's own.
        address=_number(table, "address", f"{field}.address", 0x08, 0x77),
    )


def _led(table: Mapping[str, Any], number: int, chips: Mapping[str, LedChip]) -> Led:
    field = f"led {number + 1}"
    role = _choice(table, "role", f"{field}.role", [role.value for role in Role])
    colour = _choice({"colour": "green"} | dict(table), "colour", f"{field}.colour", list(Colour))
    if ("device" in table) == ("chip" in table):
        raise refused(f"{field}.device", "give either device, or chip and line.")
    if "device" in table:
        device = _text(table, "device", f"{field}.device")
        if "/" in device:
            raise refused(f"{field}.device", "it is a name under /sys/class/leds, not a path.")
        return Led(role=Role(role), colour=Colour(colour), device=device)
    name = _choice(table, "chip", f"{field}.chip", list(chips))
    line = _number(table, "line", f"{field}.line", 0, KINDS[chips[name].kind].lines - 1)
    return Led(role=Role(role), colour=Colour(colour), chip=name, line=line)


def _choice(table: Mapping[str, Any], name: str, field: str, there: list[str]) -> str:
    value = table.get(name)
    if value not in there:
        raise refused(field, f"it has to be one of: {', '.join(there) or '(none is defined)'}.")
    return str(value)


def _bay(table: Mapping[str, Any], number: int) -> Bay:
    field = f"bay {number + 1}"
    return Bay(
        number=_number(table, "number", f"{field}.number", 0, 999),
        path=_text(table, "path", f"{field}.path"),
    )
