"""Whose address is whose, and when the brake is pulled: the pure parts."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from appliance.mail import reply as replies
from appliance.mail.address import parse
from appliance.policy.brake import Limits, is_unusual, limits_of, over_rate
from appliance.policy.people import People, Person, login_of
from appliance.policy.rules import Rules
from appliance.policy.submission import may_send_as, own_author
from appliance.policy.verdict import Facts, Port, Spread
from appliance.settings import schema

OURS = frozenset(("example.com", "example.net", "xn--mller-kva.example"))
LIMITS = Limits(messages=10, recipients=20, new_addresses=5, new_domains=3)


@pytest.fixture
def rules() -> Rules:
    settings = schema.from_json(
        {"mail.main_domain": "example.com", "mail.additional_domains": ["example.net"]}
    )
    people = People.of([Person("anna"), Person("bert", messages_per_hour=7)])
    return Rules.from_settings(settings, people=people)


def with_aliases(rules: Rules, *aliases: tuple[str, tuple[str, ...]]) -> Rules:
    """The rules with such a section of the settings."""
    entries = tuple(SimpleNamespace(alias=name, targets=targets) for name, targets in aliases)
    settings: Any = SimpleNamespace(rules=SimpleNamespace(aliases=entries))
    return replace(rules, settings=settings)


@pytest.mark.parametrize(
    ("typed", "login"),
    [
        (" Anna ", "anna"),
        ("anna@EXAMPLE.net", "anna"),
        ("anna@müller.example", "anna"),
        ("anna@elsewhere.example", ""),
        ("anna@", ""),
        ("", ""),
    ],
)
def test_a_name_or_an_address_of_ours_signs_in(typed: str, login: str) -> None:
    assert login_of(typed, OURS) == login


def test_an_own_address_is_the_name_in_each_of_our_domains(rules: Rules) -> None:
    for address in ("anna@example.com", "ANNA@Example.NET", "anna+list@example.com"):
        assert may_send_as("anna", parse(address), rules), address
    for address in ("bert@example.com", "anna@example.org", "annab@example.com", "x@example.com"):
        assert not may_send_as("anna", parse(address), rules), address


def test_an_alias_lends_its_name_to_those_it_leads_to(rules: Rules) -> None:
    known = with_aliases(
        rules,
        ("info", ("anna", "x@elsewhere.example")),
        ("sales@example.net", ("anna@example.com",)),
        ("anna", ("anna", "bert")),
        ("info@elsewhere.example", ("anna",)),
    )
    assert may_send_as("anna", parse("info@example.net"), known)
    assert may_send_as("anna", parse("sales@example.net"), known)
    assert not may_send_as("anna", parse("sales@example.com"), known)
    assert not may_send_as("bert", parse("info@example.com"), known)
    assert not may_send_as("bert", parse("anna@example.com"), known), "a copy lends no name"
    assert not may_send_as("anna", parse("info@elsewhere.example"), known)


OWN = "Anna <anna@example.com>"


@pytest.mark.parametrize(
    ("head", "why"),
    [
        (f"From: {OWN}", ""),
        ("FROM: anna+shop@EXAMPLE.net (Anna)", ""),
        ("From: info@example.com", ""),
        (f"From: {OWN}, Info <info@example.com>", ""),
        ('From: "Doe, Anna" <anna@example.com>, info@example.com', ""),
        ("From: Doe, Anna <anna@example.com>", ""),
        (f"From: {OWN}\r\nSender: info@example.com", ""),
        ("From: anna@example.com <anna@example.com>", ""),
        ('From: "anna@gmail.example" <anna@example.com>', ""),  # her own elsewhere, say
        ("From: =?utf-8?Q?Doe,_Anna?= <anna@example.com>", ""),
        ("Subject: nobody is pretended to be", ""),
        ("From: bert@example.com", "From: bert@example.com"),
        ("From: boss@bank.example", "From: boss@bank.example"),
        (f"From: {OWN}, bert@example.com", "From: bert@example.com"),
        (f"From: bert@example.com, {OWN}", "From: bert@example.com"),
        (f"From: {OWN}\r\nSender: bert@example.com", "Sender: bert@example.com"),
        (f"From: {OWN}\r\nSender: {OWN}, bert@example.com", "Sender: bert@example.com"),
        (f"From: {OWN}\r\nFrom: bert@example.com", "From: there are several From fields"),
        (f"From: {OWN}\r\nSender: a\r\nSender: b", "Sender: there are several Sender fields"),
        (f"From : {OWN}", "From: the name of the From field is written oddly"),
        ("From:", "From: the From field is empty"),
        ("From: ,", "From: the From field is empty"),
        ("From: anna", "From: the address has no domain"),
        (f"From: Us: {OWN}, bert@example.com;", "From: the From field names a group"),
        ("From: bert@example.com <anna@example.com>", "a name that shows bert@example.com"),
        ('From: "bert@example.com" <anna@example.com>', "a name that shows bert@example.com"),
        ('From: "Bert (bert@example.com)" <anna@example.com>', "shows bert@example.com"),
        ('From: "ber\\t@example.com" <anna@example.com>', "shows bert@example.com"),
        ("From: anna@example.com (bert@example.com)", "shows bert@example.com"),
        (
            "From: =?utf-8?B?YmVydEBleGFtcGxlLmNvbQ==?= <anna@example.com>",
            "a name that shows bert@example.com",
        ),
        ("From: bert@example.com,<anna@example.com>", "From: bert@example.com"),
        ("From: <anna@example.com>,<bert@example.com>", "From: bert@example.com"),
        ("From: <anna@example.com> bert@example.com", "text behind the address"),
        ("From: <anna@example.com\r\n >, bert@example.com", "From: bert@example.com"),
    ],
)
def test_from_and_sender_are_addresses_of_who_signed_in(rules: Rules, head: str, why: str) -> None:
    known = replace(
        rules, settings=schema.from_json({"rules.aliases": ["info: anna"]}, rules.settings)
    )
    content = SimpleNamespace(head=f"To: b@example.org\r\n{head}\r\n".encode())
    facts = Facts("127.0.0.1", Port.SUBMISSION, trusted=False, user="anna", message=content)
    found = own_author(facts, known)
    assert (found is None) == (not why), found
    assert found is None or (found.why.endswith(why) or why in found.why)
    assert found is None or found.reply == replies.NOT_YOUR_FROM
    trusted = replace(facts, user="", trusted=True)
    assert own_author(trusted, known) is None


def test_an_own_figure_outweighs_that_of_all(rules: Rules) -> None:
    assert limits_of(rules, "anna").messages == rules.settings.submission.max_per_hour
    assert limits_of(rules, "bert").messages == 7


def test_the_rate_is_reached_with_the_message_or_recipient_after_the_last() -> None:
    assert over_rate(Spread(messages=9, recipients=19), 1, LIMITS) == ""
    assert over_rate(Spread(messages=10), 1, LIMITS) == "more than 10 messages in an hour"
    assert over_rate(Spread(recipients=19), 2, LIMITS) == "more than 20 recipients in an hour"


@pytest.mark.parametrize(
    ("sent", "new", "why"),
    [
        (Spread(), (5, 3), ""),
        (Spread(new_addresses=5), (1, 0), "6 new recipients in an hour"),
        (Spread(new_addresses=500), (0, 0), ""),
        (Spread(new_domains=3), (0, 1), "4 new domains in an hour"),
        (Spread(new_addresses_day=20), (1, 0), "21 new recipients in a day"),
        (Spread(new_domains_day=12), (1, 1), "13 new domains in a day"),
        (Spread(new_addresses=50, is_released=True), (9, 9), ""),
    ],
)
def test_the_brake_looks_at_strangers_in_an_hour_and_in_a_day(
    sent: Spread, new: tuple[int, int], why: str
) -> None:
    assert is_unusual(sent, *new, LIMITS) == why
    assert is_unusual(sent, *new, replace(LIMITS, new_addresses=None, new_domains=None)) == ""
