"""Where the mailboxes are."""

from __future__ import annotations

import re
from dataclasses import dataclass

from appliance.settings import describe, parse
from appliance.settings.parse import JSON, Bad

LMTP_PORT = 24


def lmtp(raw: JSON) -> str:
    """The path of a socket, `host:port`, or nothing; in canonical form."""
    value = parse.text()(raw)
    if not value:
        return ""
    if value.startswith("/"):
        if len(value) > 100 or not re.fullmatch(r"(?:/[A-Za-z0-9._-]+)+", value):
            raise Bad(f"“{value}” is not the path of a socket.", "Write it like /run/x/lmtp.")
        return value
    host, port = parse.host_and_port(value, LMTP_PORT)
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """Delivery into mailboxes."""

    lmtp: str = describe.text(
        "",
        lmtp,
        "Mailbox server (LMTP)",
        "The path of its socket, or host:port. Empty: there are no mailboxes on this box.",
    )
