"""Sign-in and sign-out."""

from __future__ import annotations

import re

from flask import Blueprint, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from appliance.base.finding import PennypostError
from appliance.web import visit
from appliance.web.i18n import _
from appliance.web.services import services
from appliance.web.words import duration

pages = Blueprint("signin", __name__)
# A path of our own and nothing else: no scheme, no host, no backslash.
_LOCAL_PATH = re.compile(r"/(?![/\\])[A-Za-z0-9._~/?&=%+@:,-]{0,500}")


@pages.get("/sign-in")
def form() -> Response | str:
    if visit.current().user:
        return redirect(url_for("home.page"), 303)
    return _page()


def _page(error: str = "", name: str = "") -> str:
    wanted = request.values.get("next", "")
    return render_template(
        "signin/form.html",
        wrong=error,
        name=name,
        next=wanted if _LOCAL_PATH.fullmatch(wanted) else "",
        nobody=not services().accounts.administrators(),
    )


@pages.post("/sign-in")
def enter() -> Response | tuple[str, int] | tuple[str, int, dict[str, str]]:
    s = services()
    name = request.form.get("name", "")[:100]
    peer = visit.current().peer
    wait = s.throttle.try_now(name, peer)
    if wait > 0:
        error = _(
            "There were several wrong passwords. Try again in %(span)s.", span=duration(wait + 1)
        )
        return _page(error, name), 429, {"Retry-After": str(int(wait) + 1)}
    try:
        user = s.accounts.check_password(name, request.form.get("password", ""))
    except PennypostError as busy:
        return _page(f"{_(busy.finding.say)} {_(busy.finding.fix)}", name), 503
    if user is None:
        return _page(_("User name and password do not fit together."), name), 422
    s.throttle.forgive(user, peer)
    visit.sign_in(user)
    wanted = request.form.get("next", "")
    return redirect(wanted if _LOCAL_PATH.fullmatch(wanted) else url_for("home.page"), 303)


@pages.post("/sign-out")
def leave() -> Response:
    visit.sign_out()
    return redirect(url_for("signin.form"), 303)
