"""The wizard's page of the mailbox disk: what there is to choose from, and what makes it right.

The choice is kept with the other answers and carried out when they are applied. Without a disk
one goes on: the box relays mail, and a disk can be connected on any later day.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from appliance.base.finding import Finding, PennypostError
from appliance.web import disks
from appliance.web.disks import Shown
from appliance.web.i18n import N_, _
from appliance.web.services import services
from appliance.web.wizard_steps import DISK, Form, Reading

LATER = "later"
SECONDS = 40.0  # a person waits for the page; a disk that sleeps wakes within ten
TITLES: Mapping[str, str] = {
    "connect": N_("Use this disk for the mailboxes"),
    "erase": N_("Erase this disk and use it"),
    "take": N_("Bring its mailboxes in"),
}


@dataclass(frozen=True, slots=True)
class Choice:
    """One thing that can be done with one disk."""

    disk: Shown
    work: str

    @property
    def value(self) -> str:
        return f"{self.work}/{self.disk.identity}"

    @property
    def erases(self) -> bool:
        return self.work == "connect" and not self.disk.raw["is_blank"]

    @property
    def foreign(self) -> bool:
        return self.work == "take" and not self.disk.raw["own"]

    @property
    def title(self) -> str:
        return _(TITLES["erase" if self.erases else self.work])


@dataclass(frozen=True, slots=True)
class Offer:
    """What the box has: disks to choose, disks that can't be used, or why nothing is known."""

    choices: tuple[Choice, ...] = ()
    refused: tuple[Shown, ...] = ()
    has_one: bool = False
    trouble: Finding | None = None


def look() -> Offer:
    """Ask for the disks. Never raises: without an answer one can go on as well."""
    try:
        state = services().steward.ask("disk.status", timeout_seconds=SECONDS)
        raw = services().steward.ask("disk.list", timeout_seconds=SECONDS)
    except PennypostError as error:
        return Offer(trouble=error.finding)
    shown = [disks.shown(disk, state) for disk in raw]
    return Offer(
        choices=tuple(
            Choice(one, work) for one in shown for work in one.works if work in ("take", "connect")
        ),
        refused=tuple(one for one in shown if not one.raw["eligible"]),
        has_one=bool(state.get("volume") or state.get("job")),
    )


def read(form: Form, offer: Offer) -> Reading:
    """The choice. What erases wants the serial number, another box's disk the person's word."""
    wanted = form.get("choice", LATER)[:300]
    typed = form.get(f"typed-{wanted}", "").strip()[:100]
    agreed = form.get(f"agreed-{wanted}") == "on"
    reading = Reading(typed={"choice": wanted})
    if wanted == LATER:
        reading.answers[DISK] = {"work": LATER}
        return reading
    choice = next((one for one in offer.choices if one.value == wanted), None)
    if choice is None:
        reading.errors["choice"] = _("This disk is not there any more.")
    elif choice.erases and typed != choice.disk.raw["serial"]:
        reading.errors[wanted] = _("This is not the serial number of the disk.")
    elif choice.foreign and not agreed:
        reading.errors[wanted] = _("Say that you know this disk, or choose another one.")
    else:
        reading.answers[DISK] = {
            "work": choice.work,
            "disk": choice.disk.identity,
            "name": f"{choice.disk.name} ({choice.disk.raw['serial']})",
            "typed": typed,
            "agreed": agreed,
        }
    return reading


def show(answers: Mapping[str, Any], typed: Mapping[str, Any] | None) -> Reading:
    """The page as it is opened: what was chosen last."""
    chosen = answers.get(DISK, {"work": LATER})
    wanted = LATER if chosen["work"] == LATER else f"{chosen['work']}/{chosen['disk']}"
    return Reading(typed={"choice": (typed or {}).get("choice", wanted)})
