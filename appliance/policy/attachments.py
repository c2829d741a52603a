"""Station 7: forbidden attachments, by the names that parts and archives give (F1)."""

import asyncio
import binascii
from collections.abc import Iterable, Iterator

from appliance.mail import mime_names
from appliance.mail import reply as replies
from appliance.policy import archives
from appliance.policy.archives import Octets
from appliance.policy.mime_shape import INLINE_BYTES
from appliance.policy.rules import Rules
from appliance.policy.tools import Tools
from appliance.policy.verdict import (
    Attachments,
    Disposition,
    Facts,
    Part,
    Shape,
    Verdict,
    note,
    reject,
)

_STEP = 1024 * 1024
_FIRST_OCTETS = 512
_NOT_BASE64 = bytes(
    set(range(256)) - set(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")
)
_WORTH_A_NAME = 200


def is_wanted(rules: Rules) -> bool:
    """Whether anything is forbidden."""
    content = rules.settings.content
    return bool(content.forbidden_attachments) or content.closed_archives != "accept"


async def look(facts: Facts, rules: Rules, tools: Tools) -> None:
    """Fill in `facts.attachments`."""
    shape, message = facts.shape, facts.message
    if message is None or shape is None or not _has_files(shape):
        return
    forbidden = frozenset(rules.settings.content.forbidden_attachments)
    if facts.size <= INLINE_BYTES and not _may_have_archive(shape):
        facts.attachments = inspect(b"", shape, forbidden)
        return
    async with tools.heavy:
        facts.attachments = await asyncio.to_thread(
            lambda: inspect(message.read(), shape, forbidden)
        )


def judge(facts: Facts, rules: Rules) -> Verdict | None:
    """Refuse or keep back, as the settings say."""
    found, content = facts.attachments, rules.settings.content
    if found is None:
        return None
    if found.forbidden:
        why = ", ".join(found.forbidden[:10])
        if content.attachment_action == "refuse":
            return reject("attachment", replies.FORBIDDEN_ATTACHMENT, why)
        facts.worsen(Disposition.QUARANTINE)
        return note("attachment", f"kept back: {why}")
    if not found.closed:
        return None
    why = ", ".join(found.closed[:10])
    if content.closed_archives == "refuse":
        return reject("archive", replies.CLOSED_ARCHIVE, why)
    if content.closed_archives == "quarantine":
        facts.worsen(Disposition.QUARANTINE)
        return note("archive", f"kept back, not looked into: {why}")
    return note("archive", f"not looked into: {why}")


def inspect(content: bytes, shape: Shape, forbidden: frozenset[str]) -> Attachments:
    """Look at every part's names, and at the names in its archive. Runs in a thread."""
    bad: dict[str, None] = {}
    closed: dict[str, None] = {}
    for part in shape.parts:
        bad.update(dict.fromkeys(_forbidden(part.names, forbidden)))
        start = decoded(content[part.start : min(part.end, part.start + 1024)], part.encoding)
        if not archives.is_archive(start[:_FIRST_OCTETS]):
            continue
        name = part.names[0] if part.names else ""
        data = decoded(memoryview(content)[part.start : part.end], part.encoding)
        inside = archives.names(data, name=name)
        bad.update(dict.fromkeys(_forbidden(inside.names, forbidden)))
        if inside.closed:
            closed[f"{_shown(name) or 'archive'} ({inside.closed})"] = None
    return Attachments(tuple(bad), tuple(closed))


def decoded(raw: Octets | memoryview, encoding: str) -> Octets:
    """A part's octets, decoded in steps of a size that keeps no one waiting."""
    decode = {"base64": _base64, "quoted-printable": _quoted_printable}.get(encoding, _as_it_is)
    out = bytearray()
    for piece in decode(raw):
        out += piece
    return out


def _as_it_is(raw: Octets | memoryview) -> Iterator[Octets | memoryview]:
    for at in range(0, len(raw), _STEP):
        yield raw[at : at + _STEP]


def _base64(raw: Octets | memoryview) -> Iterator[bytes]:
    held = b""
    for piece in _as_it_is(raw):
        held += bytes(piece).translate(None, _NOT_BASE64)
        whole = len(held) - len(held) % 4
        yield binascii.a2b_base64(held[:whole])
        held = held[whole:]
    if len(held) > 1:
        yield binascii.a2b_base64(held + b"=="[: 4 - len(held)])


def _quoted_printable(raw: Octets | memoryview) -> Iterator[bytes]:
    """Cut behind a line's end; a line that is longer than a step is cut before a = at most."""
    held = b""
    for piece in _as_it_is(raw):
        held += bytes(piece)
        whole = held.rfind(b"\n") + 1
        if not whole and len(held) > _STEP:
            sign = held.rfind(b"=", len(held) - 2)
            whole = len(held) if sign < 0 else sign
        yield binascii.a2b_qp(held[:whole])
        held = held[whole:]
    yield binascii.a2b_qp(held)


def _forbidden(names: Iterable[str], forbidden: frozenset[str]) -> list[str]:
    return [_shown(name) for name in names if mime_names.extension(name) in forbidden]


def _shown(name: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in name)[:_WORTH_A_NAME]


def _has_files(shape: Shape) -> bool:
    return any(part.names for part in shape.parts) or _may_have_archive(shape)


def _may_have_archive(shape: Shape) -> bool:
    return any(_may_be_archive(part) for part in shape.parts)


def _may_be_archive(part: Part) -> bool:
    """Octets that are not text. What names a file is one even when it claims to be text."""
    is_binary = part.encoding in ("base64", "binary", "quoted-printable")
    return part.end > part.start and (is_binary or bool(part.names))
