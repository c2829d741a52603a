"""Signatures on outgoing mail (DKIM)."""

from dataclasses import dataclass

from appliance.settings.describe import switch


@dataclass(frozen=True, slots=True, kw_only=True)
class Signing:
    """Whether mail that begins here is signed. The keys themselves are not settings."""

    enabled: bool = switch(
        True,
        "Sign outgoing mail",
        "Each message gets a signature of its domain (DKIM). Others trust it when the records "
        "that the DNS guide shows are published.",
    )
