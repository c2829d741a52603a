"""The mailboxes' folders on the mailbox disk: what becomes of those of former accounts.

    MAIL/homes/LOGIN     a mailbox (Dovecot's, owned by one system user)
    MAIL/import/NAME     mail that somebody brings along, put there by hand
    MAIL/removed/N       what was that of a former account; N is the number of its removal

Whoever owns the mailboxes may have put any file or link in there, so links are never followed:
entries are renamed and removed by their name in an opened folder. Each step may be done twice.
"""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from appliance.accounts.removals import Fate, Removal, Removals
from appliance.base.files import fsync_directory

HOMES, REMOVED, IMPORT = "homes", "removed", "import"
MAILDIR = "Maildir"
INBOX_PARTS = ("cur", "new", "tmp")


class Homes:
    """The folders under `mail`, the mailbox disk's mount point; it has to be mounted."""

    def __init__(self, mail: Path, owner: str | None = None) -> None:
        """`owner` is the system user of the mailboxes; None in a checkout."""
        self._mail = mail
        self._owner = owner

    def prepare(self) -> None:
        """Make the folders that Dovecot may not make itself."""
        for name in (HOMES, REMOVED):
            path = self._mail / name
            if not path.is_dir():
                path.mkdir(mode=0o700)
                if self._owner:
                    shutil.chown(path, self._owner, self._owner)
                fsync_directory(self._mail)
        if not (self._mail / IMPORT).is_dir():  # Dovecot reads in it, but does not look around
            (self._mail / IMPORT).mkdir(mode=0o711)
            fsync_directory(self._mail)

    def carry_out(self, removals: Removals, now: datetime) -> None:
        """Do what is due of all wishes."""
        for removal in removals.all():
            aside = self._mail / REMOVED / str(removal.id)
            if not removal.aside:
                self._put_aside(removal.login, aside)
                removals.put_aside(removal)
            if removal.fate is Fate.HAND_OVER:
                self._hand_over(aside, removal)
                removals.done(removal)
            elif removal.fate is Fate.ERASE or removal.erase_at <= now:
                shutil.rmtree(aside, ignore_errors=True)
                removals.done(removal)

    def _put_aside(self, login: str, aside: Path) -> None:
        home = self._mail / HOMES / login
        with suppress(FileNotFoundError):  # done already, or no mail ever came
            home.rename(aside)
            fsync_directory(aside.parent)
            fsync_directory(home.parent)

    def _hand_over(self, aside: Path, removal: Removal) -> None:
        """The folders of the one become folders of the other, below one with the old name.

        Maildir++: a folder a/b of the mailbox is the directory `.a.b` beside its INBOX.
        """
        heir = self._mail / HOMES / removal.heir
        target = heir / MAILDIR
        self._make_for_owner(heir)
        self._make_for_owner(target)
        # A dot parts the levels, and stands in many names of accounts.
        root = f".{removal.login.replace('.', '_')}"
        with suppress(FileNotFoundError, NotADirectoryError):
            source = os.open(aside / MAILDIR, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                self._move_folders(source, target, root)
            finally:
                os.close(source)
        shutil.rmtree(aside, ignore_errors=True)

    def _move_folders(self, source: int, target: Path, root: str) -> None:
        into = os.open(target, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            names = [entry.name for entry in os.scandir(source) if _is_folder(entry)]
            for name in names:
                if name.startswith(".") and name != root:
                    _rename(source, name, into, _free_name(into, root + name))
            self._make_for_owner(target / root)
            inbox = os.open(target / root, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                for part in INBOX_PARTS:
                    if part in names:
                        _rename(source, part, inbox, part)
            finally:
                os.close(inbox)
            os.fsync(into)
        finally:
            os.close(into)

    def _make_for_owner(self, path: Path) -> None:
        if path.is_dir():
            return
        path.mkdir(mode=0o700)
        if self._owner:
            shutil.chown(path, self._owner, self._owner)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    return entry.is_dir(follow_symlinks=False)


def _free_name(folder: int, name: str) -> str:
    """`name`, or with a number behind where that is taken."""
    taken = set(os.listdir(folder))
    tries = (name if not number else f"{name}-{number}" for number in range(len(taken) + 2))
    return next(free for free in tries if free not in taken)


def _rename(source: int, name: str, into: int, new: str) -> None:
    with suppress(FileNotFoundError):
        os.rename(name, new, src_dir_fd=source, dst_dir_fd=into)
