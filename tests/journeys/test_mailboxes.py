"""Mailboxes on the booted box and its real disks: a letter in, read, one out; pulled and back."""

from __future__ import annotations

import email
import imaplib
import json
import poplib
import smtplib
import ssl
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.journeys.conftest import SAS, SATA
from tests.journeys.test_spam_filter import wait_for_spam_filter
from tests.support.box import Box
from tests.support.machine import Bay
from tests.support.manage_sieve import ManageSieve
from tests.support.smtp_sink import SmtpSink
from tests.support.wait import wait_until

pytestmark = [pytest.mark.image, pytest.mark.timeout(3600)]
LETTER = (
    b"From: <carl@example.org>\r\nTo: <anna@office.example>\r\nSubject: hello\r\n"
    b"Message-ID: <in@example.org>\r\nDate: Mon, 23 Nov 2026 10:00:00 +0000\r\n\r\n"
    b".dot\r\n..two\r\n\ttab  \r\n\xe4\xf6\xfc\r\n\r\nend\r\n"
)
TOLD_SECONDS = 15.0  # from the pull to the sentence
HELD = 20  # letters that come while the disk is away


def unchecked() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def state(box: Box) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(box.root("cat /run/pennypost/maildisk.json"))
    return told


def becomes(box: Box, word: str, *, timeout_seconds: float = 120.0) -> None:
    """Wait until the state of the mail disk has that word."""
    wait_until(
        lambda: state(box)["state"] == word,
        what=f"the mail disk {word}",
        timeout_seconds=timeout_seconds,
        every_seconds=0.3,
    )


def connect(box: Box, bay: Bay) -> None:
    """Make the empty disk in a bay the mailbox disk."""
    start = time.monotonic()
    box.root(f"pennypost disk connect {bay.serial}", timeout_seconds=300)
    becomes(box, "ready")
    print(f"{bay.kind}: connected after {time.monotonic() - start:.1f} s")


def open_mailboxes(box: Box) -> str:
    """On the connected disk, with an account for Anna; her password."""
    options = box.root("findmnt -no OPTIONS /srv/mail").split(",")
    assert {"nosuid", "nodev", "noexec"} <= set(options)
    box.root(
        "pennypost settings set mail.main_domain=office.example mailboxes.enabled=true"
        " mailboxes.pop3s=true submission.sign_in=true filter.check_sender_domain=false"
    )
    made = json.loads(box.root("pennypost account add anna --name Anna --generate --json"))
    return str(made["password"])


def with_mailboxes(box: Box, bay: Bay) -> str:
    """Connect the empty disk, open the mailboxes, make Anna's account; her password."""
    connect(box, bay)
    return open_mailboxes(box)


def imap(box: Box, password: str) -> imaplib.IMAP4_SSL:
    client = imaplib.IMAP4_SSL("127.0.0.1", box.port(993), ssl_context=unchecked(), timeout=60)
    client.login("anna@office.example", password)
    return client


def letters(box: Box, password: str) -> list[bytes]:
    client = imap(box, password)
    client.select("INBOX", readonly=True)
    numbers = client.search(None, "ALL")[1][0].split()
    parts = [client.fetch(number.decode(), "(BODY.PEEK[])")[1][0] for number in numbers]
    client.logout()
    return [part[1] for part in parts if isinstance(part, tuple)]


def wait_for_letters(box: Box, password: str, count: int) -> list[bytes]:
    return wait_until(
        lambda: found if len(found := letters(box, password)) >= count else None,
        what=f"{count} letters",
        timeout_seconds=240,
        ignore=(imaplib.IMAP4.error, OSError),
    )


def post(box: Box) -> None:
    with box.smtp() as stranger:
        answer = stranger.send_message("carl@example.org", ["anna@office.example"], LETTER)
        assert answer.code == 250, answer


def submit(box: Box, password: str, identifiers: list[str]) -> None:
    """Letters from Anna to herself, with these Message-IDs."""
    with smtplib.SMTP("127.0.0.1", box.port(587), timeout=60) as out:
        out.starttls(context=unchecked())
        out.login("anna", password)
        for identifier in identifiers:
            letter = LETTER.replace(b"carl@example.org", b"anna@office.example")
            letter = letter.replace(b"<in@example.org>", identifier.encode())
            out.sendmail("anna@office.example", ["anna@office.example"], letter)


def identifiers_of(letters: list[bytes]) -> list[str]:
    return sorted(str(email.message_from_bytes(letter)["Message-ID"]) for letter in letters)


def is_told_to_wait(box: Box, password: str) -> bool:
    try:
        imap(box, password).logout()
    except imaplib.IMAP4.error as error:
        return "UNAVAILABLE" in str(error)
    return False


def test_a_letter_comes_in_is_read_and_one_goes_out_and_a_cut_keeps_it(
    ready_box: Box, next_hop: SmtpSink
) -> None:
    box = ready_box
    rows = {row["serial"]: row for row in json.loads(box.root("pennypost --json disk list"))}
    assert (rows[SATA.serial]["bus"], rows[SAS.serial]["bus"]) == ("sata", "sas")
    assert rows[SATA.serial]["eligible"]
    assert rows[SAS.serial]["eligible"]
    password = with_mailboxes(box, SATA)
    post(box)
    (letter,) = wait_for_letters(box, password, 1)
    assert letter.partition(b"\r\n\r\n")[2] == LETTER.partition(b"\r\n\r\n")[2]
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
    box.cut_power()
    box.power_on()
    box.wait_for_smtp()
    becomes(box, "ready", timeout_seconds=240)
    assert wait_for_letters(box, password, 1) == [letter]
    assert box.failed_units() == []


FILTER = """require ["vacation", "copy"];
redirect :copy "office@example.com";
vacation :days 1 "I am away.";
"""
# Long enough to be learnt from.
WORDY = LETTER + b" ".join(b"word%d" % number for number in range(60)) + b"\r\n"
# What rspamd says it has learnt of spam; the socket is for root and the mailboxes.
LEARNT = """
import json, socket
with socket.socket(socket.AF_UNIX) as sock:
    sock.connect("/run/pennypost-learn/learn.sock")
    sock.sendall(b"GET /stat HTTP/1.0\\r\\n\\r\\n")
    told = json.loads(sock.makefile("rb").read().partition(b"\\r\\n\\r\\n")[2])
print({one["symbol"]: one["revision"] for one in told["statfiles"]}["BAYES_SPAM"])
"""


def test_a_filter_answers_and_forwards_and_what_is_moved_to_junk_is_learnt(
    ready_box: Box, next_hop: SmtpSink
) -> None:
    box = ready_box
    password = with_mailboxes(box, SATA)
    # Filters may be changed from trusted networks only.
    box.root("pennypost settings set mailboxes.managesieve=true relay.trusted_networks=10.0.2.0/24")
    with wait_until(
        lambda: ManageSieve(box.port(4190)),
        what="ManageSieve",
        ignore=(OSError, AssertionError),
    ) as filters:
        filters.start_tls(unchecked())
        filters.sign_in("anna", password)
        filters.put("away", FILTER)
    with box.smtp() as stranger:
        answer = stranger.send_message("carl@example.com", ["anna@office.example"], WORDY)
        assert answer.code == 250, answer
    wait_for_letters(box, password, 1)
    next_hop.wait_for_messages(2)  # both go to the office's server
    to = {recipient for message in next_hop.messages for recipient in message.recipients}
    assert to == {"office@example.com", "carl@example.com"}
    wait_for_spam_filter(box)  # it begins anew with the mailboxes
    before = int(box.root(f"python3 -c '{LEARNT}'"))
    client = imap(box, password)
    client.select("INBOX")
    client._simple_command("MOVE", "1", "Junk")
    client.logout()
    wait_until(
        lambda: int(box.root(f"python3 -c '{LEARNT}'")) > before,
        what="the letter learnt",
        timeout_seconds=60,
    )
    assert box.failed_units() == []


def pull_sata(box: Box) -> Callable[[], None]:
    """Take the controller away, with the disk on it; what puts it back."""
    name = box.root("lsblk -dno NAME,TRAN | awk '$2 == \"sata\" {print $1}'")
    place = box.root(f"readlink -f /sys/block/{name}/device").split("/ata")[0]
    box.root(f"echo 1 >{place}/remove")
    return lambda: box.root("echo 1 >/sys/bus/pci/rescan") and None


def pull_sas(box: Box) -> Callable[[], None]:
    """Pull the disk; no event tells the box so, nor that it is back: it has to look."""
    box.machine.qmp.command("device_del", id="bay2-disk")

    def back() -> None:
        facts = {"serial": SAS.serial, "wwn": SAS.wwn, "vendor": "PENNY", "product": "LABSAS"}
        box.machine.qmp.command(
            "device_add", driver="scsi-hd", bus="sas2.0", drive="bay2", id="bay2-disk", **facts
        )

    return back


@pytest.mark.parametrize(("bay", "pull"), [(SATA, pull_sata), (SAS, pull_sas)])
def test_a_pulled_disk_is_told_mail_waits_and_it_is_drawn_when_the_disk_is_back(
    ready_box: Box, bay: Bay, pull: Callable[[Box], Callable[[], None]]
) -> None:
    box = ready_box
    password = with_mailboxes(box, bay)
    post(box)
    wait_for_letters(box, password, 1)
    start = time.monotonic()
    put_back = pull(box)
    becomes(box, "missing", timeout_seconds=60)
    told = time.monotonic() - start
    print(f"{bay.kind}: told {told:.1f} s after the pull")
    assert told < TOLD_SECONDS
    said = state(box)
    assert said["say"]
    assert said["fix"]
    wait_until(lambda: is_told_to_wait(box, password), what="UNAVAILABLE", timeout_seconds=60)
    held = [f"<held-{number}@office.example>" for number in range(HELD)]
    submit(box, password, held)
    assert box.root("pennypost queue list").count("anna@office.example") >= HELD
    assert box.ask("findmnt -n /srv/mail")[0] != 0
    assert box.root("ls /srv/mail").split() in ([], ["README"])
    start = time.monotonic()
    put_back()
    becomes(box, "ready")
    ready = time.monotonic() - start
    wait_for_letters(box, password, HELD + 1)
    drawn = time.monotonic() - start
    print(f"{bay.kind}: ready {ready:.1f} s after it was put back, all drawn after {drawn:.1f} s")
    wait_until(
        lambda: "anna@office.example" not in box.root("pennypost queue list"), what="empty queue"
    )
    assert identifiers_of(letters(box, password)) == sorted(["<in@example.org>", *held])
