"""Aliases, forwards and copies through a real relay, with real servers at the other end."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from appliance.policy.people import People, Person
from appliance.policy.verdict import Port
from appliance.spool.trace import Question, ask
from tests.support.relay_box import RelayBox
from tests.support.relay_process import RelayProcess
from tests.support.smtp_client import SmtpClient
from tests.support.smtp_sink import Delivered, Plan, SmtpSink
from tests.support.wait import wait_until

LETTER = b"From: a@client.example\r\nTo: info@example.com\r\nSubject: hi\r\n\r\nHello\r\n"
PEOPLE = People.of(Person(name) for name in ("r.johnson", "j.smith", "archive"))


@pytest.fixture
def inside() -> Iterator[SmtpSink]:
    """Stands where the mailboxes are."""
    with SmtpSink() as sink:
        yield sink


@pytest.fixture
def outside() -> Iterator[SmtpSink]:
    """The rest of the world."""
    with SmtpSink() as sink:
        yield sink


class Office:
    """A box with aliases; mail for example.com goes to one server, the rest to another."""

    def __init__(self, box: RelayBox, inside: SmtpSink, outside: SmtpSink) -> None:
        self.box, self.inside, self.outside = box, inside, outside

    def rules(self, *aliases: str, **more: Any) -> None:
        self.box.take({"rules.aliases": list(aliases), **more})

    def send(self, *lines: str, letter: bytes = LETTER) -> int:
        """Say these commands and a message; the code of the reply that decided it."""
        with SmtpClient("127.0.0.1", self.box.port(Port.SMTP)) as client:
            client.hello()
            for line in lines:
                answer = client.command(line)
                if answer.code != 250:
                    return answer.code
            return client.data(letter).code

    def write(self, to: str, sender: str = "a@client.example", letter: bytes = LETTER) -> int:
        return self.send(f"MAIL FROM:<{sender}>", f"RCPT TO:<{to}>", letter=letter)

    def ledger(self) -> list[dict[str, Any]]:
        def ask(db: Any) -> list[dict[str, Any]]:
            names = ("id", "from", "to", "fate", "steps")
            found = db.execute(
                "SELECT queue_id, mail_from, recipient, fate, steps FROM ledger ORDER BY id"
            )
            return [dict(zip(names, row, strict=True)) for row in found]

        return self.box.run(self.box.shop.spool.look(ask))

    def settle(self) -> None:
        """Until nothing waits any more."""
        wait_until(
            lambda: not any(row["fate"] in ("queued", "deferred") for row in self.ledger()),
            what="an empty queue",
            timeout_seconds=30,
        )


@pytest.fixture
def office(inside: SmtpSink, outside: SmtpSink, tmp_path: Path) -> Iterator[Office]:
    overrides = ["away.example", "client.example", "elsewhere.example"]
    with RelayBox(
        tmp_path,
        {
            "mail.relay_domains": [f"relay.example | {inside.address}"],
            "delivery.lmtp": "127.0.0.1:1",  # never asked: the special routes go first
            "outbound.route_overrides": [
                f"example.com|{inside.address}",
                *(f"{name}|{outside.address}" for name in overrides),
            ],
        },
    ) as box:
        box.shop.take_people(PEOPLE)
        yield Office(box, inside, outside)


def readers(messages: list[Delivered]) -> list[str]:
    return sorted(name for message in messages for name in message.recipients)


def test_a_group_reaches_a_mailbox_and_two_servers_each_once(office: Office) -> None:
    office.rules("info: r.johnson, sales, x@away.example", "sales: y@relay.example, r.johnson")
    assert office.write("info@example.com") == 250
    office.settle()
    assert readers(office.inside.messages) == ["r.johnson@example.com", "y@relay.example"]
    assert readers(office.outside.messages) == ["x@away.example"]
    rows = office.ledger()
    assert [row["to"] for row in rows] == [
        "r.johnson@example.com", "x@away.example", "y@relay.example",
    ]  # fmt: skip
    first = rows[0]["id"]
    assert [row["id"] for row in rows] == [first, f"{first}-1", f"{first}-2"]
    step = json.loads(rows[2]["steps"])[-1]
    assert step == ["rewrite", "info@example.com → y@relay.example", "alias info → sales"]
    for search in (first, f"{first}-1", "INFO@example.com"):
        looked = partial(ask, question=Question(words=(search,)))
        traced = office.box.run(office.box.shop.spool.look(looked))
        assert len(traced) == 3, search
    (letter,) = office.outside.messages
    assert letter.data.endswith(LETTER)
    assert letter.data.startswith(b"Delivered-To: info@example.com\r\nReceived: ")


@pytest.mark.full
def test_a_large_message_is_stored_once_and_read_by_all(office: Office) -> None:
    office.rules("info: r.johnson, x@away.example", **{"rules.copy_incoming": "archive"})
    large = LETTER + b"0123456789abcdef\r\n" * 20_000
    office.inside.plan = Plan(recipient="450 4.2.0 later")
    assert office.write("info@example.com", letter=large) == 250
    office.outside.wait_for_messages(1, timeout_seconds=30)
    assert len(list((office.box.folder / "spool" / "bodies").iterdir())) == 1
    office.inside.plan = Plan()
    office.settle()
    everybody = [*office.inside.messages, *office.outside.messages]
    assert readers(everybody) == [
        "archive@example.com", "r.johnson@example.com", "x@away.example",
    ]  # fmt: skip
    assert all(message.data.endswith(large) for message in everybody)
    bodies = office.box.folder / "spool" / "bodies"
    wait_until(lambda: not list(bodies.iterdir()), what="no body left", timeout_seconds=10)


@pytest.mark.full
def test_a_circle_gives_one_copy_to_each_mailbox(office: Office) -> None:
    office.rules("r.johnson: j.smith, r.johnson", "j.smith: r.johnson")
    assert office.write("j.smith@example.com") == 250
    office.settle()
    assert readers(office.inside.messages) == ["j.smith@example.com", "r.johnson@example.com"]


@pytest.mark.full
def test_somebody_named_twice_gets_one_copy(office: Office) -> None:
    office.rules("info: r.johnson, j.smith", "staff: j.smith")
    names = ("info@example.com", "R.Johnson@example.com", "staff@example.com")
    assert office.send("MAIL FROM:<a@client.example>", *(f"RCPT TO:<{n}>" for n in names)) == 250
    office.settle()
    assert readers(office.inside.messages) == ["R.Johnson@example.com", "j.smith@example.com"]


@pytest.mark.full
def test_who_is_nobody_is_refused_and_who_is_boundless_is_put_off(office: Office) -> None:
    chain = [f"a{n}: a{n + 1}" for n in range(25)]
    office.rules("lost: gone", "round: again", "again: round", *chain, "a25: r.johnson")
    assert office.write("nobody@example.com") == 550
    assert office.write("lost@example.com") == 550
    assert office.write("round@example.com") == 550
    assert office.write("a0@example.com") == 451
    assert office.write("a20@example.com") == 250


def test_a_forward_passes_spf_and_its_bounce_comes_home(office: Office) -> None:
    office.rules("info: x@away.example")
    office.outside.plan = Plan(recipients={"x@away.example": "550 5.1.1 nobody of that name"})
    assert office.write("info@example.com") == 250
    (report,) = office.outside.wait_for_messages(1, timeout_seconds=30)
    assert (report.mail_from, report.recipients) == ("", ("a@client.example",))
    assert b"Original-Recipient: rfc822;info@example.com" in report.data
    office.outside.plan = Plan()
    assert office.write("info@example.com") == 250
    _, letter = office.outside.wait_for_messages(2, timeout_seconds=30)
    sender = letter.mail_from
    assert re.fullmatch(r"SRS0=\w+=\w\w=client\.example=a@example\.com", sender)
    # The other server took it and bounces it later: to the sender that it saw.
    bounce = b"From: MAILER-DAEMON@away.example\r\nSubject: no\r\n\r\nno\r\n"
    assert office.write(sender.lower(), sender="", letter=bounce) == 250
    home = office.outside.wait_for_messages(3, timeout_seconds=30)[2]
    assert (home.mail_from, home.recipients) == ("", ("a@client.example",))
    assert office.write(sender, sender="spammer@elsewhere.example") == 550, "not a way through"
    forged = sender.replace("client.example", "elsewhere.example")
    assert office.write(forged, sender="") == 550


@pytest.mark.full
def test_our_own_sender_and_the_null_sender_are_not_rewritten(office: Office) -> None:
    office.rules("info: x@away.example")
    assert office.write("info@example.com", sender="r.johnson@example.com") == 250
    assert office.write("info@example.com", sender="") == 250
    office.settle()
    senders = [message.mail_from for message in office.outside.messages]
    assert senders == ["r.johnson@example.com", ""]


@pytest.mark.full
def test_a_message_that_comes_back_to_its_alias_is_refused(office: Office) -> None:
    office.rules("info: x@away.example")
    assert office.write("info@example.com") == 250
    office.settle()
    (letter,) = office.outside.messages
    assert office.write("info@example.com", letter=letter.data) == 554
    office.rules("info: r.johnson")
    assert office.write("info@example.com", letter=letter.data) == 250, "no way out, no circle"


@pytest.mark.full
def test_two_boxes_that_forward_to_each_other_end_the_circle(
    outside: SmtpSink, tmp_path: Path
) -> None:
    one, two = RelayProcess(tmp_path / "one"), RelayProcess(tmp_path / "two")
    for here, there, name, other in ((one, two, "a", "b"), (two, one, "b", "a")):
        rendered = here.folder / "run" / "rendered" / "relay.json"
        document = json.loads(rendered.read_text())
        document["settings"] |= {
            "mail.hostname": f"box.{name}.example",
            "mail.main_domain": f"{name}.example",
            "rules.aliases": [f"loop: loop@{other}.example"],
            "outbound.route_overrides": [
                f"{other}.example|127.0.0.1:{there.port}", f"client.example|{outside.address}",
            ],
        }  # fmt: skip
        rendered.write_text(json.dumps(document))
        here.start()
    try:
        with SmtpClient("127.0.0.1", one.port) as client:
            answer = client.send_message("a@client.example", ["loop@a.example"], LETTER)
        assert answer.code == 250
        (report,) = outside.wait_for_messages(1, timeout_seconds=60)
    finally:
        one.stop()
        two.stop()
    assert (report.mail_from, report.recipients) == ("", ("a@client.example",))
    assert b"Action: failed" in report.data
    assert b"going round in circles" in report.data
    assert len(outside.messages) == 1
    log = (tmp_path / "one" / "log" / "mail.log").read_text()
    assert log.count(" check=alias ") == 1
    logs = log + (tmp_path / "two" / "log" / "mail.log").read_text()
    assert logs.count(" event=queued ") == 4, "out, on, and the report by both boxes"


@pytest.mark.full
def test_wishes_for_reports_are_passed_on(office: Office) -> None:
    office.rules("one: r.johnson", "many: r.johnson, x@away.example")
    for name in ("one", "many"):
        lines = ("MAIL FROM:<a@client.example> RET=HDRS ENVID=e7",)
        lines += (f"RCPT TO:<{name}@example.com> NOTIFY=SUCCESS ORCPT=rfc822;{name}@old.example",)
        assert office.send(*lines) == 250
    office.settle()

    assert len(office.ledger()) == 5, "three readers and two reports"
    reports = [m for m in office.outside.messages if m.mail_from == ""]
    actions = sorted(re.findall(rb"Action: (\w+)", b"".join(m.data for m in reports)))
    assert actions == [b"expanded", b"relayed"]
    assert all(m.recipients == ("a@client.example",) for m in reports)
    expanded = next(m.data for m in reports if b"Action: expanded" in m.data)
    assert b"Original-Recipient: rfc822;many@old.example" in expanded


def test_all_mail_is_copied_once_and_a_failing_copy_disturbs_nobody(office: Office) -> None:
    office.rules(
        "info: r.johnson",
        **{
            "rules.copy_incoming": "kept@away.example",
            "rules.copy_outgoing": "sent@away.example",
            "relay.trusted_networks": ["127.0.0.2/32"],
        },
    )
    office.outside.plan = Plan(recipients={"kept@away.example": "550 5.2.2 full"})
    assert office.write("info@example.com") == 250
    office.settle()
    assert readers(office.inside.messages) == ["r.johnson@example.com"]
    assert office.outside.messages == [], "nobody hears of the copy"
    rows = office.ledger()
    assert [(row["to"], row["from"], row["fate"]) for row in rows] == [
        ("r.johnson@example.com", "a@client.example", "delivered"),
        ("kept@away.example", None, "bounced"),
    ]
    assert any(" direction=copy" in line for line in office.box.events("queued"))
    office.outside.plan = Plan()
    assert office.write("info@example.com") == 250
    office.settle()
    (copy,) = office.outside.messages
    assert (copy.mail_from, copy.recipients) == ("", ("kept@away.example",))
    # A report is not copied, nor is a copy that somebody sends back under another sender.
    assert office.write("info@example.com", sender="") == 250
    assert office.write("info@example.com", letter=copy.data) == 250
    forged = copy.data.replace(b"X-Pennypost-Copy-Of: ", b"X-Pennypost-Copy-Of: x")
    assert office.write("info@example.com", letter=forged) == 250
    office.settle()
    assert readers(office.outside.messages) == ["kept@away.example"] * 2


@pytest.mark.full
def test_outgoing_mail_is_copied_to_its_own_address_unless_that_reads_it_anyway(
    office: Office,
) -> None:
    copies = {"rules.copy_outgoing": "archive", "relay.trusted_networks": ["127.0.0.1/32"]}
    office.rules("info: r.johnson, archive", **copies)
    assert office.write("someone@away.example") == 250
    assert office.write("info@example.com") == 250
    office.settle()
    assert readers(office.inside.messages) == [
        "archive@example.com", "archive@example.com", "r.johnson@example.com",
    ]  # fmt: skip
    assert sorted(m.mail_from for m in office.inside.messages) == ["", "a@client.example"]


@pytest.mark.full
@settings(max_examples=60, suppress_health_check=list(HealthCheck), deadline=None)
@given(
    st.from_regex(
        r"(SRS[01]|srs0)[=+-][A-Z2-7=]{0,12}=[A-Z2-7]{2}=(away|client)\.example=[a-z]{1,5}",
        fullmatch=True,
    ),
    st.sampled_from(["", "a@client.example"]),
)
def test_no_forged_rewritten_sender_opens_the_relay(
    office: Office, local: str, sender: str
) -> None:
    office.rules("info: x@away.example")
    assert office.send(f"MAIL FROM:<{sender}>", f"RCPT TO:<{local}@example.com>") in (550, 553)
