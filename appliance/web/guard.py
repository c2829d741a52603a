"""What every request passes before a view sees it, and what every answer carries.

In this order: the Host header is ours (421); plain HTTP on the box gets the landing page and
no more; before the box has an owner only neighbours are answered (403), and they see the
wizard and nothing else; a request that changes something comes from our own page (Origin) and
carries the session's token (403); all other pages want a sign-in.
"""

from __future__ import annotations

import hmac
from urllib.parse import urlsplit

from flask import Flask, Response, abort, redirect, request, url_for
from werkzeug.wrappers import Response as AnyResponse

from appliance.web import landing, visit
from appliance.web.hosts import is_neighbour, is_own, names_of, split_host
from appliance.web.services import services

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
# Before the box has an owner: these blueprints and no others.
BEFORE_CLAIM = frozenset({"wizard", "landing", "preferences"})
# Without a sign-in.
PUBLIC = frozenset({"landing", "signin", "preferences", "api"})
# Where a CSRF token is not asked: nothing but the look of the pages changes, or a bearer token
# (which no browser sends by itself) is asked instead.
WITHOUT_TOKEN = frozenset({"preferences", "api"})
CSRF_FIELD = "csrf_token"
NO_SUCH_HOST = "This box does not answer under that name. Use its own name or its address.\n"

_CSP = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "form-action 'self'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
    )
)
_HEADERS = {
    "Content-Security-Policy": _CSP,
    # Not no-referrer: browsers then send "Origin: null" with our own forms.
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "X-Robots-Tag": "noindex, nofollow",
}


def install(app: Flask) -> None:
    app.before_request(check_host)
    app.before_request(check_request)
    app.after_request(finish)


def check_host() -> AnyResponse | None:
    header = split_host(request.environ.get("HTTP_HOST", ""))
    view = services().view()
    if header and is_own(header[0], names=names_of(view.settings, view.facts)):
        return None
    return Response(NO_SUCH_HOST, status=421, mimetype="text/plain")


def check_request() -> AnyResponse | None:
    if request.endpoint == "static":
        return None
    s = services()
    visit.begin()
    blueprint = request.blueprint or ""
    if s.config.behind_proxy and not request.is_secure:
        return None if blueprint in ("landing", "preferences") else _landing()
    closed = s.claim.closed()
    if not closed and not is_neighbour(visit.current().peer):
        abort(403, "neighbours")
    if not closed and blueprint not in BEFORE_CLAIM:
        if request.method in SAFE_METHODS:
            return redirect(url_for("wizard.start"), 303)
        abort(403)
    if request.method not in SAFE_METHODS:
        check_origin(blueprint)
    if closed and blueprint not in PUBLIC and visit.current().user is None and request.endpoint:
        return _to_sign_in(blueprint)
    return None


def _landing() -> AnyResponse:
    """Plain HTTP on the box: the one page that is not worth hiding."""
    if request.method not in SAFE_METHODS:
        abort(403)
    return landing.plain() if request.path == "/" else redirect("/", 303)


def _to_sign_in(blueprint: str) -> AnyResponse | None:
    # The one who has just set the box up is signed in by the wizard's own last page.
    claimer = visit.is_claimer()
    if blueprint == "wizard" and claimer:
        return None
    if request.method not in SAFE_METHODS:
        abort(403)
    if claimer:
        return redirect(url_for("wizard.start"), 303)
    here = request.full_path.rstrip("?")
    return redirect(url_for("signin.form", next=None if here == "/" else here), 303)


def check_origin(blueprint: str) -> None:
    """Refuse what another site's page sends (RFC 6454; Fetch Metadata where it is sent)."""
    said = request.headers.get("Origin") or request.headers.get("Referer")
    if said is not None:
        parts = urlsplit(said)
        if (parts.scheme, parts.netloc.lower()) != (request.scheme, request.host.lower()):
            abort(403, "csrf")
    if request.headers.get("Sec-Fetch-Site", "same-origin") not in ("same-origin", "none"):
        abort(403, "csrf")
    if blueprint in WITHOUT_TOKEN:
        return
    session = visit.current().session
    sent = request.form.get(CSRF_FIELD, "")
    if session is None or not hmac.compare_digest(sent.encode(), session.csrf.encode()):
        abort(403, "csrf")


def finish(response: Response) -> Response:
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)
    if request.endpoint == "static":
        if request.args.get("v"):
            response.headers["Cache-Control"] = "public, max-age=31536000, immutable"
        return response
    response.headers.setdefault("Cache-Control", "no-store")
    _set_cookies(response)
    return response


def _set_cookies(response: Response) -> None:
    try:
        here = visit.current()
    except AttributeError:  # refused before there was a visit (421)
        return
    if here.new_session_id:
        hours = services().view().settings.web.session_hours
        response.set_cookie(
            here.cookie_name,
            here.new_session_id,
            max_age=hours * 3600 if here.user else 24 * 3600,
            secure=here.secure,
            httponly=True,
            samesite="Lax",
            path="/",
        )
    elif here.forget_cookie:
        response.delete_cookie(
            here.cookie_name, secure=here.secure, httponly=True, samesite="Lax", path="/"
        )
