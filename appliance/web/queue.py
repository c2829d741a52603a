"""The mail queue (Q1 to Q6): what waits and why, send, hold, release, delete, search, detail.

Deleting can't be undone. One letter asks once; more than one wants a word typed, with the
numbers of what will be lost.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from flask import Blueprint, abort, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from appliance.base.finding import Refused, Result
from appliance.web import visit, whys
from appliance.web.i18n import N_, _
from appliance.web.services import services
from appliance.web.words import number, parse_time

pages = Blueprint("queue", __name__, url_prefix="/queue")
PAGE_SIZES = (25, 50, 100)
STATES: Mapping[str, str] = {
    "": N_("all"),
    "deferred": N_("waiting for a further try"),
    "queued": N_("about to be sent"),
    "held": N_("held"),
}
SORTS: Mapping[str, str] = {
    "-received_at": N_("newest first"),
    "received_at": N_("oldest first"),
    "next_attempt_at": N_("next try first"),
    "-size": N_("largest first"),
}
DONE: Mapping[str, str] = {
    "send": N_("%(n)s letters are sent now."),
    "hold": N_("%(n)s letters are held. They wait until they are released."),
    "release": N_("%(n)s letters are released and go their way."),
    "delete": N_("%(n)s letters are deleted."),
}


@dataclass(frozen=True, slots=True)
class Recipient:
    """One receiver of a letter and how it stands."""

    address: str
    state: str
    attempts: int
    next_at: datetime | None
    say: str
    fix: str
    reply: str
    host: str
    route: str


@dataclass(frozen=True, slots=True)
class Letter:
    """One queued message as the pages show it."""

    id: str
    at: datetime | None
    sender: str
    recipients: tuple[Recipient, ...]
    size: int
    state: str
    held: bool
    direction: str

    @property
    def waiting(self) -> Recipient | None:
        """The recipient that explains the letter: the first one with a reason."""
        return next((r for r in self.recipients if r.say or r.reply), None)

    @property
    def attempts(self) -> int:
        return max((r.attempts for r in self.recipients), default=0)

    @property
    def next_at(self) -> datetime | None:
        times = [r.next_at for r in self.recipients if r.next_at]
        return min(times) if times else None


def _recipient(raw: Mapping[str, Any]) -> Recipient:
    reason = raw.get("reason")
    told = reason if isinstance(reason, dict) else {"say": reason or ""}
    return Recipient(
        address=str(raw.get("address", "")),
        state=str(raw.get("state", "")),
        attempts=int(raw.get("attempts") or 0),
        next_at=parse_time(raw.get("next_attempt_at")),
        say=str(told.get("say") or ""),
        fix=str(told.get("fix") or ""),
        reply=str(told.get("reply") or ""),
        host=str(told.get("host") or ""),
        route=str(raw.get("route") or ""),
    )


def letter(raw: Mapping[str, Any]) -> Letter:
    """Read one item of the relay's answer."""
    return Letter(
        id=str(raw.get("id", "")),
        at=parse_time(raw.get("received_at")),
        sender=str(raw.get("mail_from") or ""),
        recipients=tuple(_recipient(r) for r in raw.get("recipients") or ()),
        size=int(raw.get("size") or 0),
        state=str(raw.get("state", "")),
        held=bool(raw.get("held")),
        direction=str(raw.get("direction") or ""),
    )


def _query() -> dict[str, Any]:
    """Search, state, sort and page from the address."""
    args = request.args
    size = args.get("size", type=int)
    return {
        "search": args.get("search", "").strip()[:200],
        "state": args.get("state", "") if args.get("state") in STATES else "",
        "sort": args.get("sort", "") if args.get("sort") in SORTS else "-received_at",
        "limit": size if size in PAGE_SIZES else PAGE_SIZES[0],
        "offset": max(0, min(args.get("offset", 0, type=int), 10_000_000)),
    }


def _list(query: Mapping[str, Any]) -> tuple[int, list[Letter]]:
    asked = {name: value for name, value in query.items() if value not in ("", None)}
    answer = services().relay.ask("queue.list", asked)
    return int(answer["total"]), [letter(item) for item in answer["items"]]


@pages.get("/")
def overview() -> str:
    query = _query()
    total, letters = _list(query)
    return render_template(
        "queue/overview.html",
        letters=letters,
        total=total,
        query=query,
        states=STATES,
        sorts=SORTS,
        sizes=PAGE_SIZES,
        filtered=bool(query["search"] or query["state"]),
    )


@pages.get("/letter/<id>")
def detail(id: str) -> str:
    raw = services().relay.ask("queue.show", {"id": id[:100]})
    item = raw.get("item") if isinstance(raw.get("item"), dict) else raw
    events = [_event(event) for event in raw.get("events") or () if isinstance(event, dict)]
    return render_template(
        "queue/detail.html",
        letter=letter(item),
        headers=str(raw.get("headers") or ""),
        events=events,
    )


@dataclass(frozen=True, slots=True)
class Event:
    """One line of a letter's history."""

    at: datetime | None
    say: str
    reply: str = ""


def _event(raw: Mapping[str, Any]) -> Event:
    """Read one event of the relay: `queued` by a client, or how an attempt ended."""
    told = _recipient({"address": raw.get("recipient"), "reason": raw.get("reason")})
    kind = str(raw.get("event") or "")
    if kind == "queued":
        client = raw.get("client") or _("the box itself")
        say = _("Came in from %(client)s for %(address)s.", client=client, address=told.address)
    elif kind == "delivered":
        host = told.host or str(raw.get("route") or "")
        say = _("Handed to %(host)s for %(address)s.", host=host, address=told.address)
    else:
        say = f"{told.address}: {whys.in_words(told.say) if told.say else _(kind)}"
    return Event(at=parse_time(raw.get("at")), say=say, reply=told.reply)


# -- actions --------------------------------------------------------------------------


def _chosen(form: Mapping[str, Any]) -> dict[str, Any]:
    """Which letters a form means: ids, all, or those that match a search."""
    which = form.get("which", "")
    if which == "all":
        return {"all": True}
    if which == "search" and form.get("search", "").strip():
        return {"search": form["search"].strip()[:200]}
    ids = request.values.getlist("id")[:1000]
    return {"ids": [i[:100] for i in ids]} if ids else {}


def _back() -> Response:
    return redirect(url_for("queue.overview", search=request.values.get("search") or None), 303)


@pages.post("/act")
def act() -> Response:
    do = request.form.get("do", "")
    which = _chosen(request.form)
    if do not in DONE:
        abort(400)
    if not which:
        visit.say_next(_("No letter was chosen."), result=Result.WARN, fix=_("Tick some first."))
        return _back()
    if do == "delete":
        return redirect(url_for("queue.confirm_delete", **_as_args(which)), 303)
    _carry_out(do, which)
    return _back()


def _as_args(which: Mapping[str, Any]) -> dict[str, Any]:
    if "all" in which:
        return {"which": "all"}
    if "search" in which:
        return {"which": "search", "search": which["search"]}
    return {"id": which["ids"]}


def _carry_out(do: str, which: Mapping[str, Any]) -> None:
    try:
        args = {**which, "author": visit.current().user}
        answer = services().relay.ask(f"queue.{do}", args, timeout_seconds=60.0)
        services().relay_state.forget()
        visit.say_next(_(DONE[do], n=number(int(answer["count"]))))
    except Refused as refused:
        f = refused.finding
        visit.say_next(f.say, result=Result.BAD, means=f.means, fix=f.fix)


@pages.get("/delete")
def confirm_delete() -> Response | str:
    return _confirm_page(_chosen(request.args))


def _confirm_page(which: Mapping[str, Any], error: str = "") -> Response | str:
    if not which:
        return _back()
    if "ids" in which:
        letters = [letter(services().relay.ask("queue.show", {"id": i})) for i in which["ids"]]
        count, people = len(letters), len({r.address for x in letters for r in x.recipients})
    else:
        query = {"search": which.get("search", ""), "limit": 1000, "offset": 0}
        count, letters = _list(query)
        people = len({r.address for x in letters for r in x.recipients})
    if not count:
        visit.say_next(_("There is nothing to delete."))
        return _back()
    return render_template(
        "queue/delete.html",
        which=_as_args(which),
        count=count,
        people=people,
        more=count > len(letters),
        letters=letters[:10],
        typed_word=_("delete") if "ids" not in which or count > 1 else "",
        error=error,
    )


@pages.post("/delete")
def delete() -> Response | str | tuple[Response | str, int]:
    which = _chosen(request.form)
    several = "ids" not in which or len(which.get("ids", ())) > 1
    if which and several and request.form.get("word", "").strip().lower() != _("delete"):
        error = _("Type the word “%(word)s” to delete them.", word=_("delete"))
        return _confirm_page(which, error), 422
    if which:
        _carry_out("delete", which)
    return _back()
