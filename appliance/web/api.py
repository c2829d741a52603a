"""GET /api/v1/status: the state of the box as JSON, for monitoring. Needs a bearer token."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, jsonify, request

from appliance.base.finding import PennypostError
from appliance.web.home import gather
from appliance.web.services import services

pages = Blueprint("api", __name__, url_prefix="/api/v1")


@pages.get("/status")
def status() -> Response | tuple[Response, int, dict[str, str]]:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    s = services()
    if scheme.lower() != "bearer" or s.accounts.check_token(token.strip()[:200]) is None:
        finding = {"say": "This needs a token.", "fix": "Make one under People > API tokens."}
        return jsonify(error=finding), 401, {"WWW-Authenticate": "Bearer"}
    return jsonify(_status())


def _status() -> dict[str, Any]:
    s = services()
    now = gather()
    view = s.view()
    return {
        "name": view.settings.mail.hostname or "pennypost.local",
        "at": s.clock.now().isoformat(),
        "state": now.state,
        "settings_revision": view.revision,
        "mail": now.relay,
        "services": [{k: v for k, v in s.items() if k != "since_at"} for s in now.services],
        "findings": [finding.to_json() for finding in now.findings],
    }


@pages.errorhandler(PennypostError)
def refused(error: PennypostError) -> tuple[Response, int]:
    return jsonify(error=error.finding.to_json()), 503
