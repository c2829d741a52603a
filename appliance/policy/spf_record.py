"""The text of an SPF record, as terms (RFC 7208 §4.5, §4.6, §12).

A record is read whole before any term is judged: one error anywhere makes it a
permanent error, even behind a term that would have matched (RFC 7208 §4.6).

    SpfSyntaxError    the record breaks the grammar
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

from appliance.policy import spf_macros
from appliance.policy.spf_macros import MacroString

MAX_RECORD_OCTETS = 8192  # ours: longer records exist only to keep somebody busy
VERSION = "v=spf1"

_MODIFIER = re.compile(r"([A-Za-z][A-Za-z0-9_.-]*)=(.*)\Z", re.DOTALL)
_MECHANISM = re.compile(r"([+?~-]?)([A-Za-z][A-Za-z0-9_.-]*)((?:[:/].*)?)\Z", re.DOTALL)
_PREFIX = r"(0|[1-9][0-9]{0,2})"
_DUAL_PREFIX = re.compile(rf"(?:/{_PREFIX})?(?://{_PREFIX})?\Z")  # may be empty: always found
_RESULTS = {"+": "pass", "-": "fail", "~": "softfail", "?": "neutral"}

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class SpfSyntaxError(ValueError):
    """The record breaks the grammar. The message names the term."""


@dataclass(frozen=True, slots=True)
class Mechanism:
    """One directive: when it matches, the record's answer is `result`.

    `spec` is the domain it looks at (None: the current one), `network` what ip4 and ip6
    name, `prefix4` and `prefix6` the bits that `a` and `mx` compare.
    """

    name: str
    result: str
    text: str
    spec: MacroString | None = None
    network: Network | None = None
    prefix4: int = 32
    prefix6: int = 128


@dataclass(frozen=True, slots=True)
class Record:
    """The directives in order, and the two modifiers that mean something."""

    mechanisms: tuple[Mechanism, ...]
    redirect: MacroString | None = None
    explanation: MacroString | None = None


def is_spf(text: str) -> bool:
    """Whether a TXT record claims to be an SPF record (RFC 7208 §4.5)."""
    version, _, _ = text.partition(" ")
    return version.lower() == VERSION


def parse(text: str) -> Record:
    """Read a record that `is_spf`. Raises SpfSyntaxError."""
    if len(text) > MAX_RECORD_OCTETS:
        raise SpfSyntaxError(f"the record is longer than {MAX_RECORD_OCTETS} octets")
    mechanisms: list[Mechanism] = []
    modifiers: dict[str, MacroString] = {}
    for term in text.split(" ")[1:]:
        if not term:
            continue
        try:
            if found := _MODIFIER.match(term):
                _add_modifier(modifiers, found[1].lower(), found[2])
            else:
                mechanisms.append(_mechanism(term))
        except ValueError as error:
            raise SpfSyntaxError(f"{_shown(term)}: {error}") from error
    return Record(tuple(mechanisms), modifiers.get("redirect"), modifiers.get("exp"))


def _add_modifier(modifiers: dict[str, MacroString], name: str, value: str) -> None:
    if name not in ("redirect", "exp"):
        spf_macros.parse(value, spf_macros.EXPLANATION_LETTERS)  # RFC 7208 §6: ignored, if sound
        return
    if name in modifiers:
        raise SpfSyntaxError("it may stand in a record once")  # RFC 7208 §6
    modifiers[name] = spf_macros.parse_domain_spec(value)


def _mechanism(term: str) -> Mechanism:
    found = _MECHANISM.match(term)
    if not found:
        raise SpfSyntaxError("no mechanism and no modifier")
    qualifier, name, rest = found[1] or "+", found[2].lower(), found[3]
    result, shown = _RESULTS[qualifier], _shown(term)
    if name == "all" and not rest:
        return Mechanism(name, result, shown)
    if name in ("include", "exists") and rest.startswith(":"):
        return Mechanism(name, result, shown, spf_macros.parse_domain_spec(rest[1:]))
    if name == "ptr":
        return Mechanism(name, result, shown, _optional_spec(rest))
    if name in ("a", "mx"):
        spec, prefix4, prefix6 = _with_prefixes(rest)
        return Mechanism(name, result, shown, spec, None, prefix4, prefix6)
    if name in ("ip4", "ip6") and rest.startswith(":"):
        return Mechanism(name, result, shown, network=_network(rest[1:], name))
    raise SpfSyntaxError("no mechanism has this form")


def _optional_spec(rest: str) -> MacroString | None:
    if not rest:
        return None
    if not rest.startswith(":"):
        raise SpfSyntaxError("a domain is expected behind a colon")
    return spf_macros.parse_domain_spec(rest[1:])


def _with_prefixes(rest: str) -> tuple[MacroString | None, int, int]:
    """`[:domain-spec][/prefix4][//prefix6]`."""
    found = _DUAL_PREFIX.search(rest)
    assert found
    prefix4, prefix6 = int(found[1] or 32), int(found[2] or 128)
    if prefix4 > 32 or prefix6 > 128:
        raise SpfSyntaxError("a prefix length out of range")
    return _optional_spec(rest[: found.start()]), prefix4, prefix6


def _network(text: str, name: str) -> Network:
    address, slash, prefix = text.partition("/")
    if slash and not re.fullmatch(_PREFIX, prefix):
        raise SpfSyntaxError("no prefix length has this form")
    try:
        if name == "ip4":
            return ipaddress.IPv4Network((address, int(prefix or 32)), strict=False)
        if "%" not in address:  # no zones
            return ipaddress.IPv6Network((address, int(prefix or 128)), strict=False)
    except ValueError:
        pass
    raise SpfSyntaxError("no address has this form")


def _shown(term: str) -> str:
    return "".join(c if "!" <= c <= "~" else "?" for c in term[:80])
