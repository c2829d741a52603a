"""Forms made from the description of the settings.

`Entry` is one field as the page shows it: the description, what stands in it (as typed), and
what is wrong with it. `read` takes a submitted form; `fill` takes values. Bytes are shown in
MB, lists one entry a line, a secret is never shown and an empty one means "keep it".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from appliance.base.finding import Finding
from appliance.settings import schema
from appliance.settings.parse import Bad
from appliance.settings.schema import MIB, Field, RelayDomain
from appliance.web.i18n import N_, _

# What the choices of a setting are called on the page, and what each means.
CHOICES: Mapping[str, tuple[str, str]] = {
    "en": ("English", ""),
    "de": ("Deutsch", ""),
    "direct": (
        N_("Straight to each receiver's server"),
        N_("Right for a line with a fixed address and a matching name."),
    ),
    "smarthost": (
        N_("Through one server of your provider (smarthost)"),
        N_("Right for lines that other servers take no mail from, such as most private ones."),
    ),
    "required": (N_("STARTTLS, always (usual on port 587)"), ""),
    "implicit": (N_("TLS from the start (usual on port 465)"), ""),
    "opportunistic": (N_("Encrypted when the other server offers it"), ""),
    "auto": (N_("When the box has memory enough (1 GB)"), ""),
    "on": (N_("Always"), ""),
    "off": (N_("Never"), ""),
    "refuse": (N_("Refuse"), ""),
    "quarantine": (N_("Keep back in the queue"), ""),
    "accept": (N_("Let through"), ""),
    "none": (N_("Not encrypted"), ""),
    "dhcp": (N_("From the router (DHCP)"), N_("Right in most networks.")),
    "static": (
        N_("A fixed one"),
        N_("Right where nothing gives addresses, or where the box must keep its own."),
    ),
}


@dataclass(frozen=True, slots=True)
class Entry:
    """One field of a form."""

    field: Field
    text: str = ""
    error: str = ""
    fix: str = ""
    stored: bool = False  # of a secret: there is one

    @property
    def name(self) -> str:
        return self.field.name

    @property
    def id(self) -> str:
        return self.field.name.replace(".", "-")

    @property
    def in_megabytes(self) -> bool:
        return self.field.unit == "bytes"

    @property
    def unit(self) -> str:
        return "MB" if self.in_megabytes else self.field.unit

    def bound(self, which: str) -> int | None:
        """`minimum` or `maximum` in the unit that is shown."""
        value: int | None = getattr(self.field, which)
        if value is None or not self.in_megabytes:
            return value
        return max(1, value // MIB)

    @property
    def on(self) -> bool:
        return self.text == "on"


def to_text(field: Field, value: Any) -> str:
    """A setting's value as it stands in its field."""
    if field.secret:
        return ""
    if field.kind == "bool":
        return "on" if value else ""
    if field.kind == "list":
        return "\n".join(
            item.to_text() if isinstance(item, RelayDomain) else str(item) for item in value
        )
    if field.unit == "bytes":
        megabytes = int(value) / MIB
        return f"{megabytes:.10g}"
    return str(value)


def fill(names: Iterable[str], values: Mapping[str, Any]) -> dict[str, Entry]:
    """The entries for stored values (canonical JSON or Python values, by setting name)."""
    known = schema.by_name()
    entries = {}
    for name in names:
        field = known[name]
        value = field.parse(values[name]) if name in values else field.default
        entries[name] = Entry(field, to_text(field, value), stored=field.secret and bool(value))
    return entries


def read(
    names: Iterable[str], form: Mapping[str, str], stored: Mapping[str, Any]
) -> tuple[dict[str, Entry], dict[str, Any]]:
    """Read a submitted form; return the entries as typed and the good values as JSON."""
    known = schema.by_name()
    entries: dict[str, Entry] = {}
    values: dict[str, Any] = {}
    for name in names:
        field = known[name]
        typed = form.get(name, "")
        if field.secret:
            typed_entry = Entry(field, stored=bool(stored.get(name)))
            if form.get(f"{name}-clear"):
                values[name] = ""
            elif typed:
                values[name] = typed
            entries[name] = typed_entry
            continue
        try:
            values[name] = schema.plain(field.parse(_raw(field, typed)))
            entries[name] = Entry(field, typed)
        except Bad as error:
            entries[name] = Entry(field, typed, error=_(error.say), fix=_(error.fix))
    return entries, values


def _raw(field: Field, typed: str) -> Any:
    """What the parser of the settings takes, from what a browser sends."""
    if field.kind == "bool":
        return typed == "on"
    if field.unit == "bytes":
        try:
            return round(float(typed.strip().replace(",", ".")) * MIB)
        except (ValueError, OverflowError):
            raise Bad(
                f"“{typed[:40]}” is not a number.", "Write a number of megabytes, such as 50."
            ) from None
    if field.kind == "text":
        return typed.replace("\r\n", "\n").strip("\n")
    return typed


def blame(entries: dict[str, Entry], finding: Finding) -> bool:
    """Put a finding of the steward beside the field that it names; False if none is here."""
    name = finding.check.removeprefix("settings.")
    if name not in entries:
        return False
    entry = entries[name]
    entries[name] = Entry(
        entry.field,
        entry.text,
        error=" ".join(filter(None, (_(finding.say), _(finding.means)))),
        fix=_(finding.fix),
        stored=entry.stored,
    )
    return True
