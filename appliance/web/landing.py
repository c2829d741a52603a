"""What plain HTTP gets on the box: why the browser will warn once, the root certificate, and
the link to the encrypted pages. The certificate is public and may be had over https as well."""

from __future__ import annotations

from flask import Blueprint, Response, abort, make_response, render_template, request
from werkzeug.wrappers import Response as AnyResponse

from appliance.web.hosts import split_host
from appliance.web.services import services

pages = Blueprint("landing", __name__)
OTHER_HTTPS_PORT = 8443


def https_url(host_header: str) -> str:
    """Where the encrypted pages are: port 443, or 8443 when a port was forwarded."""
    name, port = split_host(host_header) or ("localhost", None)
    shown = f"[{name}]" if ":" in name else name
    return f"https://{shown}/" if port in (None, 80) else f"https://{shown}:{OTHER_HTTPS_PORT}/"


def plain() -> AnyResponse:
    """The landing page; `guard` shows it at / when the request came in the clear."""
    s = services()
    return make_response(
        render_template(
            "landing/plain.html",
            https=https_url(request.host),
            has_certificate=s.config.root_certificate.is_file(),
            claimed=s.claim.closed(),
        )
    )


@pages.get("/ca.crt")
def root_certificate() -> Response:
    try:
        pem = services().config.root_certificate.read_bytes()
    except OSError:
        abort(404)
    return Response(
        pem,
        mimetype="application/x-x509-ca-cert",
        headers={"Content-Disposition": 'attachment; filename="pennypost-root.crt"'},
    )
