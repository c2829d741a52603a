"""Whether a reply to a client is fit for a human and gives nothing away."""

from __future__ import annotations

import re

from appliance.settings import schema

_CODE = re.compile(r"[45]\d\d\Z")
_ENHANCED = re.compile(r"[45]\.\d{1,3}\.\d{1,3}\Z")
_INSIDE = re.compile(
    r"[A-Za-z]+(?:Error|Exception|Warning)\b"  # classes
    r"|Traceback|<class|object at 0x|\bNone\b|\bself\b"
    r"|(?:\A|[ (\"'])(?:/[A-Za-z0-9._-]+){2,}|[A-Za-z]:\\|\.py\b"  # paths
    r"|\b[a-z]+(?:_[a-z]+)+\b"  # names of settings and of functions
)
_SETTINGS = tuple(field.name for field in schema.fields())


def trouble(code: int | str, enhanced: str, text: str) -> str:
    """Why a refusal is not fit to be sent; empty when it is."""
    if not _CODE.match(str(code)):
        return "it is no refusal"
    if not _ENHANCED.match(enhanced) or enhanced[0] != str(code)[0]:
        return f"the enhanced code {enhanced!r} does not fit to {code}"
    if len(text.split()) < 2 or not text[:1].isupper():
        return f"no sentence for a human: {text!r}"
    if found := _INSIDE.search(text):
        return f"it tells of the inside: {found.group()!r} in {text!r}"
    named = [name for name in _SETTINGS if name in text]
    return f"it names the setting {named[0]}" if named else ""


def trouble_of_line(line: str) -> str:
    """The same for a line from the wire without its CRLF."""
    code, _, rest = line.partition(" ")
    enhanced, _, text = rest.partition(" ")
    return trouble(code, enhanced, text)
