"""create_app: the pages put together."""

from __future__ import annotations

import hashlib
import logging
import secrets
from datetime import datetime
from pathlib import Path
from typing import Any

from flask import Flask, g, render_template, request, url_for
from markupsafe import Markup
from werkzeug.exceptions import HTTPException

from appliance.base.finding import Finding, PennypostError, Refused, Result
from appliance.dns.resolver import Resolver
from appliance.web import (
    accounts,
    aliases,
    api,
    disk_words,
    disks,
    dns_guide,
    forms,
    guard,
    home,
    landing,
    manual,
    people,
    preferences,
    queue,
    scheme,
    senders,
    settings_pages,
    signatures,
    signin,
    style,
    trace,
    visit,
    whys,
    wizard,
    words,
)
from appliance.web.applying import step_words
from appliance.web.config import WebConfig
from appliance.web.i18n import LANGUAGES, N_, _, current_language
from appliance.web.services import KEY, build, services

_log = logging.getLogger(__name__)
MAX_REQUEST_BYTES = 2 * 1024 * 1024

_ERRORS: dict[int, tuple[str, str]] = {
    400: (N_("The box does not understand this request."), N_("Go back and try it from the page.")),
    403: (N_("This is not allowed from here."), N_("Begin at the first page.")),
    404: (N_("There is no such page."), N_("Begin at the first page.")),
    405: (N_("There is no such page."), N_("Begin at the first page.")),
    413: (N_("This is more than the box takes at once."), N_("Send less at a time.")),
    500: (
        N_("Something went wrong inside the box."),
        N_("Try it again. If it stays, look at the log; it has the number below."),
    ),
}
_NEIGHBOURS = (
    N_("The box is not set up yet, and until then it answers only its own network."),
    N_("Open this page from a computer in the same network as the box."),
)
_CSRF = (
    N_("This form was not sent from a page of this box, or the page was open for too long."),
    N_("Open the page again and repeat the step; what was saved before is still there."),
)


def create_app(config: WebConfig, resolver: Resolver) -> Flask:
    """Make the application. It opens its databases under `config.data`/web."""
    app = Flask(__name__, static_folder="static", template_folder="templates")
    app.config.update(
        MAX_CONTENT_LENGTH=MAX_REQUEST_BYTES,
        MAX_FORM_MEMORY_SIZE=MAX_REQUEST_BYTES,
        MAX_FORM_PARTS=4000,
        # No secret: Flask's own cookie session is not used (sessions.py keeps ours).
        SECRET_KEY=None,
    )
    app.jinja_env.trim_blocks = True
    app.jinja_env.lstrip_blocks = True
    app.extensions[KEY] = build(config, resolver)
    guard.install(app)
    for module in (
        wizard, signin, home, trace, settings_pages, queue, dns_guide, people, manual, style, api,
        landing, preferences, signatures, senders, accounts, aliases, scheme,
        disks,
    ):  # fmt: skip
        app.register_blueprint(module.pages)
    _teach_templates(app)
    app.register_error_handler(HTTPException, _http_error)
    app.register_error_handler(PennypostError, _finding_error)
    app.register_error_handler(Exception, _unexpected)
    return app


# -- what templates may call ----------------------------------------------------------


def _teach_templates(app: Flask) -> None:
    stamps = _stamps(Path(app.static_folder or ""))

    def static(name: str) -> str:
        return url_for("static", filename=name, v=stamps.get(name, "0"))

    app.jinja_env.globals.update(
        in_words=whys.in_words,
        _=_,
        static=static,
        csrf=_csrf_field,
        mend=home.mend,
        PLACES=dns_guide.PLACES,
        SOON=dns_guide.SOON,
        choices=forms.CHOICES,
        step_words=step_words,
        spoken=disk_words.told,
        note_of=disk_words.note_of,
        languages=LANGUAGES,
        Result=Result,
    )
    app.jinja_env.filters.update(
        size=words.size, number=words.number, duration=words.duration, moment=_moment
    )
    app.context_processor(_page_frame)


def _stamps(folder: Path) -> dict[str, str]:
    """A short hash of each static file, so that browsers may keep it and still see a new one."""
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()[:12]
        for path in folder.glob("*")
        if path.is_file()
    }


def _csrf_field() -> Markup:
    return Markup('<input type="hidden" name="{}" value="{}">').format(
        guard.CSRF_FIELD, visit.ensure_session().csrf
    )


def _moment(at: datetime | None) -> str:
    if at is None:
        return _("not known yet")
    zone = words.zone(services().view().settings.box.time_zone)
    return words.moment(at, services().clock.now(), zone)


def _page_frame() -> dict[str, Any]:
    """What the frame of each page shows."""
    here = getattr(g, "visit", None)
    if here is None:
        return {"language": "en", "theme": "auto", "user": None, "box_name": "", "place": ""}
    s = services()
    mail = s.view().settings.mail
    frame: dict[str, Any] = {
        "language": current_language(),
        "theme": visit.theme(),
        "user": here.user,
        "box_name": mail.hostname or "pennypost.local",
        "place": request.blueprint or "",
        "flash": visit.take_flash(),
    }
    if here.user:
        state, _why = home.mail_state(s.relay_state.status(), enabled=mail.enabled)
        frame["header_state"] = home.STATES[state]
    return frame


# -- errors ---------------------------------------------------------------------------


def _error_page(status: int, finding: Finding, number: str = "") -> tuple[str, int]:
    if getattr(g, "visit", None) is None:
        return finding.say, status
    return render_template("errors/error.html", trouble=finding, number=number), status


def _http_error(error: HTTPException) -> Any:
    code = error.code or 500
    if code < 400:
        return error
    say, fix = _ERRORS.get(code, _ERRORS[400 if code < 500 else 500])
    if error.description == "neighbours":
        say, fix = _NEIGHBOURS
    elif error.description == "csrf":
        say, fix = _CSRF
    finding = Finding(check=f"web.{code}", result=Result.WARN, say=_(say), fix=_(fix))
    return _error_page(code, finding)


def _finding_error(error: PennypostError) -> tuple[str, int]:
    """A daemon refused or does not answer: its own words."""
    return _error_page(409 if isinstance(error, Refused) else 503, error.finding)


def _unexpected(error: Exception) -> tuple[str, int]:
    """Anything else: the log has the details under a number, the page has the number."""
    number = secrets.token_hex(4)
    _log.error("error %s on %s %s", number, request.method, request.path, exc_info=error)
    say, fix = _ERRORS[500]
    finding = Finding(check="web.500", result=Result.BAD, say=_(say), fix=_(fix))
    return _error_page(500, finding, number)
