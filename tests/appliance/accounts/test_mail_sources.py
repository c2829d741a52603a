"""Maildir and mbox as somebody brings them along."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import pytest

from appliance.accounts.mail_sources import Letter, encoded, folder_of, letters
from appliance.base.finding import Refused

LETTER = b"Subject: one\n\nhello\n"
MBOX = (
    b"From anna@example.com Tue Nov 24 10:00:00 2026\nSubject: one\nStatus: RO\n"
    b"X-Status: AF\n\nhello\n>From here on\n\n"
    b"From - Tue Nov 24 11:00:00 2026\nSubject: two\n\nStatus: R\n\n"
)


def german(use: str) -> str:
    return {"Drafts": "Entwürfe", "Sent": "Gesendet", "Trash": "Papierkorb"}.get(use, use)


def put(path: Path, text: bytes, *, at: float = 1e9) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text)
    os.utime(path, (at, at))


def told(found: Iterable[Letter]) -> list[tuple[str, str, float, bytes]]:
    return [(one.folder, one.marks, one.received_at, one.read()) for one in found]


def test_a_maildir_comes_with_folders_dates_and_marks(tmp_path: Path) -> None:
    put(tmp_path / "m/cur/1.a:2,SFa", LETTER)
    put(tmp_path / "m/new/2.a", LETTER, at=2e9)
    put(tmp_path / "m/.Sent.2020/cur/3.a:2,", LETTER)
    put(tmp_path / "m/tmp/4.a", b"half a letter")
    (tmp_path / "m/cur/5.a").symlink_to("/etc/passwd")
    assert told(letters(tmp_path / "m", german)) == [
        ("", "FS", 1e9, LETTER),
        ("", "", 2e9, LETTER),
        ("Gesendet.2020", "", 1e9, LETTER),
    ]


def test_an_mbox_comes_with_dates_and_marks(tmp_path: Path) -> None:
    put(tmp_path / "sent-mail", MBOX)
    one, two = told(letters(tmp_path / "sent-mail", german))
    assert one[:3] == ("Gesendet", "FRS", 1795514400.0)
    assert one[3].startswith(b"Subject: one\n")
    assert b">From here on\n" in one[3]
    assert two[:3] == ("Gesendet", "", 1795518000.0), "a body is no header"


def test_a_folder_of_mbox_files_is_a_folder_each(tmp_path: Path) -> None:
    put(tmp_path / "old/Inbox", MBOX)
    put(tmp_path / "old/Büro.2020.mbox", MBOX)
    put(tmp_path / "old/Inbox.msf", b"an index of Thunderbird's")
    found = [one.folder for one in letters(tmp_path / "old")]
    assert found == ["B&APw-ro_2020", "B&APw-ro_2020", "", ""]


@pytest.mark.parametrize("name", ["notes.txt", "empty", "missing"])
def test_what_is_neither_is_refused(tmp_path: Path, name: str) -> None:
    put(tmp_path / "notes.txt", b"Dear Anna")
    (tmp_path / "empty").mkdir()
    with pytest.raises(Refused, match="neither a Maildir nor an mbox"):
        list(letters(tmp_path / name))


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("Sent Items", "Gesendet"),
        ("Entw&APw-rfe", "Entw&APw-rfe"),
        ("drafts", "Entw&APw-rfe"),
        ("Work.Sent", "Work.Sent"),
    ],
)
def test_the_folders_that_everybody_has_are_found_under_many_names(name: str, known: str) -> None:
    assert folder_of(name, german) == known


@pytest.mark.parametrize(
    ("name", "written"), [("Tom & Jerry", "Tom &- Jerry"), ("日本語", "&ZeVnLIqe-"), ("a/b", "a_b")]
)
def test_names_are_written_as_imap_writes_them(name: str, written: str) -> None:
    assert encoded(name) == written
