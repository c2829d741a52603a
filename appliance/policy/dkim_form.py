"""What DKIM and ARC signatures are made of (RFC 6376 §3.2 to §3.7): tag lists, the choice
of header fields, and the canonical forms that both sides hash.

Bodies come in blocks, so that a large one is never held whole. All of it is linear in the
size of the input, whatever the input: no expression here can be made to look back.

    FormError    a tag list or a field that breaks the grammar; the text is fit for a log
"""

import base64
import binascii
import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

Blocks = Callable[[], Iterable[bytes]]  # a body; each call begins it anew

SIMPLE, RELAXED = "simple", "relaxed"
MAX_TAGS = 100

_TAG_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*\Z")
_TAG_VALUE = re.compile(r"[!-:<-~ \t\r\n\u0080-\U0010ffff]*\Z")
_RUN = re.compile(rb"\t[ \t]*| [ \t]+")  # white space that is not a single space already
_FIELD_NAME = re.compile(rb"([!-9;-~]+)[ \t]*\Z")
_SPACES = re.compile(r"[ \t\r\n]+")


class FormError(ValueError):
    """A signature or a key record that cannot be read."""


@dataclass(frozen=True, slots=True)
class HeaderField:
    """One header field: its name in lower case, and all its bytes with the final CRLF."""

    name: str
    raw: bytes

    @property
    def value(self) -> bytes:
        """What stands behind the colon, without the final CRLF."""
        return self.raw.partition(b":")[2].removesuffix(b"\r\n")


def fields_of(head: bytes) -> list[HeaderField]:
    """The fields of a head in their order; lines that are no field are left out."""
    groups: list[list[bytes]] = []
    for line in head.removesuffix(b"\r\n").split(b"\r\n"):
        if line[:1] in (b" ", b"\t") and groups:
            groups[-1].append(line)
        else:
            groups.append([line])
    return [field for lines in groups if (field := _field(b"\r\n".join(lines)))]


def _field(raw: bytes) -> HeaderField | None:
    front, colon, _ = raw.partition(b":")
    name = _FIELD_NAME.match(front)
    if not colon or not name:
        return None
    return HeaderField(name[1].decode("ascii").lower(), raw + b"\r\n")


def tags_of(text: str) -> dict[str, str]:
    """Read `a=b; c=d` (RFC 6376 §3.2); values keep the white space in their middle.

    Raises FormError, also for a tag that stands twice: two readers would differ.
    """
    parts = text.split(";")
    if not parts[-1].strip(" \t\r\n"):
        parts.pop()
    if len(parts) > MAX_TAGS:
        raise FormError("too many tags")
    tags: dict[str, str] = {}
    for part in parts:
        name, equals, value = part.partition("=")
        name, value = name.strip(" \t\r\n"), value.strip(" \t\r\n")
        if not equals or not _TAG_NAME.match(name) or not _TAG_VALUE.match(value):
            raise FormError("malformed tag list")
        if name in tags:
            raise FormError(f"the tag {name}= stands twice")
        tags[name] = value
    return tags


def without_spaces(value: str) -> str:
    """A value without folding white space, for lists, numbers and base64."""
    return _SPACES.sub("", value)


def unbase64(value: str) -> bytes:
    """Base64 (RFC 6376 §2.10): white space and the padding may be missing. Raises FormError."""
    text = without_spaces(value)
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise FormError("malformed base64") from error


def number(value: str, *, digits: int = 12) -> int:
    """An unsigned decimal number of at most so many digits. Raises FormError."""
    text = without_spaces(value)
    if not (text.isascii() and text.isdecimal() and len(text) <= digits):
        raise FormError("malformed number")
    return int(text)


def choose(fields: Sequence[HeaderField], names: Sequence[str]) -> list[HeaderField]:
    """The fields that a list of names means: of equal names the last first (RFC 6376 §5.4.2).

    A name for which no field is left stands for "there is none": nothing is hashed.
    """
    left: dict[str, list[HeaderField]] = {}
    for field in fields:
        left.setdefault(field.name, []).append(field)
    return [left[name].pop() for name in names if left.get(name)]


def names_to_sign(
    fields: Sequence[HeaderField], always: Sequence[str], if_there: Sequence[str]
) -> list[str]:
    """The h= list. Each name of `always` stands once more than the message has such fields,

    so that nobody can add another one without breaking the signature (RFC 6376 §5.4).
    """
    there = Counter(field.name for field in fields)
    names = [name for name in always for _ in range(there[name] + 1)]
    return names + [name for name in if_there for _ in range(there[name])]


def canonical_field(field: HeaderField, form: str) -> bytes:
    """One field as it is hashed (RFC 6376 §3.4.1, §3.4.2), with its final CRLF."""
    if form == SIMPLE:
        return field.raw
    value = _RUN.sub(b" ", field.value.replace(b"\r\n", b""))
    return field.name.encode("ascii") + b":" + value.strip(b" \t") + b"\r\n"


def without_signature(field: HeaderField) -> HeaderField:
    """The field with an empty b=, as its signer saw it (RFC 6376 §3.5, "b=")."""
    front, _, value = field.raw.removesuffix(b"\r\n").partition(b":")
    parts = value.split(b";")
    for index, part in enumerate(parts):
        name, equals, _ = part.partition(b"=")
        if equals and name.strip(b" \t\r\n") == b"b":
            parts[index] = name + b"="
    return HeaderField(field.name, front + b":" + b";".join(parts) + b"\r\n")


def hash_input(fields: Iterable[HeaderField], signature: HeaderField, form: str) -> bytes:
    """What the signature is over (RFC 6376 §3.7); `signature` comes last, without its CRLF."""
    last = canonical_field(without_signature(signature), form).removesuffix(b"\r\n")
    return b"".join(canonical_field(field, form) for field in fields) + last


class BodyHash:
    """The SHA-256 of a body in canonical form (RFC 6376 §3.4.3, §3.4.4), block by block.

    `limit` is l=: so many octets of the canonical form are hashed; `length` counts all.
    """

    def __init__(self, form: str, limit: int | None = None) -> None:
        self.form, self.limit = form, limit
        self.length = 0
        self._hash = hashlib.sha256()
        self._blank: list[bytes] = []  # white space and line ends that may be the last ones

    def update(self, block: bytes) -> None:
        kept = block.rstrip(b"\r\n" if self.form == SIMPLE else b" \t\r\n")
        if not kept:
            self._blank.append(block)
            return
        text = b"".join((*self._blank, kept))
        self._blank = [block[len(kept) :]]
        self._feed(text if self.form == SIMPLE else _relaxed(text))

    def digest(self) -> bytes:
        """The hash; nothing may be added afterwards."""
        if self.form == SIMPLE or self.length:
            self._feed(b"\r\n")
        return self._hash.digest()

    def _feed(self, text: bytes) -> None:
        room = len(text) if self.limit is None else max(0, self.limit - self.length)
        self.length += len(text)
        self._hash.update(text if room >= len(text) else text[:room])


def _relaxed(text: bytes) -> bytes:
    """Runs of white space as one space, none at a line's end. Ends within a line, not blank."""
    if b"\t" in text or b"  " in text:
        text = _RUN.sub(b" ", text)
    return text.replace(b" \r\n", b"\r\n")


def hash_body(
    body: Blocks, wanted: Iterable[tuple[str, int | None]]
) -> dict[tuple[str, int | None], tuple[bytes, int]]:
    """Digest and canonical length for each (form, limit), reading the body once."""
    hashes = {key: BodyHash(*key) for key in wanted}
    if hashes:
        for block in body():
            for one in hashes.values():
                one.update(block)
    return {key: (one.digest(), one.length) for key, one in hashes.items()}
