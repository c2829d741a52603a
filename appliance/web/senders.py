"""Permitted and forbidden senders (R4 to R6): two tables, and "what would happen to this mail?"."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flask import Blueprint, abort, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from appliance.base.finding import Refused, Result
from appliance.mail.address import AddressError, parse_path
from appliance.policy import sender_lists
from appliance.policy.sender_lists import Answer, Gate
from appliance.settings import parse
from appliance.settings.parse import Bad
from appliance.settings.senders import SenderEntry, Senders
from appliance.web import settings_pages, visit
from appliance.web.i18n import N_, _

pages = Blueprint("senders", __name__, url_prefix="/settings/senders")
MAX_SHOWN = 200
LISTS: Mapping[str, tuple[str, str]] = {
    "permitted": (
        N_("Permitted senders"),
        N_("Their mail is not checked for spam. Block lists and the limits still hold for them."),
    ),
    "forbidden": (N_("Forbidden senders"), N_("Nothing is taken from them.")),
}
OUTCOMES: Mapping[str, tuple[str, str]] = {
    "connect": ("bad", N_("Refused when it connects, whatever the sender's address is.")),
    "mail": ("bad", N_("Refused when it names the sender.")),
    "permitted": ("ok", N_("Taken without spam checks.")),
    "checked": ("unknown", N_("No entry fits: checked like all mail from strangers.")),
}


@dataclass(frozen=True, slots=True)
class Typed:
    """What stood in a form that could not be carried out, and why."""

    which: str = ""
    entry: str = ""
    comment: str = ""
    error: str = ""


@dataclass(frozen=True, slots=True)
class Question:
    """The question form: as typed, and its answer."""

    ip: str = ""
    address: str = ""
    error: str = ""
    answer: Answer | None = None

    @property
    def outcome(self) -> str:
        """The key of OUTCOMES."""
        if self.answer is None:
            return ""
        if self.answer.refused_at is not Gate.NONE:
            return str(self.answer.refused_at)
        return "permitted" if self.answer.permitted else "checked"


def _lists() -> tuple[int, dict[str, list[SenderEntry]]]:
    revision, values = settings_pages.stored()
    return revision, {
        which: [SenderEntry.from_json(raw) for raw in values.get(f"senders.{which}", ())]
        for which in LISTS
    }


def _question(lists: Mapping[str, Sequence[SenderEntry]]) -> Question:
    ip = request.args.get("ip", "").strip()[:100]
    address = request.args.get("address", "").strip()[:320]
    if not ip and not address:
        return Question()
    try:
        client = parse.host(ip) if ip else ""
        sender = parse_path(address)
    except Bad as error:
        return Question(ip, address, _(error.say))
    except AddressError:
        return Question(ip, address, _("This is not a mail address."))
    senders = Senders(permitted=tuple(lists["permitted"]), forbidden=tuple(lists["forbidden"]))
    return Question(ip, address, answer=sender_lists.ask(senders, client, sender))


def _page(typed: Typed | None = None) -> str:
    revision, lists = _lists()
    search = request.args.get("search", "").strip().lower()[:100]
    tables = {
        which: [item for item in entries if search in item.to_text().lower()]
        for which, entries in lists.items()
    }
    undo = request.args.get("undo", "")
    return render_template(
        "senders/page.html",
        place="settings",
        revision=revision,
        kinds=LISTS,
        tables=tables,
        totals={which: len(entries) for which, entries in lists.items()},
        shown=MAX_SHOWN,
        search=search,
        typed=typed or Typed(),
        question=_question(lists),
        outcomes=OUTCOMES,
        undo=undo if undo.isdecimal() and len(undo) < 12 else "",
    )


@pages.get("/")
def page() -> str:
    return _page()


@pages.post("/add")
def add() -> Response | tuple[str, int]:
    which = _which()
    typed = Typed(which, request.form.get("entry", "")[:400], request.form.get("comment", "")[:400])
    try:
        item = SenderEntry.from_json({"entry": typed.entry, "comment": typed.comment})
        revision, lists = _lists()
        kept = [entry for entry in lists[which] if entry.entry != item.entry]
        _store(which, [*kept, item], revision)
    except Bad as error:
        said = f"{_(error.say)} {_(error.fix)}"
        return _page(Typed(which, typed.entry, typed.comment, said)), 422
    except Refused as refused:
        found = refused.finding
        said = " ".join(filter(None, (_(found.say), _(found.fix))))
        return _page(Typed(which, typed.entry, typed.comment, said)), 422
    visit.say_next(_("“%(entry)s” is on the list.", entry=item.entry))
    return redirect(url_for("senders.page"), 303)


@pages.post("/remove")
def remove() -> Response:
    which, entry = _which(), request.form.get("entry", "")
    revision, lists = _lists()
    kept = [item for item in lists[which] if item.entry != entry]
    if len(kept) == len(lists[which]):
        return redirect(url_for("senders.page"), 303)
    try:
        done = _store(which, kept, revision)
    except Refused as refused:
        found = refused.finding
        visit.say_next(found.say, result=Result.BAD, means=found.means, fix=found.fix)
        return redirect(url_for("senders.page"), 303)
    visit.say_next(_("“%(entry)s” is off the list.", entry=entry[:320]))
    return redirect(url_for("senders.page", undo=done["revision"]), 303)


@pages.post("/undo")
def undo() -> Response:
    settings_pages.take_back()
    return redirect(url_for("senders.page"), 303)


def _which() -> str:
    which = request.form.get("list", "")
    if which not in LISTS:
        abort(400)
    return which


def _store(which: str, entries: Sequence[SenderEntry], revision: int) -> Mapping[str, Any]:
    raw = [{"entry": item.entry, "comment": item.comment} for item in entries]
    return settings_pages.change({f"senders.{which}": raw}, revision)
