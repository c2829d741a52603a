"""Mail that somebody brings along, into a mailbox: once, whatever happens; and with Dovecot."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from appliance.base.finding import Refused
from appliance.base.run import CommandFailed
from appliance.steward import mail_import
from appliance.steward.mail_import import MailImport, by_doveadm
from tests.support.dovecot_tree import MAIL_ID, DovecotTree
from tests.support.mail_readers import imap, letters, person
from tests.support.tls import self_signed


class Mailbox:
    """Takes what is brought in, as Dovecot would, and may break down."""

    def __init__(self, mail: Path) -> None:
        for name in ("homes", "import"):
            (mail / name).mkdir()
        self.mail = mail
        self.texts: list[tuple[str, bytes]] = []
        self.works = True
        self.brought = MailImport(mail, self._take)

    def _take(self, login: str, staging: Path) -> None:
        if not self.works:
            raise Refused.because("import.dovecot", "It does not run.")
        for path in sorted(staging.rglob("cur/*")):
            folder = path.parent.parent.name if path.parent.parent != staging else ""
            self.texts.append((folder, path.read_bytes()))

    def run(self, name: str = "old") -> Mapping[str, int]:
        return self.brought.run(_quiet, login="anna", name=name, named=str)


def _quiet(step: Mapping[str, Any]) -> None:
    """Nobody waits."""


def fill(folder: Path, count: int) -> None:
    for part in ("cur", ".Work/cur"):
        (folder / part).mkdir(parents=True)
    for number in range(count):
        (folder / "cur" / f"{number}.a:2,S").write_bytes(b"Subject: %d\n\n" % number)
    (folder / ".Work/cur/x.a").write_bytes(b"Subject: 0\n\n")


def test_what_came_in_once_does_not_come_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mail_import, "LOT_LETTERS", 3)
    anna = Mailbox(tmp_path)
    fill(tmp_path / "import/old", 7)
    assert anna.run() == {"imported": 8, "known": 0}
    assert len(set(anna.texts)) == len(anna.texts) == 8
    (tmp_path / "import/old/cur/late.a").write_bytes(b"Subject: late\n\n")
    (tmp_path / "import/old/cur/0.a:2,S").rename(tmp_path / "import/old/cur/0.a:2,FS")
    assert anna.run() == {"imported": 1, "known": 8}
    assert not (tmp_path / "import/.staging").exists()


def test_an_import_that_broke_off_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mail_import, "LOT_LETTERS", 3)
    anna = Mailbox(tmp_path)
    fill(tmp_path / "import/old", 7)
    take, lots = anna._take, [0]

    def breaking(login: str, staging: Path) -> None:
        lots[0] += 1
        anna.works = lots[0] != 2
        take(login, staging)

    anna.brought = MailImport(tmp_path, breaking)
    with pytest.raises(Refused):
        anna.run()
    assert len(anna.texts) == 3
    assert anna.run() == {"imported": 5, "known": 3}
    assert len(set(anna.texts)) == 8


@pytest.mark.parametrize("name", ["", "..", "../homes", "a/b", ".staging", "missing", "link"])
def test_only_things_in_the_folder_for_it_are_read(tmp_path: Path, name: str) -> None:
    anna = Mailbox(tmp_path)
    (tmp_path / "import/link").symlink_to("/etc")
    with pytest.raises(Refused):
        anna.run(name)


def test_a_link_in_a_mailbox_leads_nowhere(tmp_path: Path) -> None:
    anna = Mailbox(tmp_path)
    fill(tmp_path / "import/old", 1)
    (tmp_path / "homes/anna").mkdir()
    (tmp_path / "victim").write_bytes(b"precious")
    (tmp_path / "homes/anna/.imported").symlink_to(tmp_path / "victim")
    with pytest.raises(Refused, match="import stopped"):
        anna.run()
    assert (tmp_path / "victim").read_bytes() == b"precious"


@pytest.mark.full
def test_with_the_real_dovecot_a_maildir_and_an_mbox_come_in(tmp_path: Path) -> None:
    self_signed(tmp_path, "box.example.com")
    certificate = tmp_path / "box.example.com.pem"
    people = [person("anna", language="de"), person("carl", quota_bytes=1000)]
    with DovecotTree(people, (certificate, certificate)) as dovecot:
        dovecot.mail.chmod(0o755)
        source = dovecot.mail / "import"
        source.mkdir(mode=0o711)
        fill(source / "old", 3)
        (source / "old/.Sent/cur").mkdir(parents=True)
        (source / "old/.Sent/cur/1.a:2,FS").write_bytes(b"Subject: sent\n\nhello\n")
        os.utime(source / "old/.Sent/cur/1.a:2,FS", (1e9, 1e9))
        (source / "Büro").write_bytes(
            b"From - Tue Nov 24 11:00:00 2026\nSubject: two\n\nbody\n\n" * 2
        )
        brought = MailImport(dovecot.mail, by_doveadm(asking(dovecot)), MAIL_ID)
        german = {"Sent": "Gesendet"}

        def run(login: str, name: str) -> dict[str, int]:
            named = lambda use: german.get(use, use)  # noqa: E731
            return brought.run(_quiet, login=login, name=name, named=named)

        for count in (5, 0):
            assert run("anna", "old")["imported"] == count
        assert run("anna", "Büro") == {"imported": 1, "known": 1}, "two alike are one"
        client = imap(dovecot, "anna")
        assert len(letters(client)) == 3
        assert letters(client, "Work") == [b"Subject: 0\r\n\r\n"]
        assert letters(client, "B&APw-ro") == [b"Subject: two\r\n\r\nbody\r\n"]
        client.select("Gesendet", readonly=True)
        told = client.fetch("1", "(FLAGS INTERNALDATE)")[1][0]
        assert b"\\Flagged \\Seen" in told  # type: ignore[operator]
        assert b'"09-Sep-2001 01:46:40 +0000"' in told  # type: ignore[operator]
        (source / "big/new").mkdir(parents=True)
        (source / "big/new/1.a").write_bytes(b"Subject: big\n\n" + b"x\n" * 2000)
        with pytest.raises(Refused, match="The mailbox is full"):
            run("carl", "big")


def asking(dovecot: DovecotTree) -> Callable[[tuple[str, ...]], None]:
    """As the steward asks Dovecot's helper, from outside its tree."""

    def ask(words: tuple[str, ...]) -> None:
        verb, *rest = (word.replace(str(dovecot.folder), str(dovecot.inside)) for word in words)
        done = dovecot.run("doveadm", verb, "-S", f"{dovecot.inside}/run/doveadm-server", *rest)
        if done.returncode:
            raise CommandFailed(words, "failed", done.stderr.encode())

    return ask
