"""Aliases and groups (R1 to R3): the table, one alias, and where its mail finally goes.

The list is a setting, so every change is applied whole, stands in the history and can be undone.
Where mail goes is asked of the relay that runs: it knows the mailboxes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from flask import Blueprint, Response, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as AnyResponse

from appliance.base.finding import Finding, PennypostError, Refused, Result
from appliance.settings import alias_table, schema
from appliance.settings.alias_table import SETTING
from appliance.settings.parse import Bad
from appliance.settings.rules_section import Alias
from appliance.web import settings_pages, visit
from appliance.web.i18n import N_, _
from appliance.web.services import services

pages = Blueprint("aliases", __name__, url_prefix="/aliases")
PAGE_SIZES = (10, 25, 50, 100)
SORTS: Mapping[str, str] = {
    "alias": N_("by name"),
    "-alias": N_("by name, from the end"),
    "targets": N_("by targets"),
    "comment": N_("by comment"),
}


@dataclass(frozen=True, slots=True)
class Row:
    """One alias with what the relay says of it."""

    alias: Alias
    findings: tuple[Finding, ...] = ()

    @property
    def doubts(self) -> tuple[Finding, ...]:
        return tuple(f for f in self.findings if f.result is not Result.OK)


@dataclass(frozen=True, slots=True)
class Typed:
    """The form of one alias as it stands there."""

    alias: str = ""
    targets: str = ""
    comment: str = ""


def _stored() -> tuple[int, tuple[Alias, ...]]:
    revision, values = settings_pages.stored()
    return revision, schema.parse_value(SETTING, values.get(SETTING, []))


def _previews(names: Iterable[str]) -> dict[str, tuple[Finding, ...]]:
    """What the relay says of each; nothing while it does not answer."""
    asked = list(names)
    if not asked:
        return {}
    try:
        answer = services().relay.ask("alias.preview", {"aliases": asked}, timeout_seconds=5.0)
    except PennypostError:
        return {}
    return {
        str(one["alias"]): tuple(_finding(sentence) for sentence in one["sentences"])
        for one in answer
    }


def _finding(raw: Mapping[str, Any]) -> Finding:
    say = _(str(raw["say"]), **raw["values"])
    return Finding(check="alias.preview", result=Result(raw["result"]), say=say)


def _query() -> dict[str, Any]:
    args = request.args
    size = args.get("size", type=int)
    return {
        "search": args.get("search", "").strip()[:200],
        "sort": args.get("sort", "") if args.get("sort") in SORTS else "alias",
        "limit": size if size in PAGE_SIZES else PAGE_SIZES[0],
        "offset": max(0, min(args.get("offset", 0, type=int), 1_000_000)),
    }


def _matching(aliases: Iterable[Alias], query: Mapping[str, Any]) -> list[Alias]:
    word = query["search"].lower()
    found = [alias for alias in aliases if word in alias.to_text().lower()]
    field = query["sort"].lstrip("-")
    found.sort(key=lambda a: str(getattr(a, field)).lower(), reverse=query["sort"].startswith("-"))
    return found


@pages.get("/")
def overview() -> str:
    return _overview()


def _overview(trouble: Finding | None = None) -> str:
    _revision, aliases = _stored()
    query = _query()
    found = _matching(aliases, query)
    shown = found[query["offset"] : query["offset"] + query["limit"]]
    saved = request.args.get("saved", "")[:320]
    previews = _previews([*(alias.alias for alias in shown), *filter(None, [saved])])
    undo = request.args.get("undo", "")
    return render_template(
        "aliases/overview.html",
        rows=[Row(alias, previews.get(alias.alias, ())) for alias in shown],
        total=len(found),
        query=query,
        sorts=SORTS,
        sizes=PAGE_SIZES,
        saved=saved,
        told=previews.get(saved, ()),
        undo=undo if undo.isdecimal() else "",
        trouble=trouble,
    )


@pages.get("/edit")
def edit() -> str:
    """The form: empty for a new one."""
    name = request.args.get("alias", "")[:320]
    revision, aliases = _stored()
    if not name:
        return _form(Typed(), "", revision)
    alias = alias_table.find(aliases, name)
    typed = Typed(alias.alias, "\n".join(alias.targets), alias.comment)
    return _form(typed, alias.alias, revision, told=_previews([name]).get(name, ()))


def _form(typed: Typed, old: str, revision: int, **more: Any) -> str:
    return render_template(
        "aliases/edit.html",
        typed=typed,
        old=old,
        revision=revision,
        **{"trouble": None, "told": (), **more},
    )


@pages.post("/edit")
def save() -> AnyResponse | tuple[str, int]:
    form = request.form
    old = form.get("old", "")[:320]
    typed = Typed(form.get("alias", ""), form.get("targets", ""), form.get("comment", ""))
    revision = settings_pages.base_revision()
    try:
        alias = Alias.from_json(
            {"alias": typed.alias, "targets": typed.targets, "comment": typed.comment}
        )
        _store(alias_table.put(_stored()[1], alias, instead_of=old), revision)
    except (Bad, Refused) as error:
        finding = _of(error)
        return _form(typed, old, revision or 0, trouble=finding), 422
    visit.say_next(_("Saved and in use."), fix=_("It can be undone under Settings, History."))
    return redirect(url_for("aliases.overview", saved=alias.alias), 303)


@pages.post("/delete")
def delete() -> AnyResponse | tuple[str, int]:
    """No question before it: the page that follows has the button that takes it back."""
    name = request.form.get("alias", "")[:320]
    try:
        revision = _store(alias_table.without(_stored()[1], name), None)
    except Refused as refused:
        return _overview(_of(refused)), 422
    visit.say_next(_("The alias %(name)s is deleted.", name=name))
    return redirect(url_for("aliases.overview", undo=revision), 303)


@pages.get("/export.csv")
def export() -> Response:
    answer = Response(alias_table.to_csv(_stored()[1]), mimetype="text/csv")
    answer.headers["Content-Disposition"] = 'attachment; filename="aliases.csv"'
    return answer


@pages.post("/import")
def import_() -> AnyResponse | tuple[str, int]:
    """A file or pasted rows; aliases of the same name are replaced."""
    sent = request.files.get("file")
    raw = sent.read() if sent is not None else b""
    text = raw.decode("utf-8-sig", "replace") if raw else request.form.get("rows", "")
    try:
        found = alias_table.from_csv(text)
        if not found:
            raise Bad(N_("There is no alias in it."), N_("Choose a file, or paste rows."))
        revision = _store(alias_table.merged(_stored()[1], found), None)
    except (Bad, Refused) as error:
        return _overview(_of(error)), 422
    visit.say_next(_("%(n)s aliases are imported.", n=len(found)))
    return redirect(url_for("aliases.overview", undo=revision), 303)


def _store(aliases: Iterable[Alias], base_revision: int | None) -> int:
    """Put the list into force; the number of the change. Raises Refused."""
    value = [schema.plain(alias) for alias in aliases]
    return int(settings_pages.change({SETTING: value}, base_revision)["revision"])


def _of(error: Bad | Refused) -> Finding:
    if isinstance(error, Refused):
        return error.finding
    return Finding(check="alias", result=Result.BAD, say=_(error.say), fix=_(error.fix))
