"""The mailboxes with everything real: the relay takes a letter, Dovecot 2.4 keeps it, and it is
read again by IMAP and POP3."""

from __future__ import annotations

import imaplib
import poplib
import smtplib
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.accounts.app_passwords import make_hash as make_app_hash
from appliance.memory.throttle import FREE_FAILURES
from appliance.policy.verdict import Port
from appliance.relay.login_policy import LoginPolicy
from tests.support.dovecot_tree import DovecotTree
from tests.support.mail_readers import LETTER, PASSWORD, deliver, imap, letters, trusting
from tests.support.mail_readers import person as user
from tests.support.manage_sieve import ManageSieve
from tests.support.relay_box import RelayBox
from tests.support.tls import self_signed
from tests.support.wait import wait_until

pytestmark = pytest.mark.full
PEOPLE = [user("anna"), user("berta", language="de"), user("carl", quota_bytes=200_000)]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("tls")
    self_signed(folder, "box.example.com")
    return folder / "box.example.com.pem", folder / "box.example.com.pem"


@pytest.fixture(scope="module")
def dovecot(certificate: tuple[Path, Path]) -> Iterator[DovecotTree]:
    settings = {"mail.additional_domains": ["example.net"]}
    with DovecotTree(PEOPLE, certificate, settings) as running:
        yield running


@pytest.fixture(scope="module")
def box(dovecot: DovecotTree, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RelayBox]:
    settings = {"delivery.lmtp": dovecot.socket, "mail.additional_domains": ["example.net"]}
    accounts = {"anna": PASSWORD, "berta": PASSWORD, "carl": PASSWORD}
    folder = tmp_path_factory.mktemp("relay")
    with RelayBox(folder, settings, accounts=accounts) as running:
        yield running


def send(box: RelayBox, to: str, letter: bytes = LETTER) -> None:
    with smtplib.SMTP("127.0.0.1", box.port(Port.SMTP)) as client:
        client.sendmail("carl@client.example", [to], letter)


def letters_on_disk(dovecot: DovecotTree) -> list[Path]:
    folder = dovecot.home("anna") / "Maildir"
    return [path for name in ("new", "cur") for path in (folder / name).glob("*")]


def read_to(sock: socket.socket, mark: bytes) -> bytes:
    sock.settimeout(20)
    said = b""
    while mark not in said and (more := sock.recv(4096)):
        said += more
    return said


def test_a_letter_from_outside_is_read_by_imap_and_pop3_byte_for_byte(
    box: RelayBox, dovecot: DovecotTree
) -> None:
    send(box, "anna@example.com")
    client = imap(dovecot, "anna")
    wait_until(lambda: letters(client), what="the letter")
    (letter,) = letters(client)
    assert letter.endswith(LETTER)

    pop = poplib.POP3_SSL("127.0.0.1", dovecot.ports.pop3s, context=trusting())
    pop.user("anna@example.net")
    pop.pass_(PASSWORD)
    lines = pop.retr(1)[1]
    assert b"\r\n".join(lines) + b"\r\n" == letter
    pop.quit()


def test_a_mailbox_answers_in_each_of_our_domains_and_with_a_tag_and_in_no_other(
    box: RelayBox, dovecot: DovecotTree
) -> None:
    before = len(letters(imap(dovecot, "anna")))
    send(box, "anna+shop@example.net")
    client = imap(dovecot, "Anna@example.com")
    wait_until(lambda: len(letters(client)) == before + 1, what="the letter")
    with pytest.raises(imaplib.IMAP4.error, match="AUTHENTICATIONFAILED"):
        imap(dovecot, "anna@elsewhere.example")


def test_the_folders_are_there_in_the_accounts_language_and_spam_goes_where_spam_belongs(
    dovecot: DovecotTree,
) -> None:
    deliver(dovecot, "berta@example.com", b"X-Spam-Action: junk\r\n" + LETTER)
    client = imap(dovecot, "berta")
    listed = b"\n".join(line for line in client.list()[1] if isinstance(line, bytes))
    for use, name in (("Drafts", "Entw&APw-rfe"), ("Sent", "Gesendet"), ("Trash", "Papierkorb")):
        assert f'\\{use}) "/" {name}'.encode() in listed
    assert len(letters(client, "Spam")) == 1
    assert letters(client) == []
    assert b'\\Trash) "/" Trash' in b"\n".join(imap(dovecot, "anna").list()[1])  # type: ignore[arg-type]


def test_a_full_mailbox_puts_off_what_is_too_much_and_its_owner_is_warned(
    dovecot: DovecotTree,
) -> None:
    big = LETTER + b"y" * 70 + b"\r\n" + b"\r\n".join([b"y" * 70] * 2500) + b"\r\n"
    assert deliver(dovecot, "carl@example.com", big) == 250
    assert deliver(dovecot, "carl@example.com", big) == 452
    client = imap(dovecot, "carl")
    wait_until(lambda: len(letters(client)) == 2, what="the warning")
    assert b"80" in letters(client)[1]


def test_nobody_signs_in_in_the_clear(dovecot: DovecotTree) -> None:
    elsewhere = ("127.0.0.2", 0)  # Dovecot holds a talk within one address for safe
    with socket.create_connection(("127.0.0.1", dovecot.ports.imap), 20, elsewhere) as sock:
        sock.sendall(b"a login anna x\r\n")
        said = read_to(sock, b"a NO")
    assert b"LOGINDISABLED" in said
    assert b"PRIVACYREQUIRED" in said
    with socket.create_connection(("127.0.0.1", dovecot.ports.pop3), 20, elsewhere) as sock:
        read_to(sock, b"+OK")
        sock.sendall(b"USER anna\r\n")
        assert b"Cleartext authentication disallowed" in read_to(sock, b"-ERR")
    client = imaplib.IMAP4("127.0.0.1", dovecot.ports.imap)
    with pytest.raises(imaplib.IMAP4.error, match="AUTHENTICATIONFAILED"):  # nor from the box
        client.login("anna", PASSWORD)
    client = imaplib.IMAP4("127.0.0.1", dovecot.ports.imap)
    client.starttls(ssl_context=trusting())
    client.login("anna", PASSWORD)


def test_an_app_password_opens_the_mailbox_and_a_disabled_account_does_not_open(
    dovecot: DovecotTree,
) -> None:
    made = "abcde-fghjk-mnpqr-stuvw"
    dovecot.put_users(
        [user("anna", app_hashes=(make_app_hash("x"), make_app_hash(made))), user("off", on=False)]
    )
    wait_until(lambda: imap(dovecot, "anna", made), what="it", ignore=(imaplib.IMAP4.error,))
    imap(dovecot, "anna")
    assert deliver(dovecot, "off@example.com", LETTER) == 250
    with pytest.raises(imaplib.IMAP4.error, match="AUTHENTICATIONFAILED"):
        imap(dovecot, "off")
    dovecot.put_users(PEOPLE)


def test_without_the_mail_disk_everybody_is_told_to_come_again_and_nothing_is_written(
    box: RelayBox, dovecot: DovecotTree
) -> None:
    names = sorted(path.name for path in dovecot.mail.iterdir())
    dovecot.put_users(PEOPLE, ready=False)
    (dovecot.mail / "homes").rename(dovecot.folder / "pulled")  # the mount point is empty
    wait_until(lambda: deliver(dovecot, "anna@example.com", LETTER) == 451, what="451")
    with pytest.raises(imaplib.IMAP4.error, match="UNAVAILABLE"):
        imap(dovecot, "anna")
    pop = poplib.POP3_SSL("127.0.0.1", dovecot.ports.pop3s, context=trusting())
    pop.user("anna")
    with pytest.raises(poplib.error_proto, match="SYS/TEMP"):
        pop.pass_(PASSWORD)
    send(box, "anna@example.com")
    wait_until(lambda: box.events("deferred"), what="a letter that waits")
    assert list(dovecot.mail.iterdir()) == []

    (dovecot.folder / "pulled").rename(dovecot.mail / "homes")
    before = len(letters_on_disk(dovecot))
    dovecot.put_users(PEOPLE)
    wait_until(lambda: len(letters_on_disk(dovecot)) == before + 1, what="the letter")
    assert sorted(path.name for path in dovecot.mail.iterdir()) == names


def test_an_empty_mount_point_alone_is_enough_that_nothing_is_written(
    dovecot: DovecotTree,
) -> None:
    (dovecot.mail / "homes").rename(dovecot.folder / "pulled")
    assert deliver(dovecot, "anna@example.com", LETTER) == 451
    client = imap(dovecot, "anna")
    assert client.select("INBOX")[0] == "NO"
    assert list(dovecot.mail.iterdir()) == []
    (dovecot.folder / "pulled").rename(dovecot.mail / "homes")


def test_what_mail_programs_look_for_is_offered(dovecot: DovecotTree) -> None:
    capabilities = set(imap(dovecot, "anna").capability()[1][0].split())
    assert {
        b"IDLE", b"QRESYNC", b"CONDSTORE", b"SPECIAL-USE", b"MOVE", b"NOTIFY", b"QUOTA", b"SORT",
    } <= capabilities  # fmt: skip


def test_labels_stay_and_whole_letters_are_searched(dovecot: DovecotTree) -> None:
    deliver(dovecot, "anna@example.com", LETTER + b"a marmalade jar\r\n")
    client = imap(dovecot, "anna")
    client.select("INBOX")
    found = wait_until(lambda: client.search(None, "BODY", "marmalade")[1][0], what="the letter")
    number = found.split()[-1].decode()
    client.store(number, "+FLAGS", "($label2)")
    client.logout()
    client = imap(dovecot, "anna")
    client.select("INBOX")
    assert client.search(None, "KEYWORD", "$label2")[1][0].split() == [number.encode()]


def test_wrong_passwords_at_the_mailboxes_count_with_those_at_the_relay(
    box: RelayBox, certificate: tuple[Path, Path]
) -> None:
    policy = LoginPolicy(box.shop)
    box.run(policy.open(0))
    sign_in = box.shop.sign_in
    assert sign_in is not None
    assert sign_in.log_ins is not None
    with DovecotTree(PEOPLE, certificate, policy=f"127.0.0.1:{policy.port}") as asking:
        imap(asking, "anna")
        wait_until(lambda: sign_in.log_ins.of("anna"), what="the last log-in")  # type: ignore[union-attr]
        assert sign_in.log_ins.of("anna")[0].way == "imap"
        pop = poplib.POP3_SSL("127.0.0.1", asking.ports.pop3s, context=trusting())
        pop.user("anna")
        pop.pass_(PASSWORD)
        with ManageSieve(asking.ports.sieve) as filters:
            filters.start_tls(trusting())
            filters.sign_in("anna", PASSWORD)
        ways = {"imap", "pop3", "sieve"}
        wait_until(
            lambda: {one.way for one in sign_in.log_ins.of("anna")} == ways,  # type: ignore[union-attr]
            what="the last log-in by each way",
        )
        for _ in range(FREE_FAILURES):
            assert sign_in.throttle.try_now("berta", "127.0.0.1") == 0
        with pytest.raises(imaplib.IMAP4.error, match="AUTHENTICATIONFAILED"):
            imap(asking, "berta@example.com")
    policy.close()


def test_old_mail_goes_by_night_and_who_is_connected_can_be_put_out(dovecot: DovecotTree) -> None:
    """As the steward has it done, through Dovecot's own helper."""
    deliver(dovecot, "berta@example.com", b"X-Spam-Action: junk\r\n" + LETTER)
    client = imap(dovecot, "berta")
    assert letters(client, "Spam")
    (dovecot.users_folder / "speak-de").write_text("berta\n")
    words = ("-S", f"{dovecot.inside}/run/doveadm-server")
    words += ("-F", f"{dovecot.inside}/users/speak-de", "mailbox", "Spam", "savedbefore", "1s")

    def is_empty() -> bool:
        assert dovecot.run("doveadm", "expunge", *words).returncode == 0
        return not letters(imap(dovecot, "berta"), "Spam")

    wait_until(is_empty, what="an empty junk folder")
    assert dovecot.run("doveadm", "kick", "*").returncode == 0
    with pytest.raises((imaplib.IMAP4.error, OSError)):
        client.noop()


def test_search_works_in_each_language(dovecot: DovecotTree) -> None:
    deliver(dovecot, "berta@example.com", LETTER + b"Marmelade\r\n")
    client = imap(dovecot, "berta")
    client.select("INBOX")
    wait_until(lambda: client.search(None, "BODY", "marmelade")[1][0], what="the letter")
    assert "Failed to initialize backend" not in dovecot.log()
