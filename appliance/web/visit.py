"""One request: who asks, from where, in which language and session.

`current()` is what views and templates use; `guard.py` fills it in before any view runs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from flask import g, request

from appliance.base.finding import Finding, Result
from appliance.web.i18n import LANGUAGES, best_language
from appliance.web.services import services
from appliance.web.sessions import Limits, Session

THEMES = ("auto", "light", "dark")


@dataclass(slots=True)
class Visit:
    peer: str
    secure: bool
    session: Session | None = None
    new_session_id: str | None = None  # to be set as cookie with the answer
    forget_cookie: bool = False
    flash: Finding | None = None

    @property
    def user(self) -> str | None:
        return self.session.user if self.session else None

    @property
    def cookie_name(self) -> str:
        """`__Host-` binds the cookie to https, to this host and to the whole path."""
        return "__Host-pennypost" if self.secure else "pennypost"


def current() -> Visit:
    return cast(Visit, g.visit)


def begin() -> None:
    """Find the session of this request, if it has one."""
    s = services()
    visit = Visit(peer=request.remote_addr or "", secure=request.is_secure)
    g.visit = visit
    session_id = request.cookies.get(visit.cookie_name, "")
    if session_id and len(session_id) < 100:
        web = s.view().settings.web
        holder = s.claim.holder()
        visit.session = s.sessions.find(
            session_id,
            Limits(web.session_idle_minutes * 60, web.session_hours * 3600),
            endless=holder.session if holder else None,
        )
    g.language = choose_language(visit)


def choose_language(visit: Visit) -> str:
    """The visitor's own choice, else the box's language, else what the browser asks for."""
    s = services()
    chosen = request.cookies.get("language")
    if chosen in LANGUAGES:
        return str(chosen)
    if s.claim.closed():
        return s.view().settings.box.language
    drafted = s.draft.answers().get("box.language") if is_claimer(visit) else None
    return str(drafted) if drafted else best_language(request.headers.get("Accept-Language", ""))


def is_claimer(visit: Visit | None = None) -> bool:
    """Tell whether this session is setting the box up."""
    visit = visit or current()
    holder = services().claim.holder()
    return bool(holder and visit.session and visit.session.id_hash == holder.session)


def ensure_session() -> Session:
    """The session of this visit; a new visitor gets one (a form needs a CSRF token)."""
    visit = current()
    if visit.session is None:
        visit.new_session_id, visit.session = services().sessions.open(peer=visit.peer)
    return visit.session


def sign_in(user: str) -> None:
    """Replace the session by a new one of `user`: the id from before means nothing any more."""
    visit = current()
    old = visit.session
    visit.new_session_id, visit.session = services().sessions.open(peer=visit.peer, user=user)
    if old is not None:
        services().sessions.close(old.id_hash)


def sign_out() -> None:
    visit = current()
    if visit.session is not None:
        services().sessions.close(visit.session.id_hash)
    visit.session, visit.forget_cookie = None, True


def say_next(say: str, *, result: Result = Result.OK, means: str = "", fix: str = "") -> None:
    """Leave a finding for the page that comes after the redirect."""
    finding = Finding(check="page", result=result, say=say, means=means, fix=fix)
    services().sessions.flash(ensure_session().id_hash, finding.to_json())


def take_flash() -> Finding | None:
    """The finding that the request before left, once."""
    visit = current()
    if visit.session is None:
        return None
    raw = services().sessions.take_flash(visit.session.id_hash)
    return Finding.from_json(raw) if raw else None


def theme() -> str:
    chosen = request.cookies.get("theme", "auto")
    return chosen if chosen in THEMES else "auto"
