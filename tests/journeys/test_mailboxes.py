"""A mailbox on the booted box: an account, a letter in, read by IMAP and POP3, a letter out."""

from __future__ import annotations

import imaplib
import json
import poplib
import smtplib
import ssl
from collections.abc import Iterator

import pytest

from tests.support.box import Box
from tests.support.smtp_sink import SmtpSink
from tests.support.wait import wait_until

pytestmark = [pytest.mark.image, pytest.mark.timeout(3600)]
LETTER = (
    b"From: <carl@example.org>\r\nTo: <anna@office.example>\r\nSubject: hello\r\n"
    b"Message-ID: <in@example.org>\r\nDate: Mon, 23 Nov 2026 10:00:00 +0000\r\n\r\n"
    b".dot\r\n..two\r\n\ttab  \r\n\xe4\xf6\xfc\r\n\r\nend\r\n"
)


def unchecked() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


@pytest.fixture
def office_box(ready_box: Box) -> Iterator[Box]:
    """With mailboxes, on a disk that the disk's keeper would have mounted."""
    ready_box.root("mount -t tmpfs -o nosuid,nodev,noexec,mode=0755 mailboxes /srv/mail")
    disk(ready_box, "ready")
    ready_box.root(
        "pennypost settings set mail.main_domain=office.example mailboxes.enabled=true"
        " mailboxes.pop3s=true submission.sign_in=true filter.check_sender_domain=false"
    )
    return ready_box


def disk(box: Box, state: str) -> None:
    """What the disk's keeper says; it writes the file as a whole."""
    box.root(
        f"""echo '{{"state": "{state}"}}' >/run/maildisk.new && """
        "mv /run/maildisk.new /run/pennypost/maildisk.json"
    )


def imap(box: Box, password: str) -> imaplib.IMAP4_SSL:
    client = imaplib.IMAP4_SSL("127.0.0.1", box.port(993), ssl_context=unchecked(), timeout=60)
    client.login("anna@office.example", password)
    return client


def letters(client: imaplib.IMAP4) -> list[bytes]:
    client.select("INBOX", readonly=True)
    numbers = client.search(None, "ALL")[1][0].split()
    parts = [client.fetch(number.decode(), "(BODY.PEEK[])")[1][0] for number in numbers]
    return [part[1] for part in parts if isinstance(part, tuple)]


def test_a_letter_comes_in_is_read_and_one_goes_out(office_box: Box, next_hop: SmtpSink) -> None:
    box = office_box
    made = json.loads(box.root("pennypost account add anna --name Anna --generate --json"))
    password = made["password"]
    with box.smtp() as stranger:
        answer = stranger.send_message("carl@example.org", ["anna@office.example"], LETTER)
        assert answer.code == 250
    client = imap(box, password)
    (letter,) = wait_until(lambda: letters(client), what="the letter", timeout_seconds=120)
    assert letter.endswith(LETTER)
    pop = poplib.POP3_SSL("127.0.0.1", box.port(995), context=unchecked(), timeout=60)
    pop.user("anna")
    pop.pass_(password)
    assert b"\r\n".join(pop.retr(1)[1]) + b"\r\n" == letter
    pop.quit()
    with smtplib.SMTP("127.0.0.1", box.port(587), timeout=60) as out:
        out.starttls(context=unchecked())
        out.login("anna", password)
        out.sendmail(
            "anna@office.example",
            ["office@example.com"],
            LETTER.replace(b"carl@example.org", b"anna@office.example"),
        )
    next_hop.wait_for_messages(1)
    assert box.failed_units() == []


def test_while_the_disk_is_away_people_are_told_so_and_mail_waits(office_box: Box) -> None:
    box = office_box
    made = json.loads(box.root("pennypost account add anna --generate --json"))
    password = made["password"]
    imap(box, password).logout()
    disk(box, "missing")

    def is_told() -> bool:
        try:
            imap(box, password).logout()
        except imaplib.IMAP4.error as error:
            return "UNAVAILABLE" in str(error)
        return False

    wait_until(is_told, what="UNAVAILABLE", timeout_seconds=60)
    box.root("umount -l /srv/mail")
    with box.smtp() as stranger:
        answer = stranger.send_message("carl@example.org", ["anna@office.example"], LETTER)
        assert answer.code == 250
    wait_until(
        lambda: "anna@office.example" in box.root("pennypost queue list"),
        what="a letter that waits",
    )
    assert box.root("ls /srv/mail").split() in ([], ["README"])
    box.root("mount -t tmpfs -o nosuid,nodev,noexec,mode=0755 mailboxes /srv/mail")
    disk(box, "ready")
    wait_until(lambda: letters(imap(box, password)), what="the letter", timeout_seconds=180,
               ignore=(imaplib.IMAP4.error, OSError))  # fmt: skip
