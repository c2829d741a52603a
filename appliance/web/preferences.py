"""Language and light or dark, for this browser alone: two cookies, no account needed."""

from __future__ import annotations

from urllib.parse import urlsplit

from flask import Blueprint, make_response, redirect, request
from werkzeug.wrappers import Response

from appliance.web import visit
from appliance.web.i18n import LANGUAGES

pages = Blueprint("preferences", __name__, url_prefix="/preferences")
_YEAR_SECONDS = 365 * 86400


def _back() -> Response:
    """To the page that the choice was made on (the guard has checked that it is ours)."""
    path = urlsplit(request.headers.get("Referer", "")).path
    safe = path if path.startswith("/") and not path.startswith(("//", "/\\")) else "/"
    return make_response(redirect(safe, 303))


def _remember(name: str, value: str) -> Response:
    response = _back()
    response.set_cookie(
        name,
        value,
        max_age=_YEAR_SECONDS,
        samesite="Lax",
        httponly=True,
        secure=visit.current().secure,
    )
    return response


@pages.post("/language")
def language() -> Response:
    chosen = request.form.get("language", "")
    return _remember("language", chosen) if chosen in LANGUAGES else _back()


@pages.post("/theme")
def theme() -> Response:
    chosen = request.form.get("theme", "")
    return _remember("theme", chosen) if chosen in visit.THEMES else _back()
