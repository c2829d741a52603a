"""What a disk says of its own health: smartctl's JSON, and the wear of eMMC, in a sentence.

The attributes are read, not shown. What counts: the disk's own verdict, sectors it could not
read (pending), sectors it has replaced, its temperature. A drive's verdict comes late: sectors
that cannot be read foretell the end better, so they warn by themselves.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from appliance.base.finding import PennypostError
from appliance.base.run import run
from hw.model import Health

SMARTCTL = "/usr/sbin/smartctl"
READ_SECONDS = 30.0
MANY_REALLOCATED = 50
HOT_CELSIUS = 60
# Attributes that makers use alike (smartmontools, drivedb.h defaults).
REALLOCATED, PENDING, UNCORRECTABLE = 5, 197, 198
# smartctl's exit status is a row of bits; only these say that the disk itself is unwell.
PREFAIL_NOW, FAILING = 1 << 4, 1 << 3
SILENT = Health(result="unknown", say="This disk tells nothing of its health.")
REPLACE = "Replace it soon; its mail moves to the new disk while the box goes on."


def read(device: str) -> Health:
    """Ask the disk at `device`. A disk that does not answer is "unknown", never an error."""
    try:
        done = run((SMARTCTL, "--json", "--all", device), timeout_seconds=READ_SECONDS, check=False)
        return parse(json.loads(done.stdout))
    except (PennypostError, ValueError):
        return SILENT


def start_test(device: str, kind: str) -> None:
    """Have the disk test itself in the background; `kind` is short or long."""
    run((SMARTCTL, "--test", kind, device), timeout_seconds=READ_SECONDS)


def parse(raw: Any) -> Health:
    """The health in smartctl's JSON; whatever is missing or odd there is left out. Pure."""
    if not isinstance(raw, Mapping):
        return SILENT
    celsius = _number(raw, "temperature", "current")
    hours = _number(raw, "power_on_time", "hours")
    result, say, fix = _judged(raw, celsius)
    return Health(result=result, say=say, fix=fix, temperature_celsius=celsius, hours=hours)


def _judged(raw: Mapping[str, Any], celsius: int | None) -> tuple[str, str, str]:
    """The first thing that is wrong, worst first."""
    passed = _get(raw, "smart_status", "passed")
    status = _number(raw, "smartctl", "exit_status") or 0
    pending = max(_attribute(raw, PENDING), _attribute(raw, UNCORRECTABLE))
    replaced = max(_attribute(raw, REALLOCATED), _number(raw, "scsi_grown_defect_list") or 0)
    if passed is False or status & FAILING:
        return "bad", "This disk says that it is about to fail.", REPLACE
    if failed := _failed_test(raw):
        return "bad", failed, REPLACE
    if pending:
        places = "1 place" if pending == 1 else f"{pending} places"
        return "bad", f"This disk cannot read {places} any more.", REPLACE
    if replaced > MANY_REALLOCATED:
        return "warn", f"This disk has replaced {replaced} worn-out places by spare ones.", REPLACE
    if status & PREFAIL_NOW:
        return "warn", "This disk reports a worn-out part.", REPLACE
    if celsius is not None and celsius >= HOT_CELSIUS:
        return "warn", f"This disk is hot: {celsius} °C.", "Give it air; heat shortens its life."
    if passed is True:
        worn = f" It has replaced {replaced} worn-out places." if replaced else ""
        return "ok", f"This disk is well.{worn}", ""
    return SILENT.result, SILENT.say, ""


def _failed_test(raw: Mapping[str, Any]) -> str:
    """The last self-test, when it came out badly."""
    table = _get(raw, "ata_smart_self_test_log", "standard", "table")
    last = table[0] if isinstance(table, list) and table else None
    if isinstance(last, Mapping) and _get(last, "status", "passed") is False:
        return "The last self-test of this disk found a fault."
    return ""


def _get(raw: Any, *path: str) -> Any:
    for name in path:
        raw = raw.get(name) if isinstance(raw, Mapping) else None
    return raw


def _number(raw: Any, *path: str) -> int | None:
    value = _get(raw, *path)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _attribute(raw: Mapping[str, Any], number: int) -> int:
    """The raw value of an ATA attribute; makers hide other things in its upper half."""
    table = _get(raw, "ata_smart_attributes", "table")
    for row in table if isinstance(table, list) else ():
        if _get(row, "id") == number:
            return (_number(row, "raw", "value") or 0) & 0xFFFFFFFF
    return 0


# -- eMMC and SD: what the box runs from --------------------------------------------------


def wear(life_time: str, pre_eol_info: str) -> Health:
    """The wear of an eMMC from sysfs `life_time` ("0x02 0x01") and `pre_eol_info` ("0x01").

    JESD84-B51: life time in steps of a tenth, 0x0b is beyond its end; spare blocks: 1 normal,
    2 four fifths used, 3 nine tenths used. 0 is "not told".
    """
    steps = max((_hex(word) for word in life_time.split()), default=0)
    spare = _hex(pre_eol_info)
    if not steps and not spare:
        return SILENT
    if steps >= 11 or spare >= 3:
        return Health(
            result="bad",
            say="The memory that the box runs from is worn out.",
            fix="Save a backup, then move to a new one.",
        )
    used = f"{min(steps, 10) * 10} %"
    if steps >= 9 or spare == 2:
        return Health(
            result="warn",
            say=f"The memory that the box runs from has used up to {used} of its life.",
            fix="Get a new one within the next months.",
        )
    return Health(
        result="ok", say=f"The memory that the box runs from has used up to {used} of its life."
    )


def read_wear(folder: Path) -> Health:
    """The wear of the disk whose sysfs folder this is (/sys/block/mmcblk0)."""
    device = folder / "device"
    return wear(_text(device / "life_time"), _text(device / "pre_eol_info"))


def _hex(word: str) -> int:
    try:
        value = int(word.strip(), 16)
    except ValueError:
        return 0
    return value if 0 <= value <= 15 else 0


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
