"""Accounts: the people who send through the box, and the stolen-account brake (B18)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask import Blueprint, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from appliance.accounts import passwords
from appliance.base.finding import PennypostError, Refused, Result
from appliance.web import visit
from appliance.web.i18n import _
from appliance.web.services import services
from appliance.web.words import parse_time

pages = Blueprint("accounts", __name__, url_prefix="/people/accounts")
MAX_SHOWN = 500


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
        storage=bool(getattr(getattr(s.view().settings, "delivery", None), "lmtp", "")),
        **{"errors": {}, "typed": {}, "made_password": "", "made_login": "", **more},
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


@pages.get("/delete/<login>")
def ask_delete(login: str) -> str:
    return render_template("people/delete_account.html", login=login[:100], error="")


@pages.post("/delete/<login>")
def delete(login: str) -> Response | tuple[str, int]:
    """Only with the account's name typed again."""
    if request.form.get("word", "").strip().casefold() != login.casefold():
        error = _("Type the name of the account as it stands there.")
        return render_template("people/delete_account.html", login=login[:100], error=error), 422
    _do("account.delete", login[:100])
    return redirect(url_for("accounts.page"), 303)


def _do(verb: str, login: str) -> None:
    """Have the steward do it, and say what came of it on the next page."""
    words = {
        "account.enable": _("%(name)s may sign in.", name=login),
        "account.disable": _("%(name)s may not sign in any more.", name=login),
        "account.delete": _("The account %(name)s is deleted.", name=login),
    }
    try:
        services().steward.ask(verb, {"login": login})
        visit.say_next(words[verb])
    except Refused as refused:
        f = refused.finding
        visit.say_next(_(f.say), result=Result.BAD, fix=_(f.fix))
