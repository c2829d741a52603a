"""`mailboxes.import`: mail that somebody brings along comes into an account's mailbox.

Whoever administers the box puts a Maildir or mbox files into MAIL/import; the verb names one of
the things there. Letters are brought in by the hundred: copied to a staging Maildir, imported by
Dovecot itself, and then noted by their hash in the mailbox's home. So the work may be done twice,
or go on after a stop: what was brought in once does not come again, also when it was moved or
deleted since. Cut off in the middle of one lot, that lot alone may come twice.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from appliance.accounts.homes import HOMES, IMPORT
from appliance.accounts.mail_sources import Letter, letters
from appliance.base.finding import PennypostError, Refused
from appliance.render.apply import Progress

LOT_LETTERS, LOT_BYTES = 200, 32 * 1024 * 1024
_STAGING, _NOTED = ".staging", ".imported"


class MailImport:
    """For the mailboxes under `mail`. `bring_in` has Dovecot import a Maildir for a login."""

    def __init__(
        self, mail: Path, bring_in: Callable[[str, Path], None], owner: str | int | None = None
    ) -> None:
        self._mail = mail
        self._bring_in = bring_in
        self._owner = owner
        self._busy = threading.Lock()

    def run(
        self, progress: Progress, *, login: str, name: str, named: Callable[[str], str]
    ) -> dict[str, int]:
        """Bring in what is called `name`; how many letters came in, and how many were there."""
        if not self._busy.acquire(blocking=False):
            raise Refused.because("import.busy", "Mail is being imported already.", "Wait for it.")
        try:
            return self._run(progress, login, self._source(name), named)
        except OSError as error:
            raise Refused.because(
                "import.disk",
                f"The import stopped: {error.strerror or error}.",
                "What has come in so far stays. Start it again when the trouble is mended.",
            ) from error
        finally:
            self._busy.release()

    def _source(self, name: str) -> Path:
        path = self._mail / IMPORT / name
        if name in ("", ".", "..") or "/" in name or name == _STAGING or path.is_symlink():
            raise Refused.because("import.name", "That is not a name of a file or folder.")
        if not path.exists():
            raise Refused.because(
                "import.name", f"There is no {name} in {path.parent}.", "Copy it there first."
            )
        return path

    def _run(
        self, progress: Progress, login: str, source: Path, named: Callable[[str], str]
    ) -> dict[str, int]:
        noted = Noted(self._mail / HOMES, login, self._owner)
        came = known = 0
        began = time.monotonic()
        for lot in _lots(letters(source, named), noted.known):
            fresh = [one for one in lot if one is not None]
            known += len(lot) - len(fresh)
            if fresh:
                self._bring(login, [(letter, text) for letter, text, _ in fresh])
                noted.add([digest for _, _, digest in fresh])
            came += len(fresh)
            seconds = round(time.monotonic() - began, 1)
            progress({"step": f"{came} letters", "state": "done", "seconds": seconds})
        return {"imported": came, "known": known}

    def _bring(self, login: str, lot: list[tuple[Letter, bytes]]) -> None:
        staging = self._mail / IMPORT / _STAGING
        shutil.rmtree(staging, ignore_errors=True)
        try:
            self._make(staging)
            for number, (letter, text) in enumerate(lot):
                folder = staging / f".{letter.folder}" if letter.folder else staging
                self._make(folder)
                path = folder / "cur" / f"{number}.import:2,{letter.marks}"
                path.write_bytes(text)
                os.utime(path, (letter.received_at, letter.received_at))
                self._give(path)
            self._bring_in(login, staging)
        finally:
            shutil.rmtree(staging, ignore_errors=True)

    def _make(self, folder: Path) -> None:
        for path in (folder, *(folder / part for part in ("cur", "new", "tmp"))):
            if not path.is_dir():
                path.mkdir(mode=0o700)
                self._give(path)

    def _give(self, path: Path) -> None:
        if self._owner:
            shutil.chown(path, self._owner, self._owner)


class Noted:
    """The hashes of what was brought into a mailbox, a line each, in a file of its home.

    The home belongs to the mailboxes' user, so links in it are not followed.
    """

    def __init__(self, homes: Path, login: str, owner: str | int | None) -> None:
        home = homes / login
        if not home.is_dir():
            home.mkdir(mode=0o700)
            if owner:
                shutil.chown(home, owner, owner)
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW
        folder = os.open(home, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            self._file = os.fdopen(os.open(_NOTED, flags, 0o600, dir_fd=folder), "a+b")
        finally:
            os.close(folder)
        self._file.seek(0)
        self._known = set(self._file.read().split())

    def known(self, digest: str) -> bool:
        """Whether it came in before."""
        return digest.encode() in self._known

    def add(self, digests: list[str]) -> None:
        """They are in: durable when this returns."""
        self._known.update(digest.encode() for digest in digests)
        self._file.write("".join(f"{digest}\n" for digest in digests).encode())
        self._file.flush()
        os.fsync(self._file.fileno())


Fresh = tuple[Letter, bytes, str]


def _lots(found: Iterator[Letter], known: Callable[[str], bool]) -> Iterator[list[Fresh | None]]:
    """Letters with text and hash, a lot at a time; None for each that is known."""
    lot: list[Fresh | None] = []
    size, in_lot = 0, set[str]()
    for letter in found:
        text = letter.read()
        digest = _digest(letter.folder, text)
        is_new = not known(digest) and digest not in in_lot
        lot.append((letter, text, digest) if is_new else None)
        in_lot.add(digest)
        size += len(text) * is_new
        if len(lot) >= LOT_LETTERS or size >= LOT_BYTES:
            yield lot
            lot, size, in_lot = [], 0, set()
    if lot:
        yield lot


def _digest(folder: str, text: bytes) -> str:
    """The same letter in two folders is two; line ends make no difference."""
    whole = hashlib.sha256(folder.encode() + b"\0")
    whole.update(text.replace(b"\r\n", b"\n"))
    return whole.hexdigest()


def by_doveadm(ask: Callable[[tuple[str, ...]], Any]) -> Callable[[str, Path], None]:
    """Has Dovecot import a Maildir; `ask` runs doveadm with these words."""

    def bring_in(login: str, staging: Path) -> None:
        try:
            ask(("import", "-s", "-u", login, f"maildir:{staging}", "", "all"))
        except PennypostError as error:
            full = "Quota exceeded" in error.finding.say
            raise Refused.because(
                "import.dovecot",
                "The mailbox is full." if full else f"Dovecot stopped: {error.finding.say}",
                "Give the account a larger mailbox, and start the import again."
                if full
                else "Start it again; what has come in does not come twice.",
            ) from error

    return bring_in
