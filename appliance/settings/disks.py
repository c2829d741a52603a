"""The settings of the disks."""

from __future__ import annotations

from dataclasses import dataclass

from appliance.settings.describe import switch


@dataclass(frozen=True, slots=True, kw_only=True)
class Disks:
    """Which disks may hold mailboxes."""

    allow_usb: bool = switch(
        False,
        "Allow disks behind USB bridges",
        "A SATA disk in a USB case may hold mailboxes. Cables come off and bridges hide errors: "
        "only for trying things out.",
    )
