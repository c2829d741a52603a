"""Who a message says it is from: exactly one mailbox, or trouble.

A mail client, a filter and DMARC must read the same address out of `From:`. Many a head can be
written so that they do not ("Composition Kills", USENIX Security 2020: several fields, several
addresses, odd white space, comments, routes, encoded words, NUL). So this reader is strict
about all that makes two readers differ, and lenient only where none can: an unquoted bracket or
comma in a display name is common and harmless.

`trouble` is empty, or says in a few words why the field is not believed.

`mailboxes` reads a field that may name several, with the same strictness, for what our own people
send.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from email.errors import HeaderParseError
from email.header import decode_header
from functools import lru_cache

from appliance.mail import address
from appliance.mail.address import Address, AddressError

MAX_FROM_OCTETS = 4096

_CONTROL = re.compile("[\x00-\x08\x0a-\x1f\x7f]")
_ENCODED = re.compile(r"=\?[^?\s]*\?[bBqQ]\?[^?]*\?=")
_NAME = re.compile(rb"[!-9;-~]+[ \t]*\Z")
_LETTERS = re.compile(rb"[^a-z0-9-]")
# A head as nearly all are: names of letters, digits and hyphens, nothing bare, no NUL.
_ORDINARY_HEAD = re.compile(
    rb"(?:[A-Za-z0-9-]++:[^\r\n\0]*+\r\n(?:[ \t]++[^ \t\r\n\0][^\r\n\0]*+\r\n)*+)++\Z"
)
_FROM_LINE = re.compile(rb"^from:([^\r\n]*)\r\n([ \t]?)", re.IGNORECASE | re.MULTILINE)


@dataclass(frozen=True, slots=True)
class FromField:
    """The mailboxes read from the From field: exactly one when there is no trouble."""

    addresses: tuple[Address, ...]
    trouble: str = ""

    @property
    def domains(self) -> tuple[str, ...]:
        """The domains to ask DMARC about, each once, in the form to compare."""
        return tuple(dict.fromkeys(found.domain_key for found in self.addresses))


@dataclass(frozen=True, slots=True)
class Mailboxes:
    """All mailboxes of a field, and what is shown beside them: names, quoted or encoded, and
    comments. Empty when there is no such field."""

    addresses: tuple[Address, ...] = ()
    shown: tuple[str, ...] = ()
    trouble: str = ""


class _Trouble(Exception):
    """Why the field is not believed."""


class _NoField(_Trouble):
    """There is none."""


_Piece = tuple[str, str]  # kind and text, see `_parts`


def from_domains(head: bytes) -> FromField:
    """Read the From field of a head. Never raises; linear in the size of the head."""
    try:
        found = _at_a_glance(head)
        return FromField((_mailbox(_only_field(head) if found is None else found),))
    except _Trouble as trouble:
        return FromField((), str(trouble))


def mailboxes(head: bytes, field: str = "From") -> Mailboxes:
    """Read all mailboxes of From or Sender (RFC 5322 §3.6.2). Never raises."""
    try:
        boxes = _separated(_parts(_only_field(head, field)))
        found = tuple(_of_parts(parts) for parts in boxes)
        if not found:
            raise _Trouble("the From field is empty")
        shown = tuple(text for parts in boxes for text in _shown(parts))
        return Mailboxes(found, shown)
    except _NoField:
        return Mailboxes()
    except _Trouble as trouble:
        return Mailboxes(trouble=str(trouble).replace("From", field))


def _separated(parts: list[_Piece]) -> list[list[_Piece]]:
    """The pieces of each mailbox of a list; a comma before any address belongs to a name."""
    boxes: list[list[_Piece]] = [[]]
    complete = False  # the last box has its address
    for kind, inner in parts:
        first, *rest = inner.split(",") if kind == "word" else [inner]
        boxes[-1].append((kind, first))
        complete = complete or _has_address(kind, first)
        for text in rest:
            if complete:
                boxes.append([("word", text)])
                complete = False
            else:
                boxes[-1].append(("word", f",{text}"))
            complete = complete or _has_address("word", text)
    return [box for box in boxes if any(inner.strip(" \t,") for _, inner in box)]


def _has_address(kind: str, inner: str) -> bool:
    return kind == "<" or (kind == "word" and "@" in inner)


def _shown(parts: list[_Piece]) -> Iterator[str]:
    for kind, inner in parts:
        if kind in ("word", "quoted", "(") and (kind != "word" or _is_name(parts)):
            yield re.sub(r"\\(.)", r"\1", inner)
            yield from (_decoded(encoded) for encoded in _ENCODED.findall(inner))


def _is_name(parts: list[_Piece]) -> bool:
    """Whether the words are a name, for the address has brackets."""
    return any(kind == "<" for kind, _ in parts)


def _at_a_glance(head: bytes) -> str | None:
    """What `_only_field` would say of an ordinary head with one From field in one line; None for
    all others."""
    if not _ORDINARY_HEAD.match(head):
        return None
    found = _FROM_LINE.findall(head)
    if len(found) != 1 or found[0][1] or len(found[0][0]) > MAX_FROM_OCTETS:
        return None
    try:
        text: str = found[0][0].decode("ascii")
    except UnicodeDecodeError:
        return None
    return None if _CONTROL.search(text) else text.strip(" \t")


def _only_field(head: bytes, field: str = "From") -> str:
    """The value of the one From field (or another), unfolded."""
    name_sought = field.lower().encode()
    if b"\0" in head:
        raise _Trouble("the head has a NUL")
    pairs = head.count(b"\r\n")
    if head.count(b"\r") != pairs or head.count(b"\n") != pairs:
        raise _Trouble("the head has a bare CR or LF")
    fields = list(_from_fields(head, name_sought))
    if not fields:
        raise _NoField("there is no From field")
    if len(fields) > 1:
        raise _Trouble("there are several From fields")
    name, _, raw = fields[0].partition(b":")
    if name.lower() != name_sought:
        # RFC 5322 §4.5 lets white space stand there; some readers take it, some do not.
        raise _Trouble("the name of the From field is written oddly")
    lines = raw.split(b"\r\n")
    if any(not line.strip(b" \t") for line in lines[1:]):
        raise _Trouble("the From field has an empty line")
    if len(raw) > MAX_FROM_OCTETS:
        raise _Trouble("the From field is too long")
    try:
        text = raw.replace(b"\r\n", b"").decode("utf-8")
    except UnicodeDecodeError:
        text = raw.replace(b"\r\n", b"").decode("latin-1")
    if _CONTROL.search(text):
        raise _Trouble("the From field has a control character")
    return text.strip(" \t")


def _from_fields(head: bytes, name_sought: bytes) -> Iterator[bytes]:
    """Whatever a reader might take for a From field, folded lines joined.

    Raises when a line before it is no field at all: to some readers the head ends there.
    """
    if head[:1] in (b" ", b"\t"):
        raise _Trouble("the head begins with white space")
    groups: list[list[bytes]] = []
    for line in head.removesuffix(b"\r\n").split(b"\r\n"):
        if line[:1] in (b" ", b"\t"):
            groups[-1].append(line)
        else:
            groups.append([line])
    odd = False
    for lines in groups:
        raw = b"\r\n".join(lines)
        name, colon, _ = raw.partition(b":")
        is_from = _LETTERS.sub(b"", name.lower()) == name_sought
        if is_from and odd:
            raise _Trouble("a line before the From field is no header field")
        if is_from and colon:
            yield raw
        elif not colon or not _NAME.match(name):
            if lines[0][: len(name_sought)].lower() == name_sought:
                raise _Trouble("a line looks like a From field and is none")
            odd = True


@lru_cache(1_000)  # the same people write again and again
def _mailbox(text: str) -> Address:
    """The one mailbox of an unfolded value (RFC 5322 §3.4)."""
    if not text:
        raise _Trouble("the From field is empty")
    return _of_parts(_parts(text))


def _of_parts(parts: list[_Piece]) -> Address:
    angles = [inner for kind, inner in parts if kind == "<"]
    words = "".join(inner for kind, inner in parts if kind == "word")
    if len(angles) > 1:
        raise _Trouble("the From field names several mailboxes")
    if not angles:
        return _bare(parts, words)
    if any(kind in ("word", "quoted") and inner.strip() for kind, inner in _after_angle(parts)):
        raise _Trouble("there is text behind the address")
    found = _address(angles[0].strip(" \t"))
    _check_words(words, found)
    return found


def _after_angle(parts: list[_Piece]) -> list[_Piece]:
    kinds = [kind for kind, _ in parts]
    return parts[kinds.index("<") + 1 :]


def _bare(parts: list[_Piece], words: str) -> Address:
    """`anna@example.com (Anna)`: an address without brackets."""
    if any(kind == "quoted" for kind, _ in parts):
        # A quoted local part needs no brackets, but then nobody agrees where it ends.
        words = "".join(
            f'"{inner}"' if kind == "quoted" else inner for kind, inner in parts if kind != "("
        )
    if "," in words:
        raise _Trouble("the From field names several mailboxes")
    if "=?" in words:
        raise _Trouble("the address is encoded")
    if _split_by_comment(parts):
        raise _Trouble("a comment stands within the address")
    return _address(words.strip(" \t"))


def _split_by_comment(parts: list[_Piece]) -> bool:
    """Whether there is a comment with address text on both its sides."""
    solid = [kind != "(" for kind, inner in parts if kind == "(" or inner.strip()]
    return "".join("x" if s else " " for s in solid).strip().count(" ") > 0


def _address(text: str) -> Address:
    if "@" not in text:
        raise _Trouble("the address has no domain")
    if text.startswith("@") or (":" in text and "[" not in text):
        raise _Trouble("the address has a route")
    if "=?" in text:
        raise _Trouble("the address is encoded")
    try:
        return address.parse(text)
    except AddressError as error:
        raise _Trouble(f"the address cannot be read: {error}") from error


def _check_words(words: str, found: Address) -> None:
    """The unquoted display name: nothing in it may look like another address."""
    shown = words
    for encoded in _ENCODED.findall(words):
        shown += " " + _decoded(encoded)
    if _CONTROL.search(shown):
        raise _Trouble("the display name hides a control character")
    if "<" in shown or ">" in shown:
        raise _Trouble("the display name hides an address in brackets")
    if ":" in words or ";" in words:
        raise _Trouble("the From field names a group")
    if "," in words and "@" in shown:
        raise _Trouble("the From field names several mailboxes")
    for word in re.split(r"[\s,\"'()\[\]]+", shown):
        # `anna@example.com <anna@example.com>` is common and says nothing new.
        if "@" in word and not word.strip(".").lower().endswith(f"@{found.domain.lower()}"):
            raise _Trouble("the display name holds another address")


def _decoded(encoded: str) -> str:
    try:
        return "".join(
            part.decode(charset or "ascii", "replace") if isinstance(part, bytes) else part
            for part, charset in decode_header(encoded)
        )
    except (HeaderParseError, LookupError, ValueError):
        return ""  # shown as it stands


def _parts(text: str) -> list[_Piece]:
    """Cut into words, quoted strings, comments and what stands in angle brackets."""
    parts: list[_Piece] = []
    at = start = 0
    while at < len(text):
        char = text[at]
        if char in '"(<':
            parts.append(("word", text[start:at]))
            end = _END[char](text, at)
            parts.append(("quoted" if char == '"' else char, text[at + 1 : end]))
            at = start = end + 1
            continue
        if char in ">)\\":
            raise _Trouble(f"there is a stray {char} in the From field")
        at += 1
    parts.append(("word", text[start:]))
    return parts


def _end_of_quoted(text: str, at: int) -> int:
    at += 1
    while at < len(text) and text[at] != '"':
        at += 2 if text[at] == "\\" else 1
    if at >= len(text):
        raise _Trouble("a quotation is left open in the From field")
    return at


def _end_of_comment(text: str, at: int) -> int:
    depth = 0
    while at < len(text):
        if text[at] == "\\":
            at += 1
        elif text[at] == "(":
            depth += 1
        elif text[at] == ")":
            depth -= 1
            if not depth:
                return at
        at += 1
    raise _Trouble("a comment is left open in the From field")


def _end_of_angle(text: str, at: int) -> int:
    """The closing bracket; a quoted local part may hold another one."""
    at += 1
    while at < len(text) and text[at] != ">":
        if text[at] == "<":
            raise _Trouble("the From field has a bracket within brackets")
        at = _end_of_quoted(text, at) + 1 if text[at] == '"' else at + 1
    if at >= len(text):
        raise _Trouble("a bracket is left open in the From field")
    return at


_END = {'"': _end_of_quoted, "(": _end_of_comment, "<": _end_of_angle}
