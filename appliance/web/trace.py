"""Where is my mail? (B3) Who, whom, when; a sentence for each thing that happened."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from flask import Blueprint, render_template, request

from appliance.spool import narrative
from appliance.web import whys
from appliance.web.i18n import N_, _
from appliance.web.services import services
from appliance.web.words import parse_time

pages = Blueprint("trace", __name__, url_prefix="/trace")
MOST = 50
TIMES: Mapping[str, tuple[timedelta | None, str]] = {
    "": (None, N_("at any time")),
    "1h": (timedelta(hours=1), N_("in the last hour")),
    "1d": (timedelta(days=1), N_("in the last day")),
    "7d": (timedelta(days=7), N_("in the last 7 days")),
    "30d": (timedelta(days=30), N_("in the last 30 days")),
}
# How a fate looks: symbol and words.
FATES: Mapping[str, tuple[str, str]] = {
    "delivered": ("ok", N_("handed on")),
    "queued": ("unknown", N_("waits")),
    "deferred": ("warn", N_("waits for a further try")),
    "held": ("warn", N_("held")),
    "bounced": ("bad", N_("given up")),
    "deleted": ("unknown", N_("deleted")),
    "refused": ("bad", N_("refused")),
    "put off": ("warn", N_("put off")),
}

# What a check did.
ACTIONS: Mapping[str, str] = {"note": N_("note"), "reject": N_("reject"), "defer": N_("defer")}


@dataclass(frozen=True, slots=True)
class Line:
    """One sentence in the page's language; `at` is None for how it stands now."""

    at: datetime | None
    say: str


@dataclass(frozen=True, slots=True)
class Found:
    """One recipient of one message, or one refused attempt."""

    id: str
    sender: str
    recipient: str
    at: datetime | None
    kind: str
    word: str
    lines: tuple[Line, ...]
    fix: str
    waits: bool


def found(item: Mapping[str, Any]) -> Found:
    """Read one item of the relay's answer."""
    fate = str(item["fate"])
    kind, word = FATES.get(fate, ("unknown", fate))
    return Found(
        id=str(item["id"]),
        sender=str(item["mail_from"] or ""),
        recipient=str(item["recipient"] or ""),
        at=parse_time(item["at"]),
        kind=kind,
        word=_(word),
        lines=tuple(_line(told) for told in narrative.story(item)),
        fix=str(item.get("fix") or "") if fate in ("deferred", "bounced") else "",
        waits=fate in ("queued", "deferred", "held"),
    )


def _line(told: narrative.Told) -> Line:
    values = dict(told.values)
    for name in ("reason", "client", "author", "why"):  # texts of ours, where they are not names
        if name in values:
            values[name] = whys.in_words(values[name])
    if "result" in values:
        check, between, action = values["result"].rpartition(": ")
        values["result"] = f"{check}{between}{_(ACTIONS.get(action, action))}"
    return Line(parse_time(told.at), _(told.pattern, **values).rstrip())


def _asked() -> dict[str, str]:
    """Who, whom, when and the id from the address."""
    fields = {name: request.args.get(name, "").strip()[:200] for name in ("who", "whom", "id")}
    when = request.args.get("when", "")
    return {**fields, "when": when if when in TIMES else ""}


@pages.get("/")
def page() -> str:
    asked = _asked()
    items: list[Any] = []
    question: dict[str, Any] = {"limit": MOST}
    for field, name in (("who", "sender"), ("whom", "recipient"), ("id", "search")):
        if asked[field]:
            question[name] = asked[field]
    span = TIMES[asked["when"]][0]
    if span is not None:
        question["since"] = (services().clock.now() - span).isoformat()
    if len(question) > 1:
        items = services().relay.ask("trace", question)
    return render_template(
        "trace/page.html",
        asked=asked,
        times=TIMES,
        was_asked=len(question) > 1,
        found=[found(item) for item in items],
        most=MOST,
    )
