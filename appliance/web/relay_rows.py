"""The rows "domain | next hop" of a form: add, remove, paste many (G4), and their clashes (G5).

A row is kept as typed until it is right. Reading is pure; a page hands in what came with the
form and gets rows with their errors back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from appliance.settings import parse
from appliance.settings.parse import Bad
from appliance.settings.schema import RelayDomain
from appliance.web.i18n import _

MAX_ROWS = 500


@dataclass(frozen=True, slots=True)
class Row:
    """One row as typed. `error` is about the domain or the target, as `wrong` says."""

    domain: str = ""
    target: str = ""
    verify: bool = False
    error: str = ""
    wrong: str = ""

    @property
    def empty(self) -> bool:
        return not self.domain.strip() and not self.target.strip()

    def to_json(self) -> list[Any]:
        return [self.domain, self.target, self.verify]


def from_settings(relays: Sequence[Any]) -> list[Row]:
    """Rows for stored relay domains (values or their JSON)."""
    rows = []
    for raw in relays:
        relay = RelayDomain.from_json(raw)
        target = relay.to_text().partition(" | ")[2]
        rows.append(Row(relay.domain, target, relay.verify_recipients))
    return rows


def from_form(form: Mapping[str, str]) -> list[Row]:
    """The rows that a form sent, and the pasted lines as further rows; buttons obeyed."""
    removed = form.get("do", "").removeprefix("remove-")
    rows = []
    for number in range(MAX_ROWS):
        if f"relay-{number}-domain" not in form:
            break
        row = Row(
            form[f"relay-{number}-domain"][:300],
            form.get(f"relay-{number}-target", "")[:300],
            form.get(f"relay-{number}-verify") == "on",
        )
        if str(number) != removed and not row.empty:
            rows.append(row)
    return (rows + from_paste(form.get("relay-paste", "")))[:MAX_ROWS]


def from_paste(text: str) -> list[Row]:
    """Lines `domain | target`; a comma, semicolon, tab or space is understood as well."""
    rows = []
    for line in text[:100_000].splitlines():
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        for mark in ("|", "\t", ";", ",", " "):
            domain, found, target = line.partition(mark)
            if found:
                break
        rows.append(Row(domain.strip(), target.strip()))
    return rows


def check(
    rows: Sequence[Row], *, main_domain: str, additional: Sequence[str] = ()
) -> tuple[list[Row], list[dict[str, Any]]]:
    """Judge the rows; return them with their errors, and the good ones as settings JSON."""
    judged: list[Row] = []
    good: list[dict[str, Any]] = []
    seen: set[str] = set()
    for row in rows:
        error, wrong, relay = _read_one(row)
        if relay is not None:
            error = _clash(relay.domain, main_domain, additional, seen)
            wrong = "domain" if error else ""
            seen.add(relay.domain)
            if not error:
                good.append(
                    {
                        "domain": relay.domain,
                        "host": relay.host,
                        "port": relay.port,
                        "verify_recipients": row.verify,
                    }
                )
        judged.append(Row(row.domain, row.target, row.verify, error, wrong))
    return judged, good


def _read_one(row: Row) -> tuple[str, str, RelayDomain | None]:
    try:
        domain = parse.mail_domain(row.domain)
    except Bad as error:
        return f"{_(error.say)} {_(error.fix)}", "domain", None
    if not row.target.strip():
        return _("The server for %(domain)s is missing.", domain=domain), "target", None
    try:
        host, port = parse.host_and_port(row.target, 25)
    except Bad as error:
        return f"{_(error.say)} {_(error.fix)}", "target", None
    return "", "", RelayDomain(domain=domain, host=host, port=port)


def _clash(domain: str, main: str, additional: Sequence[str], seen: set[str]) -> str:
    if domain == main:
        return _(
            "%(domain)s is your main mail domain: its mailboxes would be on this box, so mail "
            "for it can't also be handed to another server. If all its mailboxes are on the "
            "other server, go back and take an invented main domain such as box.invalid.",
            domain=domain,
        )
    if domain in additional:
        return _(
            "%(domain)s is an additional mail domain of this box. Take it out of one of the two.",
            domain=domain,
        )
    if domain in seen:
        return _("%(domain)s stands here twice. Keep one line for it.", domain=domain)
    return ""
