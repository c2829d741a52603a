"""Mail that somebody brings along: a Maildir, an mbox file, or a folder of mbox files.

    Maildir     cur, new, and Maildir++ folders beside them (`.Sent`, `.Work.2020`)
    mbox        one file is one folder; `mbox` and `inbox` are the inbox

Dates and marks (read, answered, flagged ...) come along: a Maildir has them in its file names
and times, an mbox in its `From ` lines and in the fields Status and X-Status. Nothing of the
source is changed, and links in it are not followed.
"""

from __future__ import annotations

import email.utils
import mailbox
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from appliance.base.finding import Refused

INBOX = ""
_INBOX_NAMES = {"inbox", "mbox", "mail"}
# What programs call the folders that each mailbox has, in small letters.
_USES = {
    "Sent": {"sent", "sent items", "sent-mail", "sent messages", "gesendet", "gesendete objekte"},
    "Drafts": {"drafts", "draft", "entwürfe"},
    "Trash": {"trash", "deleted items", "deleted messages", "papierkorb", "gelöschte objekte"},
    "Junk": {"junk", "spam", "junk e-mail", "junk-e-mail", "bulk mail"},
    "Archive": {"archive", "archives", "archiv", "archiv(e)"},
}
_STATUS = re.compile(rb"^(?:x-)?status[ \t]*:[ \t]*([A-Za-z]+)", re.IGNORECASE | re.MULTILINE)
# mbox's letters for marks, as Maildir has them: read, answered, flagged, deleted, draft.
_MARKS = {"R": "S", "A": "R", "F": "F", "D": "T", "T": "D"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """One letter. `folder` is its Maildir++ name without the first dot; INBOX is empty.

    It can be read until the next one is asked for.
    """

    folder: str
    marks: str
    received_at: float  # seconds since 1970
    read: Callable[[], bytes]


def letters(source: Path, named: Callable[[str], str] = lambda use: use) -> Iterator[Letter]:
    """All letters of a source; `named` says what the folder for a use is called.

    Raises Refused when it is neither Maildir nor mbox, OSError when it cannot be read.
    """
    if (source / "cur").is_dir() or (source / "new").is_dir():
        return _of_maildir(source, named)
    files = [source] if source.is_file() else sorted(source.iterdir()) if source.is_dir() else []
    boxes = [path for path in files if _is_mbox(path)]
    if not boxes:
        raise Refused.because(
            "import.source",
            f"{source.name} is neither a Maildir nor an mbox file, nor a folder of mbox files.",
            "A Maildir has the folders cur and new; an mbox file begins with “From ”.",
        )
    return (letter for box in boxes for letter in _of_mbox(box, named))


def folder_of(name: str, named: Callable[[str], str]) -> str:
    """A Maildir++ name, its first level exchanged when it is one that each mailbox has."""
    first, dot, rest = name.partition(".")
    use = next((use for use, known in _USES.items() if _decoded(first).lower() in known), "")
    return (encoded(named(use)) if use else first) + dot + rest


def encoded(name: str) -> str:
    """As IMAP and Maildir++ write a name (RFC 3501 §5.1.3), a dot being a level."""
    out, rest = "", name.replace(".", "_").replace("/", "_").replace("&", "&-")
    for plain, other in re.findall(r"([\x20-\x7e]+)|([^\x20-\x7e]+)", rest):
        out += plain or f"&{_base64(other)}-"
    return out


def _base64(text: str) -> str:
    # Python's UTF-7 differs from IMAP's in the sign that begins it and in one letter of 64.
    return text.encode("utf-7").decode()[1:].removesuffix("-").replace("/", ",")


def _decoded(name: str) -> str:
    def plain(found: re.Match[str]) -> str:
        inner = found[1].replace(",", "/")
        return f"+{inner}-".encode().decode("utf-7", "replace") if inner else "&"

    return re.sub(r"&([^-]*)-", plain, name)


def _of_maildir(source: Path, named: Callable[[str], str]) -> Iterator[Letter]:
    yield from _of_folder(source, INBOX)
    for path in sorted(source.iterdir()):
        name = path.name[1:].strip(".")
        if not name or path.name[0] != "." or path.is_symlink() or not path.is_dir():
            continue
        yield from _of_folder(path, INBOX if name.lower() == "inbox" else folder_of(name, named))


def _of_folder(path: Path, folder: str) -> Iterator[Letter]:
    for part in ("cur", "new"):
        if not (path / part).is_dir():
            continue
        for file in sorted((path / part).iterdir()):
            if file.is_symlink() or not file.is_file() or file.name.startswith("."):
                continue
            _, comma, marks = file.name.rpartition(":2,")
            yield Letter(
                folder=folder,
                marks="".join(sorted(set(marks) & set("DFRST"))) if comma else "",
                received_at=file.stat().st_mtime,
                read=file.read_bytes,
            )


def _is_mbox(path: Path) -> bool:
    if path.is_symlink() or not path.is_file() or path.name.startswith("."):
        return False
    with path.open("rb") as file:
        return file.read(5) == b"From "


def _of_mbox(path: Path, named: Callable[[str], str]) -> Iterator[Letter]:
    name = path.name.removesuffix(".mbox")
    folder = INBOX if name.lower() in _INBOX_NAMES else folder_of(encoded(name), named)
    box = mailbox.mbox(path, create=False)
    try:
        for key in box.iterkeys():
            head = box.get_bytes(key, from_=True)
            yield Letter(
                folder=folder,
                marks=_marks(head),
                received_at=_time_of(head.partition(b"\n")[0]),
                read=lambda key=key: box.get_bytes(key),  # type: ignore[misc]
            )
    finally:
        box.close()


def _marks(letter: bytes) -> str:
    head = letter.partition(b"\n\n")[0]
    told = b"".join(_STATUS.findall(head)).decode().upper()
    return "".join(sorted({_MARKS[one] for one in told if one in _MARKS}))


def _time_of(line: bytes) -> float:
    """Of a line like `From anna@example.com Tue Nov 24 10:00:00 2026`; now, when it has none."""
    words = line.decode("ascii", "replace").split()
    for count in (5, 6):
        parsed = email.utils.parsedate(" ".join(words[-count:]))
        if parsed is not None:
            return datetime(*parsed[:6], tzinfo=UTC).timestamp()
    return datetime.now(UTC).timestamp()
