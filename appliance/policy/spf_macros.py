"""SPF macro strings: `%{ir}.%{v}._spf.%{d2}` (RFC 7208 §7).

A macro string is parsed once, with every error found then, and expanded later from
a mapping of letters to values. Whoever expands a string that holds `p` looks the
validated name up first: `letters` tells. Lengths are capped on the way, so that a
record of a thousand `%{s}` costs no more than a name.

    MacroError    the text is no macro string
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote

MAX_EXPANSION_OCTETS = 512  # of an explanation, and of a name before it is shortened
MAX_NAME_OCTETS = 253  # RFC 7208 §7.3: longer names lose labels on the left
LETTERS = frozenset("slodiphv")
EXPLANATION_LETTERS = LETTERS | frozenset("crt")  # RFC 7208 §7.2: only in explanations

_TOKEN = re.compile(
    r"%\{(?P<letter>[A-Za-z])(?P<digits>[0-9]*)(?P<reverse>[rR]?)(?P<delimiters>[.\-+,/_=]*)\}"
    r"|(?P<escape>%[%_-])"
    r"|(?P<literal>[ !-$&-~]+)"
)
_ESCAPES = {"%%": "%", "%_": " ", "%-": "%20"}
_TOP_LABEL = re.compile(
    r"\.(?:[A-Za-z0-9]*[A-Za-z][A-Za-z0-9]*|[A-Za-z0-9]+-[A-Za-z0-9-]*[A-Za-z0-9])\.?\Z"
)


class MacroError(ValueError):
    """The text breaks the grammar of RFC 7208 §7.1. The message says where."""


@dataclass(frozen=True, slots=True)
class Expand:
    """One `%{...}`: `keep` right-hand parts (0 = all) after splitting at `delimiters`."""

    letter: str
    keep: int
    reverse: bool
    delimiters: str
    escaped: bool  # an upper case letter: URL-escape the result

    def value(self, values: Mapping[str, str]) -> str:
        """What it becomes (RFC 7208 §7.3)."""
        parts = re.split(f"[{re.escape(self.delimiters)}]", values[self.letter])
        if self.reverse:
            parts.reverse()
        text = ".".join(parts[-self.keep :])
        return quote(text, safe="") if self.escaped else text


@dataclass(frozen=True, slots=True)
class MacroString:
    """A parsed macro string. `letters` are the macros in it, in lower case."""

    tokens: tuple[str | Expand, ...]

    @property
    def letters(self) -> frozenset[str]:
        return frozenset(token.letter for token in self.tokens if isinstance(token, Expand))

    def text(self, values: Mapping[str, str]) -> str:
        """The expansion, cut at MAX_EXPANSION_OCTETS."""
        made: list[str] = []
        room = MAX_EXPANSION_OCTETS
        for token in self.tokens:
            if room <= 0:
                break
            made.append(_expanded(token, values))
            room -= len(made[-1])
        return "".join(made)[:MAX_EXPANSION_OCTETS]

    def name(self, values: Mapping[str, str]) -> str:
        """The expansion as a domain name, without a trailing dot.

        Made from the right, where the labels stand that stay (RFC 7208 §7.3).
        """
        made: list[str] = []
        room = MAX_EXPANSION_OCTETS
        for token in reversed(self.tokens):
            if room <= 0:
                break
            made.append(_expanded(token, values)[-MAX_EXPANSION_OCTETS:])
            room -= len(made[-1])
        name = "".join(reversed(made)).removesuffix(".")
        while len(name) > MAX_NAME_OCTETS:
            name = name.partition(".")[2]
        return name


def _expanded(token: str | Expand, values: Mapping[str, str]) -> str:
    return token if isinstance(token, str) else token.value(values)


def parse(text: str, letters: frozenset[str] = LETTERS, *, spaces: bool = False) -> MacroString:
    """Read a macro string whose macros are among `letters`. Raises MacroError."""
    tokens: list[str | Expand] = []
    position = 0
    while position < len(text):
        found = _TOKEN.match(text, position)
        if not found:
            raise MacroError(f"“{_shown(text[position:])}” is no macro")
        tokens.append(_token(found, letters, spaces))
        position = found.end()
    return MacroString(tuple(tokens))


def parse_domain_spec(text: str) -> MacroString:
    """Read a domain-spec: a macro string that ends in a top label or a macro. Raises MacroError."""
    spec = parse(text)
    *_, last = [None, *_TOKEN.finditer(text)]
    if last and not last["literal"]:
        return spec
    if not _TOP_LABEL.search(text):
        raise MacroError(f"“{_shown(text)}” does not end as a domain name does")
    return spec


def _token(found: re.Match[str], letters: frozenset[str], spaces: bool) -> str | Expand:
    if literal := found["literal"]:
        if " " in literal and not spaces:
            raise MacroError("a space within a term")
        return literal
    if escape := found["escape"]:
        return _ESCAPES[escape]
    letter, digits = found["letter"], found["digits"]
    if letter.lower() not in letters:
        raise MacroError(f"no macro %{{{letter}}} may stand here")
    if digits and not digits.strip("0"):
        raise MacroError("a macro that keeps no part")
    return Expand(
        letter=letter.lower(),
        keep=int(digits[-4:]) if len(digits.lstrip("0")) < 4 and digits else 0,
        reverse=bool(found["reverse"]),
        delimiters=found["delimiters"] or ".",
        escaped=letter.isupper(),
    )


def _shown(text: str) -> str:
    return "".join(c if " " <= c <= "~" else "?" for c in text[:40])
