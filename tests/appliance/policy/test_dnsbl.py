"""Block lists by RFC 5782: names, answers, proofs and the verdict."""

from __future__ import annotations

import asyncio

import pytest

from appliance.dns.resolver import FakeResolver
from appliance.mail.address import parse
from appliance.policy import dnsbl
from appliance.policy.rules import Rules
from appliance.policy.verdict import Action, BlockLists, Facts, Listing, Port
from appliance.settings import schema

ZONE = "bl.example"
GOOD = {f"2.0.0.127.{ZONE}": ["127.0.0.2"]}


def test_the_name_of_an_address_is_its_reverse_in_the_zone() -> None:
    assert dnsbl.query_name("192.0.2.99", ZONE) == "99.2.0.192.bl.example"
    expected = "1.0.0.0" + ".0" * 20 + ".8.b.d.0.1.0.0.2.bl.example"
    assert dnsbl.query_name("2001:db8::1", ZONE) == expected


@pytest.mark.parametrize(
    ("records", "expected"),
    [
        (["127.0.0.2"], ("127.0.0.2",)),
        (["127.0.0.4", "127.0.0.11"], ("127.0.0.4", "127.0.0.11")),
        (["127.255.255.254"], ()),
        (["127.255.255.252", "127.0.0.2"], ("127.0.0.2",)),
        (["203.0.113.7"], ()),  # somebody rewrites missing names
        (["not an address"], ()),
        ([], ()),
    ],
)
def test_only_answers_in_127_that_are_no_error_count(
    records: list[str], expected: tuple[str, ...]
) -> None:
    assert dnsbl.counting(records) == expected


@pytest.mark.parametrize(
    ("records", "words"),
    [
        (GOOD, ""),
        ({f"2.0.0.127.{ZONE}": ["127.255.255.254"]}, "does not serve this box's name server"),
        ({f"2.0.0.127.{ZONE}": ["203.0.113.7"]}, "does not serve"),
        ({f"9.9.9.9.{ZONE}": ["127.0.0.2"]}, "does not list the test address"),
        ({**GOOD, f"1.0.0.127.{ZONE}": ["127.0.0.2"]}, "lists everybody"),
    ],
)
def test_a_list_has_to_prove_itself(records: dict[str, list[str]], words: str) -> None:
    trouble = asyncio.run(dnsbl.prove(FakeResolver(A=records), ZONE))
    assert words in trouble
    assert bool(trouble) == bool(words)


def test_a_list_that_does_not_answer_is_not_proved() -> None:
    resolver = FakeResolver(fail={f"A 2.0.0.127.{ZONE}"})
    assert asyncio.run(dnsbl.prove(resolver, ZONE)) == "it does not answer"


def test_a_listing_has_its_codes_and_the_lists_own_words() -> None:
    name = f"7.100.51.198.{ZONE}"
    resolver = FakeResolver(A={name: ["127.0.0.4"]}, TXT={name: ["see https://bl.example/7\r\nx"]})
    found = asyncio.run(dnsbl.ask(resolver, ZONE, "198.51.100.7"))
    assert found == Listing(ZONE, ("127.0.0.4",), "see https://bl.example/7??x")
    assert asyncio.run(dnsbl.ask(resolver, ZONE, "198.51.100.8")) is None


def judged(recipient: str, *, permitted: str = "", written_to: bool = False, skip: bool = False):  # type: ignore[no-untyped-def]
    raw = {"senders.permitted": [permitted] if permitted else [], "filter.dnsbl": True}
    rules = Rules.from_settings(schema.from_json({**raw, "filter.permitted_skip_dnsbl": skip}))
    facts = Facts(client="198.51.100.7", port=Port.SMTP, trusted=False)
    facts.mail_from, facts.recipient = parse("a@partner.example"), parse(recipient)
    facts.block_lists = BlockLists((Listing(ZONE, ("127.0.0.2",), "spam seen"),))
    facts.written_to = written_to
    return dnsbl.listed(facts, rules)


def test_the_public_reply_names_the_list_and_the_private_reason_has_its_words() -> None:
    verdict = judged("b@example.org")
    assert verdict.reply.code == 550
    assert ZONE in verdict.reply.text
    assert "spam seen" not in verdict.reply.text
    assert "127.0.0.2" in verdict.why
    assert "spam seen" in verdict.why


def test_postmaster_and_abuse_stay_reachable() -> None:
    assert judged("Postmaster@example.org") is None
    assert judged("abuse@example.org") is None


def test_whom_we_have_written_to_is_put_off_not_refused() -> None:
    assert judged("b@example.org", written_to=True).action is Action.DEFER


def test_a_permitted_ip_skips_the_lists_only_with_the_switch() -> None:
    assert judged("b@example.org", permitted="198.51.100.7").action is Action.REJECT
    assert judged("b@example.org", permitted="198.51.100.7", skip=True).action is Action.NOTE
    assert judged("b@example.org", permitted="partner.example", skip=True).action is Action.REJECT
