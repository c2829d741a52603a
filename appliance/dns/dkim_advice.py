"""The records that publish the signing keys (D2), and what differs from them in the DNS (D3).

The sentences name no domain and no value, so that pages can show them in any language.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from appliance.base.finding import Finding, Result
from appliance.dns.advisor import Record

KIND = "dkim"
_SPACES = re.compile(r"[ \t\r\n]+")
_DEFAULTS = {"v": "DKIM1", "k": "rsa"}  # RFC 6376 §3.6.1: these may be left out
WHY = "Others check with it that a message really is from this domain."
LATER = "Have your registrar enter it as shown. It can take some hours to be seen."
AS_SHOWN = "Replace it by the value shown here."


def records(keys: Iterable[Mapping[str, Any]]) -> tuple[Record, ...]:
    """The TXT records for keys as the rendered facts and `dkim.show` name them."""
    return tuple(
        Record(
            type="TXT",
            name=f"{key['selector']}._domainkey.{key['domain']}",
            zone=str(key["domain"]),
            value=str(key["record"]),
            why=WHY,
            kind=KIND,
            judge=judge,
        )
        for key in keys
    )


def judge(record: Record, now: Sequence[str], check: str) -> Finding:
    """What to think of the TXT records at a key's name; pure."""

    def found(result: Result, say: str, fix: str = "", means: str = WHY) -> Finding:
        return Finding(check=check, result=result, say=say, means=means, fix=fix)

    if not now:
        return found(Result.BAD, "There is no DKIM record there yet.", LATER)
    if len(now) > 1:
        return found(
            Result.BAD,
            "Several records stand at this name.",
            "Keep the one that is shown here and delete the others.",
            "Other servers may take any of them.",
        )
    wanted, there = _tags(record.value), _tags(now[0])
    if _DEFAULTS | there == wanted:
        return found(Result.OK, "The DKIM record is as it should be.", means="")
    same_key = there.get("p") == wanted["p"]
    return found(Result.WARN if same_key else Result.BAD, *_difference(wanted, there, now[0]))


def _difference(wanted: Mapping[str, str], there: Mapping[str, str], text: str) -> tuple[str, str]:
    """One sentence on what differs, one on what to do."""
    key, given = wanted["p"], there.get("p")
    if text.strip().startswith(('"', "'")) or '"' in text or "\\;" in text:
        return (
            "The quotation marks or backslashes became part of the record.",
            "Enter the value in one piece, without quotation marks and backslashes.",
        )
    if given is None:
        return "What stands there is no DKIM record.", AS_SHOWN
    if not given:
        return "The record there says that the key was withdrawn (p= is empty).", AS_SHOWN
    if given != key and key.startswith(given):
        return (
            "The key was cut off: its end is missing.",
            "Enter it again; if the form takes 255 characters only, use the quoted strings.",
        )
    if given != key:
        return "Another key stands there.", AS_SHOWN
    if there.get("t", "").find("y") >= 0:
        return "The record says that the domain is only testing (t=y).", AS_SHOWN
    return "The key is right, but the rest of the record differs.", AS_SHOWN


def _tags(text: str) -> dict[str, str]:
    """`a=b; c=d` without white space; what cannot be read is left out."""
    pairs = (part.partition("=") for part in _SPACES.sub("", text).split(";"))
    return {name: value for name, equals, value in pairs if equals and name != "n"}
