"""What people's programs do with a mailbox, with the real Dovecot 2.4: wait for mail, move it,
search it, fill it up, throw it away; and a program of somebody else's that keeps a copy of it."""

from __future__ import annotations

import imaplib
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.policy.verdict import Port
from tests.support.dovecot_tree import DovecotTree
from tests.support.mail_readers import LETTER, PASSWORD, deliver, imap, letters, person
from tests.support.relay_box import RelayBox
from tests.support.smtp_client import SmtpClient
from tests.support.smtp_sink import SmtpSink
from tests.support.tls import self_signed
from tests.support.wait import wait_until

pytestmark = pytest.mark.full
PEOPLE = [
    person("anna"),
    person("berta", language="de"),
    person("carl", quota_bytes=200_000),
    person("dora"),
    person("emil"),
]
BIG = LETTER + b"\r\n".join([b"y" * 70] * 2500) + b"\r\n"  # 180 kB
OLD_SECONDS = 2


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tls")
    self_signed(folder, "box.example.com")
    return folder / "box.example.com.pem"


@pytest.fixture(scope="module")
def dovecot(certificate: Path) -> Iterator[DovecotTree]:
    """A day lasts a moment here: what is old enough to go has to become so within the test."""

    def soon(text: str) -> str:
        assert text.count("autoexpunge = 30d") == 2
        return text.replace("autoexpunge = 30d", f"autoexpunge = {OLD_SECONDS} secs")

    with DovecotTree(PEOPLE, (certificate, certificate), edit=soon) as running:
        yield running


def test_a_program_that_waits_is_told_of_a_letter_at_once(dovecot: DovecotTree) -> None:
    """IDLE (RFC 2177); and no other command is sent meanwhile."""
    client = imap(dovecot, "anna")
    client.select("INBOX")
    client.send(b"w IDLE\r\n")
    assert client.readline().startswith(b"+")
    assert deliver(dovecot, "anna@example.com", LETTER) == 250
    began = time.monotonic()
    while not (line := client.readline()).endswith(b"EXISTS\r\n"):
        assert line
    assert time.monotonic() - began < 5
    client.send(b"DONE\r\n")
    assert wait_until(client.readline, what="its end").startswith((b"w OK", b"* "))


def test_a_program_is_told_of_letters_in_folders_that_it_has_not_open(dovecot: DovecotTree) -> None:
    """NOTIFY (RFC 5465): a STATUS for the folder, with no command asking for it."""
    client, other = imap(dovecot, "anna"), imap(dovecot, "anna")
    client.select("INBOX")
    events = b"(MessageNew MessageExpunge)"
    client.send(b"n NOTIFY SET (selected %b) (personal %b)\r\n" % (events, events))
    while not (line := client.readline()).startswith(b"n "):
        assert line
    assert line.startswith(b"n OK")
    assert other.append("Archive", "", "", LETTER)[0] == "OK"
    while not (line := client.readline()).startswith(b"* STATUS Archive "):
        assert line
    assert b"MESSAGES 1" in line


def test_a_program_that_was_away_is_told_only_what_changed(dovecot: DovecotTree) -> None:
    """MOVE (RFC 6851) and QRESYNC (RFC 7162): the letter that went is named, nothing else."""
    for _ in range(3):
        deliver(dovecot, "dora@example.com", LETTER)
    client = imap(dovecot, "dora")
    client.enable("QRESYNC")
    client.select("INBOX")
    validity = client.response("UIDVALIDITY")[1][0].decode()  # type: ignore[union-attr]
    known = client.response("HIGHESTMODSEQ")[1][0].decode()  # type: ignore[union-attr]
    other = imap(dovecot, "dora")
    other.select("INBOX")
    assert other._simple_command("MOVE", "2", "Archive")[0] == "OK"  # type: ignore[attr-defined]
    client.close()
    asked = f"(QRESYNC ({validity} {known}))"
    assert client._simple_command("SELECT", "INBOX", asked)[0] == "OK"  # type: ignore[attr-defined]
    assert client.response("VANISHED")[1] == [b"(EARLIER) 2"]
    assert client.response("FETCH")[1] == [None]
    assert len(letters(other, "Archive")) == 1
    assert len(letters(other)) == 2


def test_a_word_in_a_letter_is_found_by_the_index(dovecot: DovecotTree) -> None:
    """The file is made unreadable: who finds the word has not read the letter."""
    deliver(dovecot, "berta@example.com", LETTER + "Quittenbrot für Sie".encode() + b"\r\n")
    deliver(dovecot, "berta@example.com", LETTER)
    words = ("flatcurve", "stats", "-u", "berta", "INBOX")

    def both_are_indexed() -> bool:
        return (
            "2"
            in dovecot.run("doveadm", "-f", "flow", "fts", *words)
            .stdout.split("messages=")[-1]
            .split()[:1]
        )

    wait_until(both_are_indexed, what="the index")
    for path in (dovecot.home("berta") / "Maildir/new").iterdir():
        path.write_bytes(b"x" * path.stat().st_size)
    client = imap(dovecot, "berta")
    client.select("INBOX", readonly=True)
    assert client.search(None, "BODY", "quittenbrot")[1] == [b"1"]
    assert client.search(None, "TEXT", "quittenb")[1] == [b"1"]
    assert client.search(None, "BODY", "apfelmus")[1] == [b""]


def send_big(box: RelayBox) -> None:
    """To Carl, who has room for one."""
    with SmtpClient("127.0.0.1", box.port(Port.SMTP)) as client:
        client.hello()
        client.command("MAIL FROM:<x@client.example>")
        client.command("RCPT TO:<carl@example.com>")
        assert client.data(BIG).code == 250


def test_who_writes_to_a_full_mailbox_hears_so_in_the_end_and_the_owner_at_once(
    dovecot: DovecotTree, tmp_path: Path
) -> None:
    """A4: 4.2.2 while there is hope, 5.2.2 when there is none."""
    with SmtpSink() as sink:
        settings = {
            "delivery.lmtp": dovecot.socket,
            "outbound.mode": "smarthost",
            "outbound.smarthost_host": "127.0.0.1",
            "outbound.smarthost_port": sink.port,
            "outbound.smarthost_tls": "none",
            "queue.give_up_seconds": 2,
        }
        with RelayBox(tmp_path, settings, accounts={"carl": PASSWORD}) as box:
            send_big(box)
            # Of two that come at once Dovecot may count neither.
            wait_until(lambda: box.events("delivered"), what="the first letter")
            send_big(box)
            report = sink.wait_for_messages(1, timeout_seconds=30)[0]
            assert "452 4.2.2" in box.events("deferred")[0]
    assert report.recipients == ("x@client.example",)
    assert b"\r\nStatus: 5.2.2\r\n" in report.data
    client = imap(dovecot, "carl")
    wait_until(lambda: len(letters(client)) == 2, what="the warning")
    warning = letters(client)[1]
    assert b"From: <postmaster@example.com>" in warning
    assert b"Subject: Your mailbox is 80 % full" in warning
    assert b"(STORAGE 177 19" in client.getquotaroot("INBOX")[1][1][0]  # in KiB, of 200 000 bytes


def test_what_has_lain_in_trash_and_junk_for_long_enough_goes_and_nothing_else(
    dovecot: DovecotTree,
) -> None:
    client = imap(dovecot, "emil")
    for folder in ("INBOX", "Trash", "Junk", "Archive"):
        client.append(folder, "", imaplib.Time2Internaldate(0), LETTER)  # type: ignore[arg-type]
    client.logout()
    assert count(dovecot, "emil") == {"INBOX": 1, "Trash": 1, "Junk": 1, "Archive": 1}
    age(dovecot, "emil")
    imap(dovecot, "emil").logout()  # it is done as somebody leaves
    gone = {"INBOX": 1, "Trash": 0, "Junk": 0, "Archive": 1}
    wait_until(lambda: count(dovecot, "emil") == gone, what="two empty folders")


def count(dovecot: DovecotTree, login: str) -> dict[str, int]:
    client = imap(dovecot, login)
    return {name: len(letters(client, name)) for name in ("INBOX", "Trash", "Junk", "Archive")}


def age(dovecot: DovecotTree, login: str) -> None:
    """Wait until all that is saved is old."""
    maildir = dovecot.home(login) / "Maildir"
    found = [path for part in ("new", "cur") for path in maildir.rglob(f"{part}/*")]
    assert len(found) == 4
    newest = max(path.stat().st_ctime for path in found)
    wait_until(lambda: time.time() > newest + OLD_SECONDS + 1, what="old letters")


@pytest.fixture(scope="module")
def mbsync(
    dovecot: DovecotTree, certificate: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The settings of isync's mbsync, for all folders of emil's; its copy is beside them."""
    folder = tmp_path_factory.mktemp("mbsync")
    (folder / "copy").mkdir()
    (folder / "mbsyncrc").write_text(
        f"IMAPStore box\nHost 127.0.0.1\nPort {dovecot.ports.imaps}\nUser dora\n"
        f'Pass "{PASSWORD}"\nSSLType IMAPS\nCertificateFile {certificate}\n\n'
        f"MaildirStore copy\nPath {folder}/copy/\nInbox {folder}/copy/INBOX\n"
        "SubFolders Verbatim\n\n"
        "Channel all\nFar :box:\nNear :copy:\nPatterns *\nCreate Both\nExpunge Both\n"
        "SyncState *\n"
    )
    return folder


def sync(folder: Path) -> str:
    done = subprocess.run(
        ["mbsync", "-c", str(folder / "mbsyncrc"), "-V", "all"],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "HOME": str(folder)},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def copied(folder: Path, name: str) -> list[Path]:
    return [path for part in ("new", "cur") for path in (folder / "copy" / name / part).iterdir()]


def test_a_program_of_somebody_elses_keeps_a_copy_and_brings_letters_in(
    dovecot: DovecotTree, mbsync: Path
) -> None:
    """mbsync speaks IMAP of its own: pipelining, literals, UIDPLUS, special folders."""
    client = imap(dovecot, "dora")
    before = letters(client)
    sync(mbsync)
    names = {path.name for path in (mbsync / "copy").iterdir()}
    assert names >= {"INBOX", "Drafts", "Sent", "Archive", "Junk", "Trash"}
    got = {path.read_bytes().replace(b"\r\n", b"\n") for path in copied(mbsync, "INBOX")}
    assert {clean(letter) for letter in got} == {
        clean(letter.replace(b"\r\n", b"\n")) for letter in before
    }
    (mbsync / "copy/INBOX/new/1.own").write_bytes(b"Subject: from the copy\n\nhello\n")
    for path in copied(mbsync, "Archive"):
        path.rename(path.parent.parent / "cur" / (path.name.partition(":")[0] + ":2,FS"))
    sync(mbsync)
    assert len(letters(client)) == len(before) + 1
    client.select("Archive")
    assert client.search(None, "FLAGGED")[1] == [b"1"]
    kept = {name: len(copied(mbsync, name)) for name in names if (mbsync / "copy" / name).is_dir()}
    sync(mbsync)  # once more changes nothing
    assert kept == {name: len(copied(mbsync, name)) for name in kept}


def clean(letter: bytes) -> bytes:
    """mbsync marks what it has copied with a field of its own."""
    return b"\n".join(line for line in letter.split(b"\n") if not line.startswith(b"X-TUID:"))
