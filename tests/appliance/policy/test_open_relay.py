"""Whatever the settings that the schema allows, no stranger relays (FEATURES G6).

A stranger reaches our mail domains and relay domains, and where our own aliases lead: nothing
else, by no spelling, on no port, and not because it is a permitted sender.
"""

from __future__ import annotations

import asyncio
import os
import random
import unicodedata
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import settings as budget
from hypothesis import strategies as st

from appliance.base.clock import FakeClock
from appliance.base.finding import Refused
from appliance.mail.address import parse
from appliance.mail.esmtp import CommandError, parse_mail, parse_rcpt
from appliance.policy import srs
from appliance.policy.chain import CHAIN, Chain
from appliance.policy.people import People, Person
from appliance.policy.relay_access import may_relay
from appliance.policy.rules import Rules
from appliance.policy.tools import Tools
from appliance.policy.verdict import Facts, Port, Stage
from appliance.settings import schema
from appliance.settings.describe import Field
from appliance.settings.schema import Settings
from tests.appliance.policy.test_relay_access import FORMS
from tests.support import mail_cases
from tests.support.relay_box import RelayBox
from tests.support.smtp_client import SmtpClient
from tests.support.tls import self_signed

SECRET = b"the secret of the box"
NOW = datetime(2026, 1, 1, tzinfo=UTC)  # as FakeClock begins
CLIENT = "198.51.100.1"
MANY = int(os.environ.get("PENNYPOST_RELAY_EXAMPLES", "600"))
ROUTING = "%!@"


def rewritten(secret: bytes) -> str:
    """Where a bounce of a forward for a sender elsewhere comes to."""
    victim = parse("stranger@evil.example")
    return str(srs.forward(victim, domain="example.org", secret=secret, now=NOW))


MORE_FORMS = [
    # look-alikes and other dots
    "<stranger@evil\u3002example>", "<stranger@\uff45vil.example>", "<stranger\uff20evil.example>",
    "<stranger\uff20evil.example@example.org>", "<stranger@\u0435xample.org>",
    "<stranger@example.org\u3002evil.example>", "<stranger@example\u200b.org>",
    "<stranger@xn--xample-9uf.org>", "<stranger\uff05evil.example@example.org>",
    # routes in quotes and escapes
    '<"stranger\\@evil.example"@example.org>', '<"evil.example!stranger"@example.org>',
    '<"@example.org:stranger@evil.example"@example.org>',
    "<@example.org,@example.com:x@evil.example>",
    "<@evil.example:x@example.org>", "<evil.example!stranger%evil.example@example.org>",
    "<info+stranger%evil.example@example.org>", "<info+evil.example!x@example.com>",
    "<postmaster%evil.example@example.com>", "<stranger@evil.example.>", "<stranger@.example.org>",
    "<stranger@[127.0.0.1]>", "<stranger@[IPv6:::1]>", "<stranger@localhost>", "<stranger@box>",
    "<stranger@sub.example.org>", "<stranger@example.org%00.evil.example>", "<stranger>",
    # through names of ours
    "<info@evil.example>", "<sales+x@evil.example>", "<loop@evil.example>",
    "<SRS0=AAAA=AA=evil.example=stranger@example.org>", "<SRS1=AAAA=evil.example==x@example.org>",
    f"<{rewritten(b'another secret')}>", f"<{rewritten(SECRET)}>",
    f"<{rewritten(SECRET).lower()}>",
]  # fmt: skip
ALL_FORMS = [*FORMS, *MORE_FORMS]
DOMAINS = ("example.com", "example.net", "example.org", "relay.example", "b\u00fccher.example")


def some(*values: Any) -> st.SearchStrategy[list[Any]]:
    return st.lists(st.sampled_from(values), unique_by=str, max_size=4)


CHOSEN: dict[str, st.SearchStrategy[Any]] = {
    "mail.main_domain": st.sampled_from(["example.com", "example.net", ""]),
    "mail.hostname": st.sampled_from(["box.example.com", ""]),
    "mail.additional_domains": some("example.net", "b\u00fccher.example"),
    "mail.relay_domains": some(
        "example.org | 127.0.0.1", "relay.example | [2001:db8::1]:2525",
        "sub.example.com | mx.x.example",
    ),
    "outbound.smarthost_host": st.sampled_from(["", "smart.example"]),
    "outbound.route_overrides": some("evil.example|127.0.0.1:25"),
    "delivery.lmtp": st.sampled_from(["", "127.0.0.1:24"]),
    "relay.trusted_networks": some("192.0.2.0/24", "2001:db8::/32", "127.0.0.0/8", "10.0.0.0/8"),
    "senders.permitted": some(
        CLIENT, "198.51.100.0/24", "evil.example", ".example", "a@evil.example", "example.com"
    ),
    "senders.forbidden": some("203.0.113.0/24", "other.example", "b@evil.example"),
    "rules.aliases": some(
        "info: anna, bert", "sales: outside@evil.example", "loop: loop2", "loop2: loop",
        "x@example.org: y@example.com", "all@example.com: info, sales",
    ),
    "rules.copy_incoming": st.sampled_from(["", "archive@evil.example"]),
    "rules.copy_outgoing": st.sampled_from(["", "archive@evil.example"]),
}  # fmt: skip


def of_field(field: Field) -> st.SearchStrategy[Any]:
    """Values for a setting, also for one that is new here."""
    if field.name in CHOSEN:
        return CHOSEN[field.name]
    if field.kind == "bool":
        return st.booleans()
    if field.choices:
        return st.sampled_from(field.choices)
    if field.kind == "int":
        return st.integers(field.minimum or 0, field.maximum)
    return st.just(field.default)


@st.composite
def any_settings(draw: st.DrawFn) -> Settings:
    """All settings at once."""
    given_values = {field.name: draw(of_field(field)) for field in schema.fields()}
    try:
        return schema.from_json(given_values)
    except Refused:
        assume(False)
        raise


async def reached(
    rules: Rules, forms: Iterable[str], *, sender: str, port: Port = Port.SMTP, tls: bool = False
) -> dict[str, str]:
    """The forms that a stranger is let through with, and the domains they are taken for."""
    tools = Tools(mail_cases.resolver(), FakeClock(), srs_secret=SECRET)
    chain, found = Chain(rules), {}
    facts = Facts(CLIENT, port, trusted=rules.trusts(CLIENT), tls=tls, helo="evil.example")
    mail = parse_mail(f"FROM:<{sender}>", extended=True)
    facts.mail_from = mail.mail_from
    if (await chain.run(Stage.CONNECT, facts, tools)).reply is not None:
        return {}
    refused = (await chain.run(Stage.MAIL, facts, tools)).reply
    if refused is not None:
        return {}
    for form in forms:
        for utf8 in (False, True):
            try:
                recipient = parse_rcpt(f"TO:{form}", extended=True, smtputf8=utf8)
            except CommandError:
                continue
            facts.recipient = recipient.address
            if (await chain.run(Stage.RCPT, facts, tools)).reply is None:
                found[form] = recipient.address.domain_key or rules.main_domain
                assert may_end(rules, facts), f"{form} with {rules}"
    return found


def may_end(rules: Rules, facts: Facts) -> bool:
    """Whether what was let through ends where a stranger's mail may."""
    recipient = facts.recipient
    if recipient is None:
        return False
    domain = recipient.domain_key or rules.main_domain
    if domain not in rules.mail_domains | rules.relay_domains.keys():
        return False
    if facts.bounce_for is not None:  # only what we rewrote ourselves, and only bounces
        return facts.mail_from is None and str(recipient).lower() == rewritten(SECRET).lower()
    local = unicodedata.normalize("NFKC", recipient.local)
    return not any(letter in local for letter in ROUTING)


PEOPLE = People.of([Person("anna"), Person("bert"), Person("stranger", enabled=False)])
senders = st.sampled_from(["a@evil.example", "a@example.com", "anna@example.org", ""])


def nobody_relays(settings: Settings, sender: str, *, accounts: bool) -> None:
    rules = Rules.from_settings(settings, PEOPLE if accounts else People({}))
    found = asyncio.run(reached(rules, ALL_FORMS, sender=sender))
    assert set(found.values()) <= rules.mail_domains | rules.relay_domains.keys()
    for port in (Port.SUBMISSION, Port.SUBMISSIONS):
        for tls in (False, True):
            through = reached(rules, ALL_FORMS, sender=sender, port=port, tls=tls)
            assert asyncio.run(through) == {}


@budget(max_examples=20)
@given(any_settings(), senders, st.booleans())
def test_no_settings_let_a_stranger_relay(settings: Settings, sender: str, accounts: bool) -> None:
    nobody_relays(settings, sender, accounts=accounts)


@pytest.mark.full
@budget(max_examples=MANY, deadline=None)
@given(any_settings(), senders, st.booleans())
def test_no_settings_of_hundreds_let_a_stranger_relay(
    settings: Settings, sender: str, accounts: bool
) -> None:
    nobody_relays(settings, sender, accounts=accounts)


OPEN = {"mail.main_domain": "example.com", "mail.relay_domains": ["example.org | 127.0.0.1"]}


def test_the_genuine_rewritten_sender_comes_home_from_nobody_only() -> None:
    rules = Rules.from_settings(schema.from_json(OPEN))
    genuine, form = rewritten(SECRET), f"<{rewritten(SECRET)}>"
    assert asyncio.run(reached(rules, [form], sender="")) == {form: "example.org"}
    facts = Facts(CLIENT, Port.SMTP, trusted=False, recipient=parse(genuine))
    facts.mail_from = parse("a@evil.example")
    asyncio.run(
        Chain(rules).run(
            Stage.RCPT, facts, Tools(mail_cases.resolver(), FakeClock(), srs_secret=SECRET)
        )
    )
    assert facts.bounce_for is None, "a sender with a name has no bounces"


def test_the_forms_find_an_open_relay(monkeypatch: pytest.MonkeyPatch) -> None:
    """The negative control: without the rule, they do get through."""
    holes = {
        stage: tuple(replace(c, strangers_only=False) for c in checks if c.judge is not may_relay)
        for stage, checks in CHAIN.items()
    }
    monkeypatch.setattr("appliance.policy.chain.CHAIN", holes)
    with pytest.raises(AssertionError):
        nobody_relays(schema.from_json(OPEN), "a@evil.example", accounts=False)


@pytest.mark.parametrize("seed", [1, 2, pytest.param(3, marks=pytest.mark.full)])
def test_no_stranger_relays_through_a_real_box(tmp_path: Path, seed: int) -> None:
    chosen = {
        **mail_cases.settings(random.Random(seed), "127.0.0.1:1"),
        "mail.relay_domains": ["example.org | 127.0.0.1:1"],
        "senders.permitted": ["127.77.0.0/16", "evil.example"],
        "senders.forbidden": [],
        "filter.greylist": False,
        "queue.reserve_bytes": 1024**2,
        "submission.sign_in": seed != 1,
    }
    self_signed(tmp_path)
    pem = tmp_path / "sink.example.com.pem"
    with RelayBox(
        tmp_path,
        chosen,
        resolver=mail_cases.resolver(),
        certificate=(pem, pem),
        deliver=False,
        accounts={"anna": "x" * 20},
    ) as box:
        rules = box.shop.rules
        ours = rules.mail_domains | rules.relay_domains.keys()
        taken = []
        for port in Port:
            tls = port is Port.SUBMISSIONS
            with SmtpClient("127.0.0.1", box.port(port), source="127.77.7.7", tls=tls) as client:
                client.hello()
                sender = client.command("MAIL FROM:<a@evil.example> SMTPUTF8")
                assert (sender.code == 250) is (port is Port.SMTP), sender
                for form in ALL_FORMS:
                    if client.command(f"RCPT TO:{form}").code == 250:
                        taken.append(form)
                if taken and port is Port.SMTP:
                    assert client.data(b"From: a@evil.example\r\n\r\nx\r\n").code == 250
        for form in taken:
            recipient = parse_rcpt(f"TO:{form}", extended=True, smtputf8=True).address
            assert (recipient.domain_key or rules.main_domain) in ours, form
