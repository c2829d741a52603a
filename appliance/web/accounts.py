"""Accounts: the people who send through the box, and the stolen-account brake (B18)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from flask import Blueprint, abort, redirect, render_template, request, url_for
from flask import Response as FlaskResponse
from werkzeug.wrappers import Response

from appliance.accounts import passwords, table
from appliance.base.finding import PennypostError, Refused, Result
from appliance.settings import mailboxes
from appliance.web import visit
from appliance.web.i18n import _
from appliance.web.services import services
from appliance.web.words import parse_time

pages = Blueprint("accounts", __name__, url_prefix="/people/accounts")
MAX_SHOWN = 500
MIB = 1024 * 1024
TOLD_NOTHING = {"trouble": None, "imported": ()}
IMPORT_SECONDS = 300.0  # each password takes a while to be made safe


def _brakes() -> dict[str, Mapping[str, Any]]:
    """The accounts whose mail is held, by login; none when the relay does not answer."""
    status = services().relay_state.status() or {}
    found = status.get("brakes")
    return {str(b.get("login")): b for b in found or () if isinstance(b, dict)}


def _page(**more: Any) -> str:
    s = services()
    search = request.args.get("search", "").strip()[:100]
    everybody = [dict(user) for user in s.steward.ask("account.list")]
    words = search.casefold()
    found = [u for u in everybody if words in f"{u['login']} {u['name']}".casefold()]
    brakes = _brakes()
    for user in found:
        user["made"] = parse_time(user.get("made_at"))
        user["brake"] = brakes.get(user["login"])
    return render_template(
        "people/accounts.html",
        users=found[:MAX_SHOWN],
        total=len(everybody),
        found=len(found),
        search=search,
        sign_in=s.view().settings.submission.sign_in,
        storage=bool(mailboxes.lmtp(s.view().settings)),
        **{
            "errors": {},
            "typed": {},
            "made_password": "",
            "made_login": "",
            **TOLD_NOTHING,
            **more,
        },
    )


@pages.get("/")
def page() -> str:
    return _page()


def _password(name: str) -> tuple[str, str]:
    """The password as typed, empty for one that is made; and what is wrong with it."""
    typed = request.form.get("password", "")
    if not typed:
        return "", ""
    judged = passwords.strength(typed, name=name)
    if judged.acceptable:
        return typed, ""
    return "", _(
        "This password is %(word)s. %(advice)s", word=_(judged.word), advice=_(judged.advice)
    )


@pages.post("/add")
def add() -> str | tuple[str, int]:
    """A new account. A made password is on this one page and never again."""
    typed = {"login": request.form.get("login", "")[:100], "name": request.form.get("name", "")}
    password, wrong = _password(typed["login"])
    if wrong:
        return _page(errors={"password": wrong}, typed=typed), 422
    asked = {"login": typed["login"], "name": typed["name"][:200], "password": password}
    try:
        user = services().steward.ask("account.add", asked)
    except Refused as refused:
        return _page(errors=_beside(refused), typed=typed), 422
    return _page(made_password=user.get("password", ""), made_login=user["login"])


def _beside(refused: Refused) -> dict[str, str]:
    """The steward's word beside the field that it is about."""
    finding = refused.finding
    field = finding.check.removeprefix("account.")
    return {
        field if field in ("login", "name", "password") else "login": " ".join(
            filter(None, (_(finding.say), _(finding.fix)))
        )
    }


@pages.post("/password")
def password() -> str | tuple[str, int]:
    """A made password for an account, shown once."""
    login = request.form.get("login", "")[:100]
    user = services().steward.ask("account.password", {"login": login})
    return _page(made_password=user.get("password", ""), made_login=user["login"])


@pages.post("/switch")
def switch() -> Response:
    """Let an account sign in, or not."""
    login = request.form.get("login", "")[:100]
    on = request.form.get("enabled") == "on"
    _do("account.enable" if on else "account.disable", login)
    return redirect(url_for("accounts.page"), 303)


@pages.post("/release")
def release() -> Response:
    """The brake: all is well."""
    login = request.form.get("login", "")[:100]
    try:
        answer = services().relay.ask(
            "brake.release", {"login": login, "author": visit.current().user}
        )
        visit.say_next(
            _("%(name)s sends again; %(n)s held letters go on.", name=login, n=answer["count"])
        )
    except PennypostError as error:
        f = error.finding
        visit.say_next(_(f.say), result=Result.BAD, fix=_(f.fix))
    services().relay_state.forget()
    return redirect(url_for("accounts.page"), 303)


@pages.get("/<login>")
def one(login: str) -> str:
    return _one(login)


def _one(login: str, **more: Any) -> str:
    """One account by itself."""
    found = [dict(u) for u in services().steward.ask("account.list") if u["login"] == login]
    if not found:
        abort(404)
    user = found[0]
    for app in user.get("app_passwords", ()):
        app["made"] = parse_time(app["made_at"])
    return render_template(
        "people/account.html",
        user=user,
        seen=_last_seen(login),
        **{"errors": {}, "typed": {}, "made_password": "", **more},
    )


def _last_seen(login: str) -> list[tuple[str, datetime, str]]:
    """By which way the account signed in last, when, and from where, as the relay knows."""
    try:
        answer = services().relay.ask("accounts.seen", {"login": login})
    except PennypostError:
        return []
    rows = [(row["way"], parse_time(row["at"]), row["client"]) for row in answer]
    return [(way, at, client) for way, at, client in rows if at is not None]


@pages.post("/<login>/edit")
def edit(login: str) -> Response | tuple[str, int]:
    """Another name, language or mailbox size."""
    form = request.form
    typed = {"name": form.get("name", "")[:200], "quota": form.get("quota", "").strip()[:12]}
    if typed["quota"] and not typed["quota"].isdecimal():
        return _one(login, errors={"quota": _("Write a number of megabytes.")}, typed=typed), 422
    asked = {
        "login": login[:100],
        "name": typed["name"],
        "quota_bytes": int(typed["quota"] or 0) * MIB,
        "language": form.get("language", ""),
    }
    try:
        services().steward.ask("account.edit", asked)
    except Refused as refused:
        return _one(login, errors=_beside(refused), typed=typed), 422
    visit.say_next(_("%(name)s is changed.", name=login))
    return redirect(url_for("accounts.one", login=login), 303)


@pages.post("/<login>/app")
def add_app(login: str) -> str | tuple[str, int]:
    """An app password; it is on this one page and never again."""
    label = request.form.get("label", "")[:60]
    try:
        made = services().steward.ask("account.app_add", {"login": login[:100], "label": label})
    except Refused as refused:
        f = refused.finding
        error = " ".join(filter(None, (_(f.say), _(f.fix))))
        return _one(login, errors={"label": error}, typed={"label": label}), 422
    return _one(login, made_password=made["password"])


@pages.post("/<login>/app/remove")
def remove_app(login: str) -> Response:
    typed = request.form.get("id", "")
    if not typed.isdecimal() or len(typed) > 12:
        abort(400)
    services().steward.ask("account.app_remove", {"login": login[:100], "id": int(typed)})
    visit.say_next(_("The app password opens nothing any more."))
    return redirect(url_for("accounts.one", login=login), 303)


@pages.get("/export.csv")
def export() -> FlaskResponse:
    answer = FlaskResponse(table.write(services().steward.ask("account.list")), mimetype="text/csv")
    answer.headers["Content-Disposition"] = 'attachment; filename="accounts.csv"'
    return answer


@pages.post("/import")
def import_() -> str | tuple[str, int]:
    """Accounts from a table, all or none. Made passwords are on this one page."""
    sent = request.files.get("table")
    text = (sent.read() if sent is not None else b"").decode("utf-8-sig", "replace")
    try:
        made = services().steward.ask(
            "account.import", {"table": text}, timeout_seconds=IMPORT_SECONDS
        )
    except Refused as refused:
        return _page(trouble=refused.finding), 422
    return _page(imported=made)


@pages.get("/delete/<login>")
def ask_delete(login: str) -> str:
    return _ask_delete(login)


def _ask_delete(login: str, *, fate: str = "keep", heir: str = "", **errors: str) -> str:
    return render_template(
        "people/delete_account.html",
        login=login[:100],
        fate=fate,
        heir=heir,
        **{"error": "", "heir_error": "", **errors},
    )


@pages.post("/delete/<login>")
def delete(login: str) -> Response | tuple[str, int]:
    """Only with the account's name typed again."""
    form = request.form
    fate, heir = form.get("fate", "keep"), form.get("heir", "").strip()[:100]
    if form.get("word", "").strip().casefold() != login.casefold():
        error = _("Type the name of the account as it stands there.")
        return _ask_delete(login, fate=fate, heir=heir, error=error), 422
    asked = {"login": login[:100], "fate": fate, "heir": heir if fate == "hand_over" else ""}
    try:
        services().steward.ask("account.delete", asked)
    except Refused as refused:
        f = refused.finding
        told = " ".join(filter(None, (_(f.say), _(f.fix))))
        return _ask_delete(login, fate=fate, heir=heir, heir_error=told), 422
    visit.say_next(_("The account %(name)s is deleted.", name=login))
    return redirect(url_for("accounts.page"), 303)


def _do(verb: str, login: str) -> None:
    """Have the steward do it, and say what came of it on the next page."""
    words = {
        "account.enable": _("%(name)s may sign in.", name=login),
        "account.disable": _("%(name)s may not sign in any more.", name=login),
    }
    try:
        services().steward.ask(verb, {"login": login})
        visit.say_next(words[verb])
    except Refused as refused:
        f = refused.finding
        visit.say_next(_(f.say), result=Result.BAD, fix=_(f.fix))
