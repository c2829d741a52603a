"""People: administrators, the own password, and API tokens."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, abort, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from appliance.accounts import passwords
from appliance.accounts.store import account_name
from appliance.base.finding import Refused, Result
from appliance.web import visit
from appliance.web.i18n import _
from appliance.web.services import services

pages = Blueprint("people", __name__, url_prefix="/people")


def _page(**more: Any) -> str:
    s = services()
    return render_template(
        "people/page.html",
        administrators=s.accounts.administrators(),
        tokens=s.accounts.tokens(),
        **{"errors": {}, "typed": {}, "token": "", **more},
    )


@pages.get("/")
def page() -> str:
    return _page()


def _new_password(form_name: str) -> tuple[str, str]:
    """The new password and what is wrong with it."""
    password = request.form.get("password", "")
    judged = passwords.strength(password, name=form_name)
    if not judged.acceptable:
        return "", _(
            "This password is %(word)s. %(advice)s", word=_(judged.word), advice=_(judged.advice)
        )
    return password, ""


@pages.post("/password")
def change_password() -> Response | tuple[str, int]:
    """Another password for oneself; all other sessions of this account end."""
    s = services()
    here = visit.current()
    user = here.user or ""
    password, error = _new_password(user)
    if error:
        return _page(errors={"password": error}), 422
    wait = s.throttle.try_now(user, here.peer)
    if wait > 0 or s.accounts.check_password(user, request.form.get("old", "")) is None:
        return _page(errors={"old": _("This is not your present password.")}), 422
    s.throttle.forgive(user, here.peer)
    s.accounts.put_administrator(name=user, password_hash=passwords.make_hash(password))
    visit.sign_in(user)
    s.sessions.close_all(user, but=visit.ensure_session().id_hash)
    visit.say_next(_("The password is changed. Other browsers are signed out."))
    return redirect(url_for("people.page"), 303)


@pages.post("/add")
def add() -> Response | tuple[str, int]:
    s = services()
    typed = request.form.get("name", "")[:100]
    try:
        name = account_name(typed)
    except Refused as refused:
        f = refused.finding
        return _page(errors={"name": f"{_(f.say)} {_(f.fix)}"}, typed={"name": typed}), 422
    if name in s.accounts.administrators():
        error = _("There is an administrator of this name.")
        return _page(errors={"name": error}, typed={"name": typed}), 422
    password, error = _new_password(name)
    if error:
        return _page(errors={"new_password": error}, typed={"name": typed}), 422
    s.accounts.put_administrator(name=name, password_hash=passwords.make_hash(password))
    visit.say_next(_("%(name)s may sign in now.", name=name))
    return redirect(url_for("people.page"), 303)


@pages.post("/remove")
def remove() -> Response:
    s = services()
    name = request.form.get("name", "")
    try:
        s.accounts.remove_administrator(name)
        s.sessions.close_all(name)
        visit.say_next(_("%(name)s may not sign in any more.", name=name))
    except Refused as refused:
        f = refused.finding
        visit.say_next(_(f.say), result=Result.BAD, fix=_(f.fix))
    return redirect(url_for("people.page"), 303)


@pages.post("/tokens")
def make_token() -> str | tuple[str, int]:
    """The token is on this one page and never again."""
    label = request.form.get("label", "")
    try:
        token = services().accounts.make_token(label=label, author=visit.current().user or "")
    except Refused as refused:
        f = refused.finding
        return _page(errors={"label": f"{_(f.say)} {_(f.fix)}"}, typed={"label": label}), 422
    return _page(token=token)


@pages.post("/tokens/remove")
def remove_token() -> Response:
    typed = request.form.get("id", "")
    if not typed.isdecimal() or len(typed) > 12:
        abort(400)
    services().accounts.remove_token(int(typed))
    visit.say_next(_("The token does not open anything any more."))
    return redirect(url_for("people.page"), 303)
