"""The LEDs of the bays that disks sit in: fault and locate.

An enclosure that speaks SES is in /sys/class/enclosure, and udev gives its files to the panel.
Others (SGPIO and the em_message of AHCI, NPEM) only `ledctl` knows, which needs root: the panel
writes what it wishes into `WISHES`, and this module, as pennypost-bays.service, has it done.
Backplanes blink in ways of their own; what was written is all that can be known.
"""

import logging
import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from appliance.base.finding import PennypostError
from appliance.base.run import run

WISHES, LAST = Path("/run/pennypost-panel/bays"), Path("/run/pennypost-bays.last")
LEDCTL = "/usr/sbin/ledctl"
TIMEOUT_SECONDS = 20
_IBPI = {"fault": "failure", "locate": "locate"}  # our word: ledctl's
_DISK = re.compile(r"sd[a-z]{1,3}")
_log = logging.getLogger("pennypost.bays")


@dataclass(frozen=True, slots=True, order=True)
class Mark:
    """One LED that is to be lit: of the bay that the disk (`sdb`) sits in."""

    disk: str
    what: str  # fault, locate


@dataclass(slots=True)
class Bays:
    """The panel's side: slots it can write to itself, wishes for the others."""

    folder: Path = Path("/sys/class/enclosure")
    wishes: Path = WISHES
    _lit: dict[Mark, Path | None] = field(default_factory=dict)

    def bring(self, wanted: Iterable[Mark]) -> None:
        """Light these and no others. A slot that fails is said; nothing else suffers."""
        marks = set(wanted)
        if marks == self._lit.keys():
            return
        for mark in self._lit.keys() - marks:
            _write(self._lit.pop(mark), mark, on=False)
        for mark in marks - self._lit.keys():
            self._lit[mark] = self._slot_of(mark.disk)
            _write(self._lit[mark], mark, on=True)
        others = sorted(mark for mark, slot in self._lit.items() if slot is None)
        lines = "".join(f"{mark.disk} {mark.what}\n" for mark in others)
        try:
            self.wishes.write_text(lines)
        except OSError as error:
            _log.warning("the wishes for bays cannot be written: %s", error)

    def _slot_of(self, disk: str) -> Path | None:
        """The slot of the disk; None when it sits in no enclosure, or is gone."""
        found = self.folder.glob(f"*/*/device/block/{disk}")
        return next((path.parent.parent.parent for path in found), None)


def _write(slot: Path | None, mark: Mark, *, on: bool) -> None:
    if slot is None:
        return
    try:
        (slot / mark.what).write_text("1" if on else "0")
    except OSError as error:
        _log.warning("the LED of bay %s cannot be driven: %s", slot.name, error)


def marks_of(text: str) -> frozenset[Mark]:
    """The marks of a file of wishes. Its writer is not root: only known words pass."""
    words = (line.split() for line in text.splitlines()[:100])
    pairs = (pair for pair in words if len(pair) == 2)
    return frozenset(Mark(d, w) for d, w in pairs if _DISK.fullmatch(d) and w in _IBPI)


def orders(last: frozenset[Mark], wanted: frozenset[Mark]) -> list[str]:
    """What ledctl has to be told: first what goes, then what comes."""
    gone = {mark.disk for mark in last} - {mark.disk for mark in wanted}
    off = [f"normal=/dev/{disk}" for disk in sorted(gone)]
    return off + [f"{_IBPI[mark.what]}=/dev/{mark.disk}" for mark in sorted(wanted)]


def main() -> int:
    """`python3 -m hw.bays`, from pennypost-bays.service, as root."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    last = marks_of(LAST.read_text()) if LAST.exists() else frozenset()
    wanted = marks_of(WISHES.read_text()) if WISHES.exists() else frozenset()
    for order in orders(last, wanted):
        try:
            run((LEDCTL, "--listed-only", order), timeout_seconds=TIMEOUT_SECONDS)
        except PennypostError as error:  # most machines have no such bays
            _log.warning("%s: %s", order, error.finding.say)
    LAST.write_text("".join(f"{mark.disk} {mark.what}\n" for mark in sorted(wanted)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
