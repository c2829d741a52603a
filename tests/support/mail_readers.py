"""What tests of mailboxes share: people with a password, a letter, and clients that read it."""

from __future__ import annotations

import imaplib
import smtplib
import ssl
from datetime import UTC, datetime

from appliance.accounts.users import User
from tests.support.dovecot_tree import DovecotTree
from tests.support.relay_box import hash_of

PASSWORD = "correct horse battery"
LETTER = (
    b"From: Carl <carl@client.example>\r\nTo: anna@example.com\r\n"
    b"Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\nMessage-ID: <1@client.example>\r\n\r\n"
    b".dot\r\n..two\r\n\ttab  \r\n" + bytes(range(128, 256)) + b"\r\n\r\nend\r\n"
)


def person(login: str, *, on: bool = True, **more: object) -> User:
    return User(
        login=login,
        name="",
        password_hash=hash_of(PASSWORD),
        enabled=on,
        made_at=datetime.now(UTC),
        messages_per_hour=0,
        recipients_per_hour=0,
        **more,  # type: ignore[arg-type]
    )


def trusting() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def imap(dovecot: DovecotTree, login: str, password: str = PASSWORD) -> imaplib.IMAP4:
    client = imaplib.IMAP4_SSL("127.0.0.1", dovecot.ports.imaps, ssl_context=trusting())
    client.login(login, password)
    return client


def deliver(dovecot: DovecotTree, to: str, letter: bytes) -> int:
    """Straight by LMTP; the code of the last answer."""
    with smtplib.LMTP(dovecot.socket) as client:
        try:
            client.sendmail("carl@client.example", [to], letter)
        except smtplib.SMTPRecipientsRefused as refused:
            return int(refused.recipients[to][0])
        except smtplib.SMTPDataError as error:
            return int(error.smtp_code)
    return 250


def letters(client: imaplib.IMAP4, folder: str = "INBOX") -> list[bytes]:
    client.select(folder, readonly=True)
    _, found = client.search(None, "ALL")
    parts = [client.fetch(number.decode(), "(BODY.PEEK[])")[1][0] for number in found[0].split()]
    return [part[1] for part in parts if isinstance(part, tuple)]
