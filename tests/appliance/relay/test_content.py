"""The content station with a real rspamd, and a stand-in for clamd behind it."""

import base64
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.clamd import EICAR, Clamd
from tests.support.relay_box import RelayBox
from tests.support.rspamd import Rspamd
from tests.support.smtp_client import Answer, SmtpClient

pytestmark = pytest.mark.full

GTUBE = b"XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X"
HEAD = (
    b"From: Ann <ann@sender.example>\r\nTo: bob@example.org\r\nSubject: Minutes\r\n"
    b"Date: Tue, 24 Nov 2026 10:00:00 +0000\r\nMessage-ID: <1@sender.example>\r\n"
)
HAM = HEAD + b"\r\nThe minutes of Tuesday's meeting are on the shelf.\r\n"
SPAM = HEAD + b"\r\n" + GTUBE + b"\r\n"


def with_file(octets: bytes, name: str = "report.dat") -> bytes:
    return (
        HEAD
        + b'MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary="b"\r\n\r\n--b\r\n'
        + b"Content-Type: text/plain\r\n\r\nsee there\r\n--b\r\n"
        + b"Content-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n"
        + f'Content-Disposition: attachment; filename="{name}"\r\n\r\n'.encode()
        + base64.encodebytes(octets).replace(b"\n", b"\r\n")
        + b"--b--\r\n"
    )


@pytest.fixture(scope="module")
def clamd() -> Iterator[Clamd]:
    with Clamd() as running:
        yield running


@pytest.fixture(scope="module")
def scanner(clamd: Clamd) -> Iterator[Rspamd]:
    with Rspamd({"content.virus": True, "content.clamav": clamd.address}) as running:
        yield running


def sent(box: RelayBox, content: bytes) -> Answer:
    with SmtpClient("127.0.0.1", box.port()) as client:
        client.hello()
        for line in ("MAIL FROM:<ann@sender.example>", "RCPT TO:<bob@example.org>"):
            assert client.command(line).code == 250
        return client.data(content)


def queued(box: RelayBox) -> dict[str, Any]:
    from appliance.spool import queries
    from appliance.spool.queries import Selection

    found = box.run(
        box.shop.spool.look(
            lambda db: queries.listing(db, Selection(), offset=0, limit=9, sort="-received_at")
        )
    )
    return dict(found["items"][0])


def header(box: RelayBox, content: bytes) -> str:
    """The header as it goes on, of the message that is queued last."""
    from appliance.spool import queries

    item = queued(box)
    number, _ = box.run(box.shop.spool.look(lambda db: queries.find(db, item["id"])))
    return box.run(box.shop.spool.header(number)).decode()


@pytest.mark.parametrize(
    ("settings", "flag", "held"),
    [
        ({"content.refuse_score": 0}, True, False),
        ({"content.refuse_score": 0, "content.quarantine_score": 12}, True, True),
        (
            {"content.refuse_score": 20, "content.mark_score": 16, "content.junk_score": 0},
            False,
            False,
        ),
    ],
)
def test_what_is_not_refused_is_marked_or_kept_back_by_the_thresholds(
    tmp_path: Path, scanner: Rspamd, settings: dict[str, Any], flag: bool, held: bool
) -> None:
    with RelayBox(tmp_path, {"content.scanner": scanner.address, **settings}, deliver=False) as box:
        assert sent(box, SPAM).code == 250
        head = header(box, SPAM)
        assert "X-Spam-Score: 15.0\r\n" in head
        assert ("X-Spam-Flag: YES\r\n" in head) is flag
        assert bool(queued(box)["held"]) is held


def test_spam_is_refused_with_a_sentence_and_ham_goes_on_with_its_score(
    tmp_path: Path, scanner: Rspamd
) -> None:
    with RelayBox(tmp_path, {"content.scanner": scanner.address}, deliver=False) as box:
        answer = sent(box, SPAM)
        assert (answer.code, answer.text[:5]) == (550, "5.7.1")
        assert "looks like spam" in answer.text
        assert "GTUBE" in box.events("refused")[0]
        assert sent(box, HAM).code == 250
        head = header(box, HAM)
        assert "X-Spam-Status: No, score=" in head
        assert "X-Spam-Flag" not in head


def test_a_virus_is_refused_and_other_files_pass(
    tmp_path: Path, scanner: Rspamd, clamd: Clamd
) -> None:
    settings = {
        "content.scanner": scanner.address,
        "content.virus": True,
        "content.clamav": clamd.address,
        "content.refuse_score": 0,
    }
    with RelayBox(tmp_path, settings, deliver=False) as box:
        answer = sent(box, with_file(EICAR))
        assert (answer.code, answer.text[:5]) == (550, "5.7.1")
        assert "holds a virus" in answer.text
        assert "Eicar-Test-Signature" in box.events("refused")[0]
        assert sent(box, with_file(b"nothing bad at all " * 20)).code == 250


def test_the_test_word_for_spam_does_not_smuggle_a_virus_past(
    tmp_path: Path, scanner: Rspamd, clamd: Clamd
) -> None:
    settings = {
        "content.scanner": scanner.address,
        "content.virus": True,
        "content.clamav": clamd.address,
        "content.refuse_score": 0,
    }
    with RelayBox(tmp_path, settings, deliver=False) as box:
        content = with_file(EICAR).replace(b"see there", GTUBE)
        assert sent(box, content).code == 550


def test_a_scanner_that_hangs_marks_mail_and_holds_it_up_no_longer_than_set(
    tmp_path: Path, scanner: Rspamd
) -> None:
    settings = {"content.scanner": scanner.address, "content.timeout_seconds": 1}
    with RelayBox(tmp_path, settings, deliver=False) as box:
        scanner.pause()
        try:
            began = time.monotonic()
            assert sent(box, SPAM).code == 250
            assert time.monotonic() - began < 5
            assert "X-Spam-Status: unknown, not judged (no answer within 1 seconds)" in header(
                box, SPAM
            )
        finally:
            scanner.resume()
        assert sent(box, SPAM).code == 550


def test_it_takes_little_memory(scanner: Rspamd) -> None:
    pss = scanner.pss_bytes()
    print(f"rspamd PSS {pss / 2**20:.0f} MiB in {len(scanner.pids())} processes")
    assert pss < 200 * 2**20
