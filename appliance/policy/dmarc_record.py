"""The text of a DMARC record (RFC 7489 §6.3, RFC 9989 §4.7).

    v=DMARC1; p=reject; sp=quarantine; adkim=s; pct=50; rua=mailto:dmarc@example.com

Reading is forgiving: whatever is unknown or malformed counts as not said. Only the
version is strict, because it makes the record a DMARC record at all.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

POLICIES = ("none", "quarantine", "reject")  # from mild to hard

_VERSION = re.compile(r"[vV][ \t]*=[ \t]*DMARC1[ \t]*(?:;|\Z)")
_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:\S")
_WHITE = " \t\r\n"


@dataclass(frozen=True, slots=True)
class Record:
    """What a domain asks for. `sp` and `np` are empty when it does not say.

    `psd` is "y" (a public suffix), "n" (an organization's own top) or "u"; `testing` and
    `percent` soften the policy by one step, for all mail or for the rest of the share.
    """

    p: str
    sp: str = ""
    np: str = ""
    strict_dkim: bool = False
    strict_spf: bool = False
    percent: int = 100
    testing: bool = False
    psd: str = "u"


def is_dmarc(text: str) -> bool:
    """Whether a TXT record claims to be a DMARC record: the version is its first tag."""
    return bool(_VERSION.match(text))


def parse(text: str) -> Record | None:
    """Read a record that `is_dmarc`; None when it asks for nothing that can be understood.

    RFC 7489 §6.6.3 step 6: with a bad policy, but with somebody to report to, it is p=none.
    """
    tags = _tags(text)
    p, sp, np = (_one_of(tags.get(name, ""), POLICIES) for name in ("p", "sp", "np"))
    unclear = not p or ("sp" in tags and not sp) or ("np" in tags and not np)
    if unclear:
        if not any(_URI.match(uri.strip(_WHITE)) for uri in tags.get("rua", "").split(",")):
            return None
        p, sp, np = "none", "", ""
    return Record(
        p=p,
        sp=sp,
        np=np,
        strict_dkim=tags.get("adkim", "").lower() == "s",
        strict_spf=tags.get("aspf", "").lower() == "s",
        percent=_percent(tags.get("pct", "")),
        testing=tags.get("t", "").lower() == "y",
        psd=_one_of(tags.get("psd", ""), ("y", "n")) or "u",
    )


def softened(policy: str) -> str:
    """One step milder: reject, quarantine, none (RFC 7489 §6.6.4, RFC 9989 §4.7 `t`)."""
    return POLICIES[max(0, POLICIES.index(policy) - 1)]


def _tags(text: str) -> dict[str, str]:
    """The tags by lower case name. One that stands twice says nothing (RFC 6376 §3.2)."""
    tags: dict[str, str] = {}
    for part in text.split(";"):
        name, equals, value = part.partition("=")
        name = name.strip(_WHITE).lower()
        if equals:
            tags[name] = "" if name in tags else value.strip(_WHITE)
    return tags


def _one_of(value: str, known: tuple[str, ...]) -> str:
    return value.lower() if value.lower() in known else ""


def _percent(text: str) -> int:
    if re.fullmatch("[0-9]{1,3}", text) and int(text) <= 100:
        return int(text)
    return 100
