"""Permitted and forbidden senders through the chain: FEATURES R4 to R6 and F2."""

from __future__ import annotations

import asyncio

import pytest

from appliance.base.clock import FakeClock
from appliance.dns.resolver import FakeResolver
from appliance.mail.address import parse
from appliance.policy.chain import Chain
from appliance.policy.rules import Rules
from appliance.policy.tools import Tools
from appliance.policy.verdict import Action, Facts, Port, Stage, Station, Verdict
from appliance.settings import schema

IP, ADDRESS, DOMAIN = "198.51.100.7", "ann@partner.example", "partner.example"

# Written from the sentences of R6. C: refused at connect. M: refused at MAIL. U: taken without
# spam checks. F: taken, filtered as usual. Each block is one state of the IP; its lines are the
# address and its columns the domain: none, permitted, forbidden, both.
R6 = {
    # "else its domain's": with no entry for the address the domain decides
    "none": """
        none       F U M U
        permitted  U U U U
        forbidden  M M M M
        both       U U U U
    """,
    # "A permitted IP frees from the spam checks; it does not overrule a forbidden sender."
    "permitted": """
        none       U U M U
        permitted  U U U U
        forbidden  M M M M
        both       U U U U
    """,
    # "a forbidden IP (not also permitted) is refused, whatever its domain says"
    "forbidden": """
        none       C C C C
        permitted  C C C C
        forbidden  C C C C
        both       C C C C
    """,
    # "The same entry on both lists counts as permitted."
    "both": """
        none       U U M U
        permitted  U U U U
        forbidden  M M M M
        both       U U U U
    """,
}
COLUMNS = ("none", "permitted", "forbidden", "both")
CASES = [
    (ip, line.split()[0], domain, expected)
    for ip, block in R6.items()
    for line in block.strip().splitlines()
    for domain, expected in zip(COLUMNS, line.split()[1:], strict=True)
]


def rules(permitted: list[str], forbidden: list[str], **settings: object) -> Rules:
    raw = {
        "senders.permitted": permitted,
        "senders.forbidden": forbidden,
        "filter.check_sender_domain": False,
        **{name.replace("__", "."): value for name, value in settings.items()},
    }
    return Rules.from_settings(schema.from_json(raw))


def run(stage: Stage, facts: Facts, given: Rules) -> Verdict:
    return asyncio.run(Chain(given).run(stage, facts, Tools(FakeResolver(), FakeClock())))


def outcome(given: Rules, facts: Facts) -> tuple[str, str]:
    """The letter of R6's table, and the private reason."""
    connect = run(Stage.CONNECT, facts, given)
    if connect.action is Action.REJECT:
        assert connect.reply is not None
        assert (connect.reply.code, connect.reply.enhanced) == (554, "5.7.1")
        return "C", connect.why
    mail = run(Stage.MAIL, facts, given)
    if mail.action is Action.REJECT:
        assert mail.reply is not None
        assert mail.reply.code == 550
        return "M", mail.why
    whys = [step.why for step in facts.steps if step.station is Station.SENDER]
    return ("U" if facts.permitted else "F"), " ".join(whys)


def stranger(sender: str = ADDRESS, client: str = IP) -> Facts:
    mail_from = parse(sender) if sender else None
    return Facts(client=client, port=Port.SMTP, trusted=False, mail_from=mail_from)


def test_the_table_has_all_64_combinations() -> None:
    assert len({case[:3] for case in CASES}) == 64


@pytest.mark.parametrize(("ip", "address", "domain", "expected"), CASES)
def test_r6(ip: str, address: str, domain: str, expected: str) -> None:
    states = {IP: ip, ADDRESS: address, DOMAIN: domain}
    permitted = [entry for entry, state in states.items() if state in ("permitted", "both")]
    forbidden = [entry for entry, state in states.items() if state in ("forbidden", "both")]
    letter, why = outcome(rules(permitted, forbidden), stranger())
    assert letter == expected
    if letter != "F":
        assert any(f"“{entry}”" in why for entry in (*permitted, *forbidden))


@pytest.mark.parametrize(
    ("permitted", "forbidden", "expected", "entry"),
    [
        ([DOMAIN], [IP], "C", IP),
        ([IP], [DOMAIN], "M", DOMAIN),
        ([DOMAIN], [ADDRESS], "M", ADDRESS),
        ([ADDRESS], [DOMAIN], "U", ADDRESS),
    ],
)
def test_the_four_examples_of_r6_name_the_deciding_entry(
    permitted: list[str], forbidden: list[str], expected: str, entry: str
) -> None:
    letter, why = outcome(rules(permitted, forbidden), stranger())
    assert letter == expected
    assert f"“{entry}”" in why


@pytest.mark.parametrize(
    ("permitted", "forbidden", "sender", "client", "expected"),
    [
        ([], [".example"], "a@deep.partner.example", IP, "M"),
        ([], [".partner.example"], ADDRESS, IP, "F"),  # below it, not itself
        (["partner.example"], [".example"], ADDRESS, IP, "U"),  # exact before .domain
        ([".partner.example"], [".example"], "a@x.partner.example", IP, "U"),
        ([], ["ANN@Partner.Example"], ADDRESS, IP, "M"),
        ([], ["xn--bcher-kva.example"], "a@bücher.example", IP, "M"),
        ([], ["198.51.100.0/24"], ADDRESS, IP, "C"),
        ([], ["198.51.100.0/255.255.255.0"], ADDRESS, IP, "C"),
        ([IP], ["198.51.100.0/24"], ADDRESS, IP, "U"),  # the narrower one decides
        (["198.51.100.0/24"], [IP], ADDRESS, IP, "C"),
        ([], [IP], ADDRESS, "::ffff:" + IP, "C"),
        ([], ["2001:db8::/32"], ADDRESS, "2001:db8:1::7", "C"),
        ([], ["2001:db8::/32"], ADDRESS, "2001:db9::7", "F"),
        ([], [DOMAIN], "", IP, "F"),  # the null sender has no domain
        ([IP], [], "", IP, "U"),
    ],
)
def test_entries_fit(
    permitted: list[str], forbidden: list[str], sender: str, client: str, expected: str
) -> None:
    assert outcome(rules(permitted, forbidden), stranger(sender, client))[0] == expected


def test_a_domain_of_ours_can_be_kept_from_strangers_alone() -> None:
    given = rules([], ["example.com"])
    facts = stranger("boss@example.com")
    assert outcome(given, facts)[0] == "M"
    trusted = stranger("boss@example.com")
    trusted.trusted = True
    assert outcome(given, trusted)[0] == "F"


def test_a_permitted_sender_refused_before_is_told_why_its_entry_does_not_help() -> None:
    given = rules([f"{DOMAIN} # the printer"], [], filter__check_sender_domain=True)
    facts = stranger()
    verdict = run(Stage.MAIL, facts, given)
    assert verdict.check == "sender_domain"
    last = facts.steps[-1]
    assert last.station is Station.SENDER
    assert "“partner.example” (the printer)" in last.why
    assert "station 1, sender_domain" in last.why


def test_permitted_holds_for_one_message_only() -> None:
    given = rules([ADDRESS], [])
    facts = stranger()
    run(Stage.MAIL, facts, given)
    assert facts.permitted
    facts.forget_message()
    facts.mail_from = parse("other@partner.example")
    run(Stage.MAIL, facts, given)
    assert not facts.permitted
