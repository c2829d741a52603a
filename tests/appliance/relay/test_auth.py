"""Signing in on 587 and 465, over real TLS, against real accounts."""

from __future__ import annotations

import base64
import smtplib
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.policy.verdict import Port
from tests.support.relay_box import RelayBox
from tests.support.smtp_client import SmtpClient
from tests.support.tls import self_signed

PASSWORD = "correct-horse-battery-4711"
SETTINGS = {"submission.sign_in": True, "mail.additional_domains": ["example.net"]}
MESSAGE = b"From: anna@example.com\r\nSubject: x\r\n\r\nx\r\n"


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def plain(user: str, password: str = PASSWORD, wanted: str = "") -> str:
    return b64(f"{wanted}\0{user}\0{password}")


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RelayBox]:
    folder = tmp_path_factory.mktemp("auth")
    self_signed(folder)
    pem = folder / "sink.example.com.pem"
    people = {"anna": PASSWORD, "r.johnson": PASSWORD, "gone": PASSWORD}
    with RelayBox(folder, SETTINGS, certificate=(pem, pem), deliver=False, accounts=people) as box:
        box.users.edit("gone", enabled=False)
        yield box


@pytest.fixture
def box(shared: RelayBox) -> RelayBox:
    """The same box; wrong passwords of an earlier test are forgotten."""
    assert shared.shop.sign_in is not None
    with shared.shop.sign_in.throttle._db.transaction() as db:
        db.execute("DELETE FROM throttle")
        db.execute("DELETE FROM known_net")
    return shared


def opened(box: RelayBox, port: Port = Port.SUBMISSION) -> SmtpClient:
    client = SmtpClient("127.0.0.1", box.port(port), tls=port is Port.SUBMISSIONS)
    client.hello()
    if port is Port.SUBMISSION:
        client.starttls()
    return client


@pytest.mark.parametrize("port", [Port.SUBMISSION, Port.SUBMISSIONS])
def test_who_signed_in_sends_to_anybody(box: RelayBox, port: Port) -> None:
    with opened(box, port) as client:
        assert "AUTH PLAIN LOGIN" in client.hello().lines
        assert client.command("MAIL FROM:<anna@example.com>").code == 530
        assert client.command(f"AUTH PLAIN {plain('anna')}").code == 235
        answer = client.envelope("anna@example.com", ["somebody@elsewhere.example"])
        assert answer.code == 250
        assert client.data(MESSAGE).code == 250
    (line,) = [line for line in box.events("queued") if f"port={port.value}" in line]
    assert "user=anna" in line


@pytest.mark.parametrize(
    "login", ["anna", "ANNA", "anna@example.com", "anna@example.net", "r.johnson@EXAMPLE.com"]
)
def test_a_name_and_a_whole_address_both_open(box: RelayBox, login: str) -> None:
    with opened(box) as client:
        assert client.command(f"AUTH PLAIN {plain(login)}").code == 235


@pytest.mark.parametrize(
    "said",
    [
        plain("anna", "wrong"),
        plain("nobody"),
        plain("gone"),
        plain("anna@elsewhere.example"),
        plain("anna", wanted="r.johnson"),
        plain("gone", "wrong"),
    ],
)
def test_whatever_is_wrong_the_words_are_the_same(box: RelayBox, said: str) -> None:
    with opened(box) as client:
        answer = client.command(f"AUTH PLAIN {said}")
        assert (answer.code, answer.lines[0][:5]) == (535, "5.7.8")
        assert answer.text == "5.7.8 User name and password do not fit together"


def test_every_form_of_the_exchange(box: RelayBox) -> None:
    for dialogue in (
        (("AUTH PLAIN", 334), (plain("anna"), 235)),
        ((f"auth plain {plain('anna', wanted='Anna')}", 235),),
        (("AUTH LOGIN", 334), (b64("anna"), 334), (b64(PASSWORD), 235)),
        ((f"AUTH LOGIN {b64('anna')}", 334), (b64(PASSWORD), 235)),
    ):
        with opened(box) as client:
            for said, code in dialogue:
                assert client.command(said).code == code, (dialogue, said)
            assert client.command("AUTH PLAIN").code == 503, "once is enough"


def test_what_is_no_exchange_is_refused_and_the_session_goes_on(box: RelayBox) -> None:
    with opened(box) as client:
        for dialogue in (
            (("AUTH", 501),),
            (("AUTH CRAM-MD5", 504),),
            (("AUTH PLAIN !!!", 501),),
            (("AUTH PLAIN =", 501),),
            ((f"AUTH PLAIN {b64('no nul')}", 501),),
            (("AUTH PLAIN /w==", 501),),
            (("AUTH PLAIN", 334), ("*", 501)),
            (("AUTH LOGIN", 334), ("*", 501)),
            (("AUTH LOGIN", 334), (b64("anna"), 334), ("*", 501)),
            (("AUTH LOGIN", 334), ("?", 501)),
            (("AUTH LOGIN", 334), ("x" * 3000, 500)),
        ):
            for said, code in dialogue:
                assert client.command(said).code == code, said
        assert client.command(f"AUTH PLAIN {plain('anna')}").code == 235
        for value, code in (("<>", 250), ("a+40b", 250), ("a@b.example", 250), ("a+4", 501)):
            assert client.command(f"MAIL FROM:<anna@example.com> AUTH={value}").code == code
            client.command("RSET")


def test_no_password_in_the_clear_and_none_on_25(box: RelayBox) -> None:
    with SmtpClient("127.0.0.1", box.port(Port.SUBMISSION)) as client:
        assert not [line for line in client.hello().lines if "AUTH" in line]
        assert client.command(f"AUTH PLAIN {plain('anna')}").lines[0].startswith("5.7.11")
        assert client.command("MAIL FROM:<anna@example.com>").text == "5.7.0 Issue STARTTLS first"
    with SmtpClient("127.0.0.1", box.port(Port.SMTP)) as client:
        client.hello()
        client.starttls()
        assert not [line for line in client.hello().lines if "AUTH" in line]
        assert client.command(f"AUTH PLAIN {plain('anna')}").code == 502


def test_switched_off_it_is_neither_offered_nor_taken(box: RelayBox) -> None:
    box.take({"submission.sign_in": False})
    try:
        with opened(box) as client:
            assert not [line for line in client.hello().lines if "AUTH" in line]
            assert client.command(f"AUTH PLAIN {plain('anna')}").code == 502
    finally:
        box.take({"submission.sign_in": True})


def test_the_sender_has_to_be_an_own_address(box: RelayBox) -> None:
    with opened(box) as client:
        client.command(f"AUTH PLAIN {plain('anna')}")
        for sender, code in (
            ("anna@example.com", 250),
            ("Anna+shop@example.net", 250),
            ("r.johnson@example.com", 550),
            ("anna@elsewhere.example", 550),
        ):
            assert client.command(f"MAIL FROM:<{sender}>").code == code, sender
            client.command("RSET")
        assert client.command("MAIL FROM:<>").code == 250
        assert client.command("RCPT TO:<a@elsewhere.example>").code == 250
        assert client.command("RCPT TO:<b@elsewhere.example>").code == 550


def test_a_disabled_account_ends_with_the_next_message(box: RelayBox) -> None:
    with opened(box) as client:
        client.command(f"AUTH PLAIN {plain('r.johnson')}")
        assert box.shop.sign_in is not None
        box.users.edit("r.johnson", enabled=False)
        try:
            box.shop.take_people(box.shop.sign_in.people())
            assert client.command("MAIL FROM:<r.johnson@example.com>").code == 530
        finally:
            box.users.edit("r.johnson", enabled=True)
            box.shop.take_people(box.shop.sign_in.people())


def test_the_sender_in_the_letter_is_an_own_address_too(box: RelayBox) -> None:
    def sent(head: bytes) -> tuple[int, str]:
        with opened(box) as client:
            client.command(f"AUTH PLAIN {plain('anna')}")
            letter = head + b"\r\nSubject: x\r\n\r\nx\r\n"
            answer = client.send_message("anna@example.com", ["b@example.org"], letter)
            return answer.code, answer.text

    assert sent(b"From: Anna <anna@example.net>")[0] == 250
    code, text = sent(b"From: anna@example.com, r.johnson@example.com")
    assert (code, text[:6]) == (553, "5.7.1 ")
    assert "of your own account" in text
    assert "r.johnson" not in text
    assert "anna signed in and writes in From: r.johnson" in box.events("refused")[-1]
    box.take({"submission.check_from": False})
    try:
        assert sent(b"From: r.johnson@example.com")[0] == 250
    finally:
        box.take({"submission.check_from": True})


def test_wrong_passwords_are_slowed_down_and_logged_without_them(box: RelayBox) -> None:
    codes = []
    for n in range(4):
        with opened(box) as client:
            for m in range(2):
                codes.append(client.command(f"AUTH PLAIN {plain('anna', f'secret{n}{m}')}").code)
    assert codes[:5] == [535] * 5
    assert set(codes[5:]) <= {454, 535}
    assert 454 in codes[5:]
    refused = box.events("sign-in-refused")
    assert "user=anna client=127.0.0.1 port=submission" in refused[-1]
    assert not [line for line in box.log if "secret" in line]
    assert not [line for line in box.log if PASSWORD in line]


def test_a_session_that_only_guesses_is_ended(box: RelayBox) -> None:
    with opened(box) as client:
        for _ in range(5):
            client.command(f"AUTH PLAIN {plain('anna', 'wrong')}")
        assert client.read_answer().code == 421


@pytest.mark.full
@pytest.mark.parametrize("port", [Port.SUBMISSION, Port.SUBMISSIONS])
def test_pythons_own_client_signs_in(box: RelayBox, port: Port) -> None:
    context = ssl._create_unverified_context()
    host, number = "127.0.0.1", box.port(port)
    client: smtplib.SMTP
    if port is Port.SUBMISSIONS:
        client = smtplib.SMTP_SSL(host, number, context=context)
    else:
        client = smtplib.SMTP(host, number)
        client.starttls(context=context)
    with client:
        client.login("anna", PASSWORD)
        assert client.sendmail("anna@example.com", ["x@elsewhere.example"], MESSAGE) == {}


def test_mail_to_an_account_needs_storage_for_mailboxes(box: RelayBox) -> None:
    with SmtpClient("127.0.0.1", box.port()) as client:
        client.hello()
        client.command("MAIL FROM:<a@client.example>")
        assert client.command("RCPT TO:<anna@example.com>").code == 550
        unknown = client.command("RCPT TO:<nobody@example.com>")
        assert client.command("RCPT TO:<anna@example.net>") == unknown, "strangers learn nothing"
    (why,) = {line.split("why=")[1].split(" client=")[0] for line in box.events("refused")[-1:]}
    assert "mailboxes are not kept here" in why


def test_the_file_of_the_accounts_is_not_touched(box: RelayBox) -> None:
    path: Path = box.folder / "accounts.db"
    before = path.read_bytes()
    with opened(box) as client:
        client.command(f"AUTH PLAIN {plain('anna')}")
    assert path.read_bytes() == before
