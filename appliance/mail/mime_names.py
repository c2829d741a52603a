"""What the header of a MIME part says: kind, encoding, boundaries, and the names of a file.

Mail programs differ in how they read broken headers, and who wants to get a file past a filter
uses that. So every name counts that any of the known readings gives: RFC 2183 and 2045 parameters,
quoted and not, RFC 2231 continuations and charsets, RFC 2047 words in quotes, fields given twice.
"""

import binascii
import re
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

_UNFOLD = re.compile(rb"\r?\n(?=[ \t])")
_FIELD = re.compile(
    rb"^content-(type|disposition|transfer-encoding|description)[ \t]*:([^\r\n]*)",
    re.IGNORECASE | re.MULTILINE,
)
_PARAMETER = re.compile(
    r"""[;\s]([a-z]+)((?:\*\d{1,3})?)(\*?)\s*=\s*("(?:[^"\\]|\\.)*"?|[^;]*)""",
    re.IGNORECASE | re.DOTALL,
)
_WORD = re.compile(r"=\?([^?\s]{1,60})\?([bq])\?([^?]*)\?=", re.IGNORECASE)
_BETWEEN_WORDS = re.compile(r"\?=\s+=\?")
MAX_NAMES = 20


@dataclass(frozen=True, slots=True)
class PartHeader:
    """One header, read."""

    kind: str = ""  # type/subtype, lower case
    encoding: str = ""
    boundaries: frozenset[bytes] = frozenset()
    names: tuple[str, ...] = ()

    @property
    def is_message(self) -> bool:
        """Whether a whole message follows."""
        return self.kind in ("message/rfc822", "message/global") and self.encoding not in (
            "base64",
            "quoted-printable",
        )


def part_header(header: bytes) -> PartHeader:
    """Read the header of a part or of a message."""
    kind, encoding = "", ""
    boundaries: set[bytes] = set()
    names: dict[str, None] = {}
    for field in _FIELD.finditer(_UNFOLD.sub(b"", header)):
        name = field[1].lower()
        value = field[2].decode("utf-8", "surrogateescape").strip()
        if name == b"transfer-encoding":
            encoding = value.split(";")[0].strip().lower()
            continue
        if name == b"type":
            kind = kind if kind.startswith("multipart/") else value.split(";")[0].strip().lower()
        if name == b"description":
            continue
        found = _parameters(value)
        if name == b"type" and value.lower().startswith("multipart/"):
            boundaries |= {_octets(text) for text in found.get("boundary", ()) if text}
        for key in ("filename", "name"):
            names.update(dict.fromkeys(found.get(key, ())))
    clean = tuple(text for name in list(names)[:MAX_NAMES] if (text := name.strip()))
    return PartHeader(kind, encoding, frozenset(boundaries), clean)


def extension(name: str) -> str:
    """What Windows takes as the ending of a file's name, lower case, without the dot.

    Paths, streams (`x.exe::$DATA`), dots and blanks at the end, control characters and marks that
    turn the direction of text do not hide it.
    """
    visible = "".join(c for c in name if c.isprintable())
    last = re.split(r"[/\\]", visible)[-1].split("::")[0].rstrip(" .\"'\t\u00a0")
    return last.rpartition(".")[2].lower().strip() if "." in last else ""


def _parameters(value: str) -> dict[str, list[str]]:
    """All readings of each parameter, by lower-case name."""
    found: dict[str, list[str]] = {}
    pieces: dict[str, dict[int, str]] = {}
    for match in _PARAMETER.finditer(value):
        name, section, extended, raw = match[1].lower(), match[2], match[3], match[4]
        text = _unquoted(raw)
        if section:
            pieces.setdefault(name, {})[int(section[1:])] = (
                _percent(text, first=section == "*0") if extended else text
            )
        elif extended:
            found.setdefault(name, []).append(_percent(text, first=True))
        else:
            found.setdefault(name, []).extend(_readings(raw, text))
    for name, by_number in pieces.items():
        joined = "".join(by_number[number] for number in sorted(by_number))
        found.setdefault(name, []).extend((joined, decoded_words(joined)))
    return found


def _readings(raw: str, text: str) -> Iterator[str]:
    yield text
    yield decoded_words(text)
    if '"' in text or raw.count('"') % 2:  # quotes out of place: some programs drop them all
        yield raw.replace('"', "").strip()
    if "%" in text:  # percent encoding without the asterisk, as some programs write it
        yield _percent(text, first=True)


def decoded_words(text: str) -> str:
    """RFC 2047 words, wherever they stand, decoded; what cannot be stays."""
    if "=?" not in text:
        return text
    return _WORD.sub(_decoded_word, _BETWEEN_WORDS.sub("?==?", text))


def _decoded_word(match: re.Match[str]) -> str:
    try:
        if match[2].lower() == "b":
            octets = binascii.a2b_base64(match[3] + "===")
        else:
            octets = binascii.a2b_qp(match[3].replace("_", " "), header=True)
    except (binascii.Error, ValueError):
        return match[0]
    return _text(octets, match[1].split("*")[0])


def _percent(text: str, *, first: bool) -> str:
    charset = "utf-8"
    if first and text.count("'") >= 2:
        charset, _, text = text.split("'", 2)
    return _text(unquote_to_bytes(text.encode("utf-8", "surrogateescape")), charset)


def _text(octets: bytes, charset: str) -> str:
    try:
        return octets.decode(charset or "utf-8", "replace")
    except (LookupError, ValueError):
        return octets.decode("latin-1")


def _unquoted(raw: str) -> str:
    raw = raw.strip()
    if raw.startswith('"'):
        raw = raw[1:-1] if len(raw) > 1 and raw.endswith('"') else raw[1:]
        return re.sub(r"\\(.)", r"\1", raw)
    return raw


def _octets(text: str) -> bytes:
    return text.rstrip().encode("utf-8", "surrogateescape")
