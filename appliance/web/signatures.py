"""Signatures (D1 to D5): the switch, the records of each domain's keys, and their rotation.

The keys are the steward's. As in the DNS guide the page shows at once what is wanted; what the
DNS says now is fetched by the script, or by the link without it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from flask import Blueprint, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from appliance.base.finding import Refused, Result
from appliance.dns import dkim_advice
from appliance.dns.advisor import Seen
from appliance.web import dns_guide, settings_pages, visit
from appliance.web.daemons import APPLY_TIMEOUT_SECONDS
from appliance.web.i18n import N_, _
from appliance.web.services import services
from appliance.web.words import parse_time

pages = Blueprint("signatures", __name__, url_prefix="/settings/signatures")

PARTS: Mapping[str, str] = {
    "current": N_("Signs now"),
    "next": N_("Will sign next"),
    "retired": N_("Has signed"),
}


@dataclass(frozen=True, slots=True)
class Pair:
    """One pair of keys with its records as they were seen."""

    part: str
    keep_until: datetime | None
    seen: Sequence[Seen]


@dataclass(frozen=True, slots=True)
class Domain:
    """A domain of the box and its pairs."""

    name: str
    pairs: Sequence[Pair]

    @property
    def next(self) -> Pair | None:
        return next((pair for pair in self.pairs if pair.part == "next"), None)

    @property
    def can_switch(self) -> bool:
        """Whether the DNS was seen to show the next pair."""
        pair = self.next
        return pair is not None and all(s.finding.result is Result.OK for s in pair.seen)


@pages.get("/")
def page() -> str:
    shown = services().steward.ask("dkim.show")
    wanted = [entry for domain in shown["domains"] for entry in _wanted(domain)]
    seen = dns_guide.seen_of(dkim_advice.records(wanted), look=bool(request.args.get("look")))
    by_name = {one.record.name: one for one in seen.seen}
    return render_template(
        "settings/signatures.html",
        enabled=bool(shown["enabled"]),
        domains=[_domain(domain, by_name) for domain in shown["domains"]],
        looked=seen.looked,
        parts=PARTS,
    )


def _wanted(domain: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The records to publish; a retired key's need not be there for ever."""
    return [
        record
        for pair in domain["pairs"]
        if pair["part"] != "retired"
        for record in pair["records"]
    ]


def _domain(domain: Mapping[str, Any], by_name: Mapping[str, Seen]) -> Domain:
    return Domain(str(domain["domain"]), [_pair(pair, by_name) for pair in domain["pairs"]])


def _pair(pair: Mapping[str, Any], by_name: Mapping[str, Seen]) -> Pair:
    names = [str(record["name"]) for record in pair["records"]]
    seen = [by_name[name] for name in names if name in by_name]
    if pair["part"] == "retired":
        seen = [dns_guide.unlooked(record) for record in dkim_advice.records(pair["records"])]
    return Pair(str(pair["part"]), parse_time(pair.get("keep_until")), seen)


@pages.post("/enabled")
def switch_signing() -> Response:
    """The switch “sign outgoing mail”."""
    on = request.form.get("enabled") == "on"
    try:
        settings_pages.change({"signing.enabled": on}, None)
        visit.say_next(
            _("Outgoing mail is signed from now on.") if on else _("Mail is no longer signed.")
        )
    except Refused as refused:
        _say(refused)
    return redirect(url_for("signatures.page"), 303)


@pages.post("/rotate")
def rotate() -> Response:
    """Prepare the next pair of a domain's keys."""
    _ask("dkim.rotate", _("The next keys are made. Publish their records, then switch."))
    return redirect(url_for("signatures.page"), 303)


@pages.post("/switch")
def switch_keys() -> Response:
    """Sign with the next pair; the steward looks whether the DNS shows it."""
    more = {"force": True} if request.form.get("force") == "on" else {}
    _ask("dkim.switch", _("Mail is signed with the new keys from now on."), more)
    return redirect(url_for("signatures.page"), 303)


def _ask(verb: str, done: str, more: Mapping[str, Any] | None = None) -> None:
    args = {"domain": request.form.get("domain", "")[:255], **(more or {})}
    try:
        services().steward.ask(verb, args, timeout_seconds=APPLY_TIMEOUT_SECONDS)
        visit.say_next(done)
    except Refused as refused:
        _say(refused)


def _say(refused: Refused) -> None:
    f = refused.finding
    visit.say_next(f.say, result=f.result, means=f.means, fix=f.fix)
