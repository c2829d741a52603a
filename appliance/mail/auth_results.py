"""The `Authentication-Results:` field (RFC 8601): what we found, told to the programs behind us.

Whatever goes into `field` (a stranger's HELO, a reason with a line break), exactly one field of
printable ASCII comes out. And since the field is believed by those who know our name in it,
what comes from outside under our name is taken away first (RFC 8601 §5).
"""

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache

from appliance.mail import domain as domains
from appliance.mail import trace

NAME = b"Authentication-Results"
Outcome = tuple[str, str, Mapping[str, str | bytes]]  # method, result, properties

MAX_VALUE_CHARACTERS = 255
# RFC 8601 §2.2: a value is a token, or an address, or a domain; the rest has to be quoted.
_BARE = re.compile(r"[A-Za-z0-9!#$%&'*+\-.^_`{|}~/@]+\Z")
_WORD = re.compile(r"[a-z0-9][a-z0-9-]*\Z")
_PROPERTY = re.compile(r"[a-z]+\.[A-Za-z0-9_-]+\Z")
_FIELD = re.compile(rb"authentication-results[ \t]*:(.*)", re.IGNORECASE | re.DOTALL)
_FILLING = re.compile(r'[\s"\\]+')


def field(authserv_id: str, results: Sequence[Outcome]) -> bytes:
    """The field with its final CRLF. A property `reason` is written as RFC 8601's reason."""
    return NAME + b": " + value(authserv_id, results) + b"\r\n"


def value(authserv_id: str, results: Sequence[Outcome]) -> bytes:
    """What stands behind the field's name; an ARC set has the same text behind its `i=`."""
    parts = [trace.clean(authserv_id) or "unknown"]
    parts += [
        _result(method, result, tuple(properties.items())) for method, result, properties in results
    ] or [" none"]
    return ";".join(parts).encode("ascii")


@lru_cache(1_000)  # most senders come again
def _result(method: str, result: str, given: tuple[tuple[str, str | bytes], ...]) -> str:
    properties = dict(given)
    words = [f"{_word(method)}={_word(result)}"]
    if reason := _text(properties.get("reason", "")):
        words.append(f"reason={_quoted(reason)}")
    words += [
        f"{name}={_pvalue(text)}"
        for name, raw in properties.items()
        if _PROPERTY.match(name) and (text := _text(raw))
    ]
    return "\r\n\t" + "\r\n\t ".join(_lines(words))


def _lines(words: Sequence[str]) -> list[str]:
    """Several words on a line while it is short."""
    lines = [words[0]]
    for word in words[1:]:
        if len(lines[-1]) + len(word) > 72:
            lines.append(word)
        else:
            lines[-1] += " " + word
    return lines


def _word(text: str) -> str:
    return text if _WORD.match(text) else "unknown"


def _text(raw: str | bytes) -> str:
    """Printable ASCII of bounded length, whatever came."""
    text = raw.decode("ascii", "replace") if isinstance(raw, bytes) else raw
    return "".join(c if " " <= c <= "~" else "?" for c in text[:MAX_VALUE_CHARACTERS]).strip()


def _pvalue(text: str) -> str:
    return text if _BARE.match(text) else _quoted(text)


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


# -- what comes from outside ----------------------------------------------------------


def without_forged(head: bytes, authserv_id: str) -> bytes:
    """The head without the fields that speak in our name; unchanged when there are none.

    A field that cannot be read for certain and has our name somewhere in it goes as well.
    """
    if NAME.lower() not in head.lower():
        return head
    ours = _key(authserv_id)
    return b"".join(raw for raw in _fields(head) if not _speaks_as(ours, raw))


def _fields(head: bytes) -> list[bytes]:
    """The head cut before each line that does not begin with white space; nothing is lost."""
    lines = head.split(b"\r\n")
    fields: list[list[bytes]] = [[lines[0]]]
    for line in lines[1:]:
        if line[:1] in (b" ", b"\t"):
            fields[-1].append(line)
        else:
            fields.append([line])
    texts = [b"\r\n".join(lines) for lines in fields]
    return [text + b"\r\n" for text in texts[:-1]] + texts[-1:]


def _speaks_as(ours: str, raw: bytes) -> bool:
    found = _FIELD.match(raw.replace(b"\r\n", b""))
    if not found:
        return False
    text = found[1].decode("utf-8", "replace")
    plain, certain = _front(text)
    words = plain.split()
    # RFC 8601 §2.2: authserv-id [ CFWS authres-version ]
    if certain and words and (len(words) == 1 or (len(words) == 2 and words[1].isdecimal())):
        return _key(words[0]) == ours
    return ours in _squeezed(text) or ours in _squeezed(plain)


def _front(text: str) -> tuple[str, bool]:
    """What stands before the first semicolon, without comments and quotes (RFC 5322 §3.2).

    And whether that was read for certain: nothing was left open.
    """
    out: list[str] = []
    depth, quoted, at = 0, False, 0
    while at < len(text):
        char = text[at]
        if char == "\\" and (quoted or depth):
            at += 1
            if quoted and not depth:
                out.append(text[at : at + 1])
        elif quoted:
            quoted = char != '"'
            out.append(char if quoted else "")
        elif char == "(":
            depth += 1
        elif char == ")" and depth:
            depth -= 1
            out.append(" ")
        elif char == '"' and not depth:
            quoted = True
        elif char == ";" and not depth:
            return "".join(out), True
        elif not depth:
            out.append(char)
        at += 1
    return "".join(out), not depth and not quoted


def _squeezed(text: str) -> str:
    return _FILLING.sub("", text).lower()


def _key(name: str) -> str:
    """A host name to compare: lower case, A-labels, without a final dot."""
    try:
        return domains.normalise(name)
    except ValueError:
        return name.lower().rstrip(".")
