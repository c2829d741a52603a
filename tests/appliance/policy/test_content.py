"""What becomes of a message by its score, and the header fields that tell it."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import pytest

from appliance.base.clock import FakeClock
from appliance.dns.resolver import FakeResolver
from appliance.mail import address
from appliance.policy import content
from appliance.policy.rules import Rules
from appliance.policy.scan import ScanRequest, ScanResult
from appliance.policy.tools import Tools
from appliance.policy.verdict import Action, Disposition, Facts, Port
from appliance.settings import schema

BASE = {"mail.relay_domains": ["example.org | 10.0.0.1"], "mail.main_domain": "example.com"}


class Text:
    def __init__(self, head: bytes) -> None:
        self.head = head

    def body_blocks(self) -> Iterable[bytes]:
        return (b"hello\r\n",)

    def read(self) -> bytes:
        return self.head + b"\r\nhello\r\n"


def rules(**settings: Any) -> Rules:
    named = {f"content.{name}": value for name, value in settings.items()}
    return Rules.from_settings(schema.from_json({**BASE, **named}))


def facts(score: float = 0, head: bytes = b"Subject: x\r\n", **more: Any) -> Facts:
    found = Facts(client="192.0.2.1", port=Port.SMTP, trusted=False)
    found.message = Text(head)
    found.recipients = (address.parse("bob@example.org"),)
    found.scan = replace(ScanResult(judged=True, score=score), **more)
    return found


@pytest.mark.parametrize(
    ("score", "disposition"),
    [
        (-3, Disposition.DELIVER),
        (5.9, Disposition.DELIVER),
        (6, Disposition.MARK),
        (8, Disposition.JUNK),
        (12, Disposition.QUARANTINE),
    ],
)
def test_the_thresholds_decide(score: float, disposition: Disposition) -> None:
    found = facts(score)
    verdict = content.spam(found, rules(quarantine_score=12))
    assert verdict is not None
    assert verdict.action is Action.NOTE
    assert found.disposition is disposition
    assert any(field.startswith(b"X-Spam-Score: ") for field in found.fields)


def test_from_the_last_threshold_on_it_is_refused_and_at_nought_never() -> None:
    verdict = content.spam(facts(15), rules())
    assert verdict is not None
    assert verdict.action is Action.REJECT
    kept = content.spam(facts(1500), rules(refuse_score=0))
    assert kept is not None
    assert kept.action is Action.NOTE


@pytest.mark.parametrize("ours", [{"permitted": True}, {"trusted": True}, {"user": "ann"}])
def test_permitted_senders_and_our_own_are_not_judged_for_spam(ours: dict[str, Any]) -> None:
    found = facts(99)
    for name, value in ours.items():
        setattr(found, name, value)
    assert content.spam(found, rules()) is None
    assert found.fields == []
    judged = content.spam(found, rules(spam_for_own=True)) is not None
    assert judged is ("permitted" not in ours)


def test_viruses_of_permitted_senders_are_refused_unless_switched_off() -> None:
    on = {"virus": True, "clamav": "127.0.0.1"}
    found = facts(viruses=("Eicar",))
    found.permitted = True
    verdict = content.viruses(found, rules(**on))
    assert verdict is not None
    assert verdict.action is Action.REJECT
    assert content.viruses(found, rules(**on, virus_for_permitted=False)) is None


def test_a_virus_may_be_kept_back_instead() -> None:
    found = facts(viruses=("Eicar",))
    content.viruses(found, rules(virus=True, clamav="127.0.0.1", virus_action="quarantine"))
    assert found.disposition is Disposition.QUARANTINE


def test_from_the_score_for_junk_on_the_letter_says_where_it_belongs() -> None:
    marked, junk = facts(7, judged=True), facts(8, judged=True)
    for found in (marked, junk):
        content.spam(found, rules())
        assert b"X-Spam-Flag: YES\r\n" in found.fields
    assert content.IS_JUNK not in marked.fields
    assert content.IS_JUNK in junk.fields


def test_forged_fields_go_and_nothing_else() -> None:
    head = (
        b"X-Spam-Flag: NO\r\nSubject: x-spam-flag: here\r\nx-spam-STATUS : No,\r\n\tscore=-99\r\n"
        b"X-Spam-Checker: theirs\r\nX-Virus-Status: clean\r\nX-Spam-Action: junk\r\n"
    )
    found = facts(head=head)
    assert content.without_forged(found, rules()) is not None
    assert found.new_head == b"Subject: x-spam-flag: here\r\nX-Spam-Checker: theirs\r\n"
    assert content.without_forged(facts(), rules()) is None


def test_a_rule_s_name_cannot_break_the_header() -> None:
    found = facts(7, symbols=("A\r\nBcc: x@y.example", "Bé"), judged=True)
    content.spam(found, rules())
    assert b"\r\nBcc" not in b"".join(found.fields)


def test_marked_mail_for_a_relay_domain_gets_its_mark_in_the_subject() -> None:
    found = facts(7, head=b"From: a@b.c\r\nSubject: Buy\r\n")
    content.spam(found, rules(subject_tag="[SPAM]"))
    assert found.new_head == b"From: a@b.c\r\nSubject: [SPAM] Buy\r\n"
    found = facts(7)
    found.recipients = (address.parse("bob@example.com"),)
    content.spam(found, rules(subject_tag="[SPAM]"))
    assert found.new_head is None


@dataclass
class Asked:
    """A scanner that keeps what it was given."""

    content: bytes = b""
    size: int = 0

    async def scan(self, request: ScanRequest) -> ScanResult:
        self.content, self.size = b"".join(request.blocks()), request.size
        return ScanResult(judged=True)


def asked(found: Facts, in_force: Rules) -> Asked:
    scanner = Asked()
    tools = Tools(resolver=FakeResolver(), clock=FakeClock(), scanner=scanner)
    asyncio.run(content.ask(found, in_force, tools))
    return scanner


def test_the_scanner_gets_the_message_as_it_came() -> None:
    found = facts()
    found.size = len(Text(b"Subject: x\r\n").read())
    scanner = asked(found, rules())
    assert scanner.content == b"Subject: x\r\n\r\nhello\r\n"
    assert scanner.size == len(scanner.content)


def test_a_message_too_large_to_be_scanned_says_so_in_header_and_trace() -> None:
    found = facts()
    found.size = 10 * 2**20 + 1
    in_force = rules(virus=True, clamav="127.0.0.1")
    assert asked(found, in_force).content == b""
    for judge, field in ((content.spam, b"X-Spam-Status"), (content.viruses, b"X-Virus-Status")):
        verdict = judge(found, in_force)
        assert verdict is not None
        assert verdict.action is Action.NOTE
        assert verdict.why.endswith("larger than the 10 MB that are scanned")
        assert any(line.startswith(field + b": unknown") for line in found.fields)
