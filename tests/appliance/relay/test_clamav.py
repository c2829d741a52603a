"""The whole way to ClamAV: a real relay, a real rspamd behind it, a real clamd behind that."""

import io
import random
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from appliance.spool import trace
from tests.appliance.relay.test_content import GTUBE, HAM, header, queued, sent, with_file
from tests.support.clamd import EICAR, OWN_STRING, RealClamd
from tests.support.relay_box import RelayBox
from tests.support.rspamd import Rspamd
from tests.support.wait import wait_until

pytestmark = pytest.mark.full


def zipped(octets: bytes, name: str = "letter.txt") -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, octets)
    return file.getvalue()


INFECTED = {
    "EICAR": (with_file(EICAR), "Tests.Eicar"),
    "EICAR in a ZIP": (with_file(zipped(EICAR), "letter.zip"), "Tests.Eicar"),
    "EICAR in a ZIP in a ZIP": (
        with_file(zipped(zipped(EICAR), "inner.zip"), "outer.zip"),
        "Tests.Eicar",
    ),
    "a string in a file": (with_file(b"so here is " + OWN_STRING + b" indeed"), "Tests.Own.String"),
    "a string in the text": (HAM.replace(b"minutes", OWN_STRING), "Tests.Own.String"),
}


@pytest.fixture(scope="module")
def clamd() -> Iterator[RealClamd]:
    with RealClamd() as running:
        yield running


@pytest.fixture(scope="module")
def scanner(clamd: RealClamd) -> Iterator[Rspamd]:
    with Rspamd({"content.virus": True, "content.clamav": clamd.address}) as running:
        yield running


@pytest.fixture
def settings(scanner: Rspamd, clamd: RealClamd) -> dict[str, Any]:
    return {
        "content.scanner": scanner.address,
        "content.virus": True,
        "content.clamav": clamd.address,
        "content.refuse_score": 0,
    }


def rows(box: RelayBox) -> list[Any]:
    """The ledger's newest row, when there is one."""
    return box.run(box.shop.spool.look(lambda db: trace.ask(db, trace.Question(limit=1))))


def steps(box: RelayBox) -> list[list[str]]:
    """What it keeps of the newest message: station, result, reason."""
    (row,) = rows(box)
    return list(row["steps"])


@pytest.mark.parametrize("name", INFECTED)
def test_a_virus_is_refused_and_only_the_log_has_its_name(
    tmp_path: Path, settings: dict[str, Any], name: str
) -> None:
    content, signature = INFECTED[name]
    with RelayBox(tmp_path, settings, deliver=False) as box:
        answer = sent(box, content)
        assert (answer.code, answer.text[:5]) == (550, "5.7.1")
        assert "holds a virus" in answer.text
        assert signature not in answer.text
        assert signature in box.events("refused")[0]
        wait_until(lambda: rows(box), what="the refusal in the ledger")
        (row,) = rows(box)
        assert row["fate"] == "refused"
        assert signature in row["say"]


def test_a_virus_is_kept_back_where_the_setting_says_so(
    tmp_path: Path, settings: dict[str, Any]
) -> None:
    with RelayBox(
        tmp_path, {**settings, "content.virus_action": "quarantine"}, deliver=False
    ) as box:
        content, signature = INFECTED["EICAR in a ZIP"]
        signature += ".UNOFFICIAL"  # so clamd marks what is not of ClamAV's own database
        assert sent(box, content).code == 250
        assert queued(box)["held"]
        assert f"X-Virus-Status: infected ({signature})\r\n" in header(box, content)
        assert ["virus", "virus: note", f"kept back: {signature}"] in steps(box)


@pytest.mark.parametrize(
    "content",
    [HAM, with_file(b"nothing bad at all " * 2000), with_file(zipped(b"nothing bad"), "a.zip")],
    ids=["no file", "a file", "an archive"],
)
def test_what_is_clean_passes_without_a_word(
    tmp_path: Path, settings: dict[str, Any], content: bytes
) -> None:
    with RelayBox(tmp_path, settings, deliver=False) as box:
        assert sent(box, content).code == 250
        assert "X-Virus-Status" not in header(box, content)
        assert not [step for step in steps(box) if step[0] == "virus"]


def test_gtube_does_not_carry_a_virus_past(tmp_path: Path, settings: dict[str, Any]) -> None:
    with RelayBox(tmp_path, settings, deliver=False) as box:
        assert sent(box, with_file(EICAR).replace(b"see there", GTUBE)).code == 550


def test_a_message_larger_than_what_is_scanned_says_so_in_header_trace_and_ledger(
    tmp_path: Path, settings: dict[str, Any]
) -> None:
    with RelayBox(tmp_path, {**settings, "content.scan_bytes": 2**20}, deliver=False) as box:
        content = with_file(EICAR).replace(b"see there", b"see there\r\n" * 100_000)
        assert sent(box, content).code == 250
        head, why = header(box, content), "larger than the 1 MB that are scanned"
        assert f"X-Spam-Status: unknown, not judged ({why})\r\n" in head
        assert f"X-Virus-Status: unknown, not looked at ({why})\r\n" in head
        assert ["spam", "spam: note", f"not judged: {why}"] in steps(box)
        assert ["virus", "virus: note", f"not looked at: {why}"] in steps(box)


def test_a_large_message_is_looked_through_up_to_the_limit(
    tmp_path: Path, settings: dict[str, Any]
) -> None:
    with RelayBox(tmp_path, settings, deliver=False) as box:
        content = with_file(random.Random(1).randbytes(5_000_000) + OWN_STRING)
        assert sent(box, content).code == 550


def test_without_clamd_mail_goes_on_and_header_trace_and_state_say_that_nobody_looked(
    tmp_path: Path, settings: dict[str, Any], clamd: RealClamd
) -> None:
    content, _ = INFECTED["EICAR"]
    with RelayBox(tmp_path, settings, deliver=False) as box:
        clamd.stop()
        try:
            assert sent(box, content).code == 250
            head = header(box, content)
            assert "X-Virus-Status: unknown, not looked at (ClamAV does not answer)\r\n" in head
            assert "X-Spam-Status: No, score=" in head  # spam was judged all the same
            looked = ["virus", "virus: note", "not looked at: ClamAV does not answer"]
            assert looked in steps(box)
            assert box.shop.scanner is not None
            assert box.shop.scanner.finding().say == "ClamAV does not answer."
        finally:
            clamd.start()
        assert sent(box, content).code == 550
