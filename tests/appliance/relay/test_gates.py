"""The gates before the content, through real sessions, a real name server and a real next hop."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.dns.live import LiveResolver
from appliance.mail.address import parse
from appliance.policy.verdict import Port
from tests.support.dns_server import DnsServer
from tests.support.relay_box import RelayBox
from tests.support.smtp_client import Answer, SmtpClient
from tests.support.smtp_sink import Plan, SmtpSink
from tests.support.wait import wait_until

LETTER = b"From: a@client.example\r\nSubject: hi\r\n\r\nhello\r\n"
LISTED, CLEAN = "127.0.0.66", "127.0.0.77"
ZONES = {
    "client.example": {"MX": ["10 mx.client.example."]},
    "null.example": {"MX": ["0 ."]},
    "2.0.0.127.bl.example": {"A": ["127.0.0.2"]},
    "66.0.0.127.bl.example": {"A": ["127.0.0.4"], "TXT": ['"seen in a trap"']},
}


@pytest.fixture
def dns() -> Iterator[DnsServer]:
    with DnsServer(ZONES) as server:
        yield server


@pytest.fixture
def sink() -> Iterator[SmtpSink]:
    with SmtpSink() as sink:
        yield sink


def running(folder: Path, dns: DnsServer, sink: SmtpSink, **settings: object) -> RelayBox:
    raw = {
        "mail.relay_domains": [
            {
                "domain": "example.org",
                "host": sink.host,
                "port": sink.port,
                "verify_recipients": True,
            }
        ],
        "filter.check_sender_domain": True,
        "filter.dnsbl_zones": ["bl.example"],
        **{name.replace("__", "."): value for name, value in settings.items()},
    }
    resolver = LiveResolver(dns.host, dns.port)
    return RelayBox(folder, raw, resolver=resolver, deliver=False)  # type: ignore[arg-type]


def send(
    box: RelayBox,
    *,
    sender: str = "a@client.example",
    to: str = "b@example.org",
    source: str = CLEAN,
) -> Answer:
    with SmtpClient("127.0.0.1", box.port(Port.SMTP), source=source) as client:
        if client.banner.code != 220:
            return client.banner
        return client.send_message(sender, [to], LETTER)


def traces(box: RelayBox) -> str:
    """All traces of the ledger."""
    rows = box.run(
        box.shop.spool.look(lambda db: db.execute("SELECT steps FROM ledger").fetchall())
    )
    return " ".join(str(row[0]) for row in rows)


def test_a_listed_caller_is_refused_at_rcpt_by_the_lists_name(
    tmp_path: Path, dns: DnsServer, sink: SmtpSink
) -> None:
    with running(tmp_path, dns, sink, filter__dnsbl=True) as box:
        refused = send(box, source=LISTED)
        assert (refused.code, refused.text[:5]) == (550, "5.7.1")
        assert "bl.example" in refused.text
        assert "trap" not in refused.text
        assert send(box).code == 250
        assert send(box, source=LISTED, to="postmaster@example.org").code == 250
        (line,) = box.events("refused")
        assert "seen in a trap" in line


@pytest.mark.full
def test_fifty_connections_of_one_address_cost_one_look_up(
    tmp_path: Path, dns: DnsServer, sink: SmtpSink
) -> None:
    with running(tmp_path, dns, sink, filter__dnsbl=True) as box:
        for _ in range(50):
            assert send(box).code == 250
    questions = [question for question in dns.questions if question[1] in ("A", "MX")]
    assert questions.count(("77.0.0.127.bl.example", "A")) == 1
    assert questions.count(("client.example", "MX")) == 1


def test_a_permitted_sender_on_a_list_is_told_in_the_trace(
    tmp_path: Path, dns: DnsServer, sink: SmtpSink
) -> None:
    settings = {"filter.dnsbl": True, "senders.permitted": ["client.example # the printer"]}
    with running(tmp_path, dns, sink, **settings) as box:
        assert send(box, source=LISTED).code == 550
        wait_until(lambda: "the printer" in traces(box), what="the note", timeout_seconds=10)
        assert "station 2, dnsbl" in traces(box)
        box.take({"filter.permitted_skip_dnsbl": True, "senders.permitted": [LISTED]})
        assert send(box, source=LISTED).code == 250


def test_a_forbidden_address_is_refused_at_connect_and_a_forbidden_sender_at_mail(
    tmp_path: Path, dns: DnsServer, sink: SmtpSink
) -> None:
    settings = {"senders.forbidden": ["127.0.0.64/29", "bad@client.example"]}
    with running(tmp_path, dns, sink, **settings) as box:
        assert (send(box, source=LISTED).code) == 554
        assert send(box, source=LISTED).text.startswith("5.7.1")
        refused = send(box, sender="bad@client.example")
        assert (refused.code, refused.text[:5]) == (550, "5.7.1")
        assert send(box).code == 250


@pytest.mark.full
def test_senders_whose_domain_cannot_answer_are_refused(
    tmp_path: Path, dns: DnsServer, sink: SmtpSink
) -> None:
    dns.failing.add("broken.example")
    with running(tmp_path, dns, sink) as box:
        assert send(box, sender="a@nowhere.example").text.startswith("5.1.8")
        assert send(box, sender="a@null.example").text.startswith("5.7.27")
        assert send(box, sender="a@broken.example").code == 450
        assert send(box, sender="").code == 250


@pytest.mark.full
def test_a_stranger_comes_back_and_whom_we_write_to_is_not_delayed(
    tmp_path: Path, dns: DnsServer, sink: SmtpSink
) -> None:
    settings = {
        "filter.greylist": True,
        "filter.greylist_delay_seconds": 1,
        "relay.trusted_networks": ["127.0.0.9"],
        "outbound.route_overrides": [f"client.example|{sink.address}"],
    }
    with running(tmp_path, dns, sink, **settings) as box:
        first = send(box)
        assert (first.code, first.text[:5]) == (450, "4.7.1")
        wait_until(lambda: send(box).code == 250, what="the second try", timeout_seconds=10)
        assert send(box, sender="friend@client.example", source="127.0.1.1").code == 450
        assert send(box, to="friend@client.example", source="127.0.0.9").code == 250
        assert send(box, sender="friend@client.example", source="127.0.1.1").code == 250


def test_the_next_hop_is_asked_once_who_exists(
    tmp_path: Path, dns: DnsServer, sink: SmtpSink
) -> None:
    sink.plan = Plan(recipient="550 5.1.1 no such user here")
    with running(tmp_path, dns, sink) as box:
        for _ in range(3):
            refused = send(box)
            assert (refused.code, refused.text[:5]) == (550, "5.1.1")
        assert sink.sessions == 1
        assert "no such user here" not in refused.text
        assert "no such user here" in box.events("refused")[0]


@pytest.mark.full
def test_a_next_hop_that_cannot_say_lets_mail_wait_in_the_queue(
    tmp_path: Path, dns: DnsServer, sink: SmtpSink
) -> None:
    sink.plan = Plan(recipient="450 4.2.0 come back later")
    with running(tmp_path, dns, sink) as box:
        assert send(box).code == 250
        sink.go_down()
        assert send(box, to="c@example.org").code == 250
        assert "could not be asked" in traces(box)


@pytest.mark.full
def test_a_next_hop_that_takes_everybody_is_noticed(
    tmp_path: Path, dns: DnsServer, sink: SmtpSink
) -> None:
    with running(tmp_path, dns, sink) as box:
        assert send(box).code == 250
        (finding,) = box.memories.findings(dnsbl=True)
        assert "even an invented address" in finding.say
        sink.plan = Plan(recipients={"gone@example.org": "550 5.1.1 gone"})
        assert send(box, to="gone@example.org").code == 550  # a no counts all the same
        asked = sink.sessions
        box.run(box.memories.call_ahead.ask("example.org", parse("b@example.org")))
        assert sink.sessions == asked
