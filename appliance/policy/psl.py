"""Where one owner's names end and the registry's begin: the public suffix list.

`example.co.uk` belongs to somebody, `co.uk` to nobody. No rule of the DNS says so, so
a list does (https://publicsuffix.org/list/); the box has Debian's `publicsuffix`. Under
a top-level domain that the list does not know the default rule `*` holds: the last
label is the suffix. Without that rule all of an unlisted domain would be one owner.

    rules = load(DEBIAN_LIST)
    organizational_domain("mail.example.co.uk", rules) == "example.co.uk"
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

DEBIAN_LIST = Path("/usr/share/publicsuffix/public_suffix_list.dat")


@dataclass(frozen=True, slots=True)
class Rules:
    """The list, in A-labels: plain rules, `*.` rules and `!` rules without their marks."""

    suffixes: frozenset[str]
    wildcards: frozenset[str]
    exceptions: frozenset[str]


def parse(lines: Iterable[str]) -> Rules:
    """Read the list's own format. A line that no domain name can match is left out."""
    suffixes, wildcards, exceptions = set[str](), set[str](), set[str]()
    for line in lines:
        rule = line.split(maxsplit=1)[0] if line.strip() else ""
        if not rule or rule.startswith("//"):
            continue
        if rule.startswith("!"):
            exceptions.add(_ascii(rule[1:]))
        elif rule.startswith("*."):
            wildcards.add(_ascii(rule[2:]))
        else:
            suffixes.add(_ascii(rule))
    return Rules(*(frozenset(found - {""}) for found in (suffixes, wildcards, exceptions)))


@cache
def load(path: Path) -> Rules:
    """The rules in a file, read once for each path. Raises OSError."""
    with path.open(encoding="utf-8") as lines:
        return parse(lines)


def public_suffix(domain: str, rules: Rules) -> str:
    """The longest suffix of `domain` (lower case, A-labels) under which others register."""
    labels = domain.split(".")
    for start in range(len(labels)):  # the longest rule first
        name, parent = ".".join(labels[start:]), ".".join(labels[start + 1 :])
        if name in rules.exceptions:
            return parent
        if name in rules.suffixes or parent in rules.wildcards:
            return name
    return labels[-1]


def organizational_domain(domain: str, rules: Rules) -> str:
    """The suffix and one label more (RFC 7489 §3.2); a public suffix stands for itself."""
    suffix = public_suffix(domain, rules)
    if suffix == domain:
        return domain
    return domain.split(".")[-suffix.count(".") - 2] + "." + suffix


def _ascii(rule: str) -> str:
    try:
        return rule.lower().encode("idna").decode("ascii")
    except UnicodeError:
        return ""
