"""Addresses that must stay reachable for those whom we refuse."""

from __future__ import annotations

from appliance.mail.address import Address

_ROLES = frozenset({"postmaster", "abuse"})


def is_role(recipient: Address | None) -> bool:
    """Whether mail for it is taken from blocked and unknown callers too.

    RFC 5321 §4.5.1 asks it for postmaster, RFC 2142 §2 and §4 name abuse: somebody who is
    refused by mistake must be able to say so.
    """
    return recipient is not None and recipient.local.lower() in _ROLES
