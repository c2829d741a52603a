"""MTA-STS: what a domain asks of those who send to it (RFC 8461). Pure.

    record_id()   the id in the TXT record of `_mta-sts.DOMAIN`
    parse()       the policy file
    covers()      whether a mail server is one of those that the policy names

BadPolicy     the file is not a policy
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

MAX_POLICY_BYTES = 65_536  # RFC 8461 §3.3 suggests 64 KB
MAX_AGE_SECONDS = 31_557_600  # RFC 8461 §3.2
MAX_MX_PATTERNS = 100
_ID = re.compile(r"[A-Za-z0-9]{1,32}\Z")
_PATTERN = re.compile(r"(?:\*\.)?[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*\Z")
_MODES = ("enforce", "testing", "none")


class BadPolicy(ValueError):
    """The text is not a policy; the message says why."""


@dataclass(frozen=True, slots=True)
class Policy:
    """A domain's wish. `mx` are host names, the first label of one may be `*`."""

    mode: str  # enforce, testing, none
    max_age_seconds: int
    mx: tuple[str, ...] = ()
    text: tuple[str, ...] = ()  # the lines as they came, for reports (RFC 8460 §4.4)


def policy_host(domain: str) -> str:
    """Where the policy is, at `/.well-known/mta-sts.txt` (RFC 8461 §3.3)."""
    return f"mta-sts.{domain}"


def record_id(records: Sequence[str]) -> str:
    """The policy's id; empty when the domain publishes none (RFC 8461 §3.1).

    More than one record means that there is none.
    """
    ours = [text for text in records if re.match(r"v=STSv1[ \t]*(;|\Z)", text)]
    if len(ours) != 1:
        return ""
    fields = dict(_pair(part, "=") for part in ours[0].split(";") if "=" in part)
    found = fields.get("id", "")
    return found if _ID.match(found) else ""


def parse(body: bytes) -> Policy:
    """Read the policy file. Raises BadPolicy. Fields that nobody knows are passed over."""
    if len(body) > MAX_POLICY_BYTES:
        raise BadPolicy("too long")
    try:
        lines = [line for line in re.split(r"\r?\n", body.decode("utf-8")) if line.strip()]
    except UnicodeDecodeError as error:
        raise BadPolicy("not text") from error
    fields: dict[str, str] = {}
    patterns: list[str] = []
    for line in lines:
        name, value = _pair(line, ":")
        if name == "mx":
            patterns.append(value)
        else:
            fields.setdefault(name, value)  # RFC 8461 §3.2: the first one counts
    return _checked(fields, patterns, tuple(lines))


def covers(policy: Policy, host: str) -> bool:
    """Whether `host` is named; `*` stands for exactly one label (RFC 8461 §4.1)."""
    name = host.rstrip(".").lower()
    _, _, parent = name.partition(".")
    return any(
        parent == pattern[2:] if pattern.startswith("*.") else name == pattern
        for pattern in policy.mx
    )


def _checked(fields: dict[str, str], patterns: list[str], text: tuple[str, ...]) -> Policy:
    mode, age = fields.get("mode", ""), fields.get("max_age", "")
    if fields.get("version") != "STSv1":
        raise BadPolicy("no version STSv1")
    if mode not in _MODES:
        raise BadPolicy("no known mode")
    if not re.fullmatch(r"[0-9]{1,10}", age):
        raise BadPolicy("no max_age")
    if len(patterns) > MAX_MX_PATTERNS or not all(_PATTERN.match(one) for one in patterns):
        raise BadPolicy("a malformed mx")
    if mode != "none" and not patterns:
        raise BadPolicy("no mx")
    names = tuple(pattern.lower() for pattern in patterns)
    return Policy(mode, min(int(age), MAX_AGE_SECONDS), names, text)


def _pair(text: str, sign: str) -> tuple[str, str]:
    name, _, value = text.partition(sign)
    return name.strip(), value.strip()
