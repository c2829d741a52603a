"""People's own filters with the real Dovecot 2.4 and the real relay: put in by ManageSieve, they
file letters, answer in the holidays, forward, and bring spam to the junk folder."""

from __future__ import annotations

import email
import imaplib
import json
import smtplib
import socket
from collections.abc import Iterator

import pytest

from appliance.policy.verdict import Port
from appliance.render import rspamd
from tests.support.dovecot_tree import DovecotTree
from tests.support.mail_readers import LETTER, PASSWORD, deliver, imap, letters, person, trusting
from tests.support.manage_sieve import ManageSieve
from tests.support.relay_box import RelayBox
from tests.support.rspamd import Rspamd
from tests.support.smtp_sink import SmtpSink
from tests.support.tls import self_signed
from tests.support.wait import wait_until

pytestmark = pytest.mark.full
GTUBE = b"XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X"
SPAM = LETTER[: LETTER.index(b"\r\n\r\n")] + b"\r\n\r\n" + GTUBE + b"\r\n"
PEOPLE = [person("anna"), person("berta", language="de"), person("carl"), person("dora")]


@pytest.fixture(scope="module")
def dovecot(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DovecotTree]:
    folder = tmp_path_factory.mktemp("tls")
    self_signed(folder, "box.example.com")
    certificate = folder / "box.example.com.pem"
    with DovecotTree(PEOPLE, (certificate, certificate)) as running:
        yield running


@pytest.fixture(scope="module")
def sink() -> Iterator[SmtpSink]:
    """The server of the people outside."""
    with SmtpSink() as running:
        yield running


@pytest.fixture(scope="module")
def spam_filter(dovecot: DovecotTree) -> Iterator[Rspamd]:
    with Rspamd(learn=dovecot.learn_socket) as running:
        yield running


@pytest.fixture(scope="module")
def box(
    dovecot: DovecotTree,
    sink: SmtpSink,
    spam_filter: Rspamd,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[RelayBox]:
    settings = {
        "content.spam": "on",
        "content.scanner": spam_filter.address,
        "content.refuse_score": 0,
        "delivery.lmtp": dovecot.socket,
        "outbound.mode": "smarthost",
        "outbound.smarthost_host": "127.0.0.1",
        "outbound.smarthost_port": sink.port,
        "outbound.smarthost_tls": "none",
    }
    accounts = {user.login: PASSWORD for user in PEOPLE}
    folder = tmp_path_factory.mktemp("relay")
    with RelayBox(folder, settings, accounts=accounts, home=dovecot.relay_socket) as running:
        yield running


def send(box: RelayBox, to: str, letter: bytes, sender: str = "carl@client.example") -> None:
    with smtplib.SMTP("127.0.0.1", box.port(Port.SMTP)) as client:
        client.sendmail(sender, [to], letter)


def put_filter(dovecot: DovecotTree, login: str, script: str) -> None:
    with ManageSieve(dovecot.ports.sieve) as client:
        client.start_tls(trusting())
        client.sign_in(login, PASSWORD)
        client.put("mine", script)


def test_a_filter_put_in_by_managesieve_files_a_letter(box: RelayBox, dovecot: DovecotTree) -> None:
    script = 'require ["fileinto", "mailbox"];\nif header :contains "subject" "bill" {\n'
    put_filter(dovecot, "anna", script + 'fileinto :create "Bills"; }\n')
    send(box, "anna@example.com", LETTER.replace(b"Message-ID", b"Subject: your bill\r\nX"))
    send(box, "anna@example.com", LETTER)
    client = imap(dovecot, "anna")
    wait_until(lambda: len(letters(client)) == 1, what="the other letter")
    wait_until(lambda: client.status("Bills", "(MESSAGES)")[0] == "OK", what="the folder")
    assert len(letters(client, "Bills")) == 1


def test_a_filter_that_makes_no_sense_is_refused_with_its_line(dovecot: DovecotTree) -> None:
    with pytest.raises(AssertionError, match="line 2"):
        put_filter(dovecot, "anna", "keep;\nfile_into nowhere;\n")


def test_managesieve_takes_no_password_in_the_clear(dovecot: DovecotTree) -> None:
    with ManageSieve(dovecot.ports.sieve) as client:
        assert '"STARTTLS"' in client.capabilities
        with pytest.raises(AssertionError, match="NO"):
            client.sign_in("anna", PASSWORD)


def test_a_holiday_notice_goes_once_to_each_sender_and_to_no_machine(
    box: RelayBox, dovecot: DovecotTree, sink: SmtpSink
) -> None:
    script = 'require "vacation";\nvacation :days 7 :subject "Away" "I am at the sea. Grüße!";\n'
    put_filter(dovecot, "berta", script)
    letter = LETTER.replace(b"anna@", b"berta@")
    for number in range(3):
        send(box, "berta@example.com", letter.replace(b"<1@", b"<%d@" % number))
    send(box, "berta@example.com", b"Auto-Submitted: auto-generated\r\n" + letter, "x@list.example")
    client = imap(dovecot, "berta")
    wait_until(lambda: len(letters(client)) == 4, what="the letters")
    send(box, "berta@example.com", letter, "dieter@client.example")
    sink.wait_for_messages(2, timeout_seconds=20)
    assert [told.recipients for told in sink.messages] == [
        ("carl@client.example",),
        ("dieter@client.example",),
    ]
    notice = email.message_from_bytes(sink.messages[0].data)
    assert sink.messages[0].mail_from == ""  # RFC 3834: it cannot be answered in turn
    assert notice["Auto-Submitted"] == "auto-replied (vacation)"
    assert "berta@example.com" in notice["From"]
    assert "Grüße!".encode() in notice.get_payload(decode=True)  # type: ignore[operator]


def test_a_filter_forwards_and_a_forward_that_fails_comes_to_who_forwards(
    box: RelayBox, dovecot: DovecotTree, sink: SmtpSink
) -> None:
    put_filter(dovecot, "dora", 'require "copy";\nredirect :copy "dora@home.example";\n')
    before = len(sink.messages)
    send(box, "dora@example.com", LETTER)
    told = sink.wait_for_messages(before + 1, timeout_seconds=20)[-1]
    assert told.recipients == ("dora@home.example",)
    assert told.mail_from == "dora@example.com"
    assert told.data.endswith(LETTER[-30:])
    client = imap(dovecot, "dora")
    wait_until(lambda: len(letters(client)) == 1, what="the copy that stays")


def test_while_the_relay_is_away_a_letter_with_a_filter_is_not_lost(
    box: RelayBox, dovecot: DovecotTree, sink: SmtpSink
) -> None:
    put_filter(dovecot, "carl", 'redirect "carl@home.example";\n')
    away = dovecot.relay_socket.rename(dovecot.folder / "away.sock")
    before = len(sink.messages)
    send(box, "carl@example.com", LETTER)
    wait_until(lambda: box.events("deferred"), what="a letter that waits")
    away.rename(dovecot.relay_socket)
    sink.wait_for_messages(before + 1, timeout_seconds=30)
    assert letters(imap(dovecot, "carl")) == []


def test_what_scores_as_junk_is_filed_as_junk_and_what_is_only_marked_is_not(
    box: RelayBox, dovecot: DovecotTree
) -> None:
    """GTUBE has 15 points; the mark begins at 6."""
    put_filter(dovecot, "anna", "keep;")
    client = imap(dovecot, "anna")
    before = len(letters(client))
    box.take({"content.junk_score": 16})
    send(box, "anna@example.com", SPAM)
    wait_until(lambda: len(letters(client)) == before + 1, what="the marked letter")
    assert b"X-Spam-Flag: YES" in letters(client)[-1]
    box.take({"content.junk_score": 8})
    send(box, "anna@example.com", SPAM)
    wait_until(lambda: len(letters(client, "Junk")) == 1, what="the junk")
    assert len(letters(client)) == before + 1


def test_a_stranger_cannot_have_a_letter_filed_as_junk(box: RelayBox, dovecot: DovecotTree) -> None:
    client = imap(dovecot, "dora")
    put_filter(dovecot, "dora", "keep;")
    before = len(letters(client))
    send(box, "dora@example.com", b"X-Spam-Action: junk\r\n" + LETTER)
    wait_until(lambda: len(letters(client)) == before + 1, what="the letter")
    assert letters(client, "Junk") == []


def learnt(dovecot: DovecotTree) -> tuple[int, int]:
    """How many letters the spam filter has learnt as good ones and as spam."""
    told = json.loads(ask(dovecot, "GET /stat"))["statfiles"]
    revisions = {one["symbol"]: one["revision"] for one in told}
    return revisions["BAYES_HAM"], revisions["BAYES_SPAM"]


def ask(dovecot: DovecotTree, what: str, body: bytes = b"") -> bytes:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(20)
        sock.connect(str(dovecot.learn_socket))
        head = f"{what} HTTP/1.0\r\nContent-Length: {len(body)}\r\n\r\n"
        sock.sendall(head.encode() + body)
        return sock.makefile("rb").read().partition(b"\r\n\r\n")[2]


@pytest.mark.parametrize(
    ("login", "junk", "trash"),
    [
        ("anna", "Junk", "Trash"),
        ("berta", "Spam", "Papierkorb"),
    ],
)
def test_what_is_moved_to_junk_and_out_of_it_is_learnt(
    spam_filter: Rspamd, dovecot: DovecotTree, login: str, junk: str, trash: str
) -> None:
    words = b" ".join(b"%s%d" % (login.encode(), number) for number in range(40))
    put_filter(dovecot, login, "keep;")
    deliver(dovecot, f"{login}@example.com", LETTER + words + b"\r\n")
    client = imap(dovecot, login)
    ham, spam = learnt(dovecot)
    client.select("INBOX")
    move(client, client.search(None, "BODY", f"{login}7")[1][0].decode(), junk)
    assert learnt(dovecot) == (ham, spam + 1)
    client.select(junk)
    mine = client.search(None, "BODY", f"{login}7")[1][0].decode()
    client.copy(mine, trash)  # spam that is thrown away is no good letter
    assert learnt(dovecot) == (ham, spam + 1)
    move(client, mine, "INBOX")
    assert learnt(dovecot)[0] == ham + 1
    assert not [
        line for line in dovecot.log().splitlines() if line.startswith("imap") and "Error" in line
    ]


def test_without_a_spam_filter_letters_are_moved_all_the_same(
    spam_filter: Rspamd, dovecot: DovecotTree
) -> None:
    deliver(dovecot, "carl@example.com", LETTER)
    away = dovecot.learn_socket.rename(dovecot.folder / "gone.sock")
    client = imap(dovecot, "carl")
    client.select("INBOX")
    move(client, "1", "Junk")
    away.rename(dovecot.learn_socket)
    assert len(letters(client, "Junk")) == 1


def move(client: imaplib.IMAP4, numbers: str, folder: str) -> None:
    """RFC 6851, as programs do it; imaplib has no word for it."""
    assert client._simple_command("MOVE", numbers, folder)[0] == "OK"  # type: ignore[attr-defined]


def test_after_some_letters_of_either_kind_the_words_count(
    spam_filter: Rspamd, dovecot: DovecotTree
) -> None:
    def letter(kind: str, number: int) -> bytes:
        words = " ".join(f"{kind}{(number + step) % 50}" for step in range(40))
        return f"Subject: {kind}\r\n\r\n{words} {number}\r\n".encode()

    for number in range(rspamd.LEAST_LEARNT):
        for kind in ("spam", "ham"):
            ask(dovecot, f"POST /learn{kind}", letter(kind, number))

    def symbols(kind: str) -> set[str]:
        return set(json.loads(ask(dovecot, "POST /checkv2", letter(kind, 44)))["symbols"])

    assert "BAYES_SPAM" in symbols("spam")
    assert "BAYES_HAM" in symbols("ham")
