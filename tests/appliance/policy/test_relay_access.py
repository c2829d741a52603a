"""Never an open relay, whatever the settings (FEATURES G6)."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.base.clock import FakeClock
from appliance.dns.resolver import FakeResolver
from appliance.mail.address import AddressError, parse_path
from appliance.mail.envelope import Recipient
from appliance.mail.esmtp import CommandError, parse_rcpt
from appliance.policy.chain import Chain
from appliance.policy.rules import Rules
from appliance.policy.tools import Tools
from appliance.policy.verdict import Action, Facts, Port, Stage, Verdict
from appliance.settings import schema

# Each would reach stranger@evil.example through a box that relays for example.org.
FORMS = [
    "<stranger@evil.example>", "<stranger%evil.example@example.org>",
    "<stranger%evil.example@[192.0.2.1]>", "<evil.example!stranger@example.org>",
    "<evil.example!stranger>", "<@example.org:stranger@evil.example>",
    '<"stranger@evil.example"@example.org>', '<"stranger@evil.example">',
    '<"stranger%evil.example"@example.org>', "<stranger@evil.example@example.org>",
    "<stranger@example.org@evil.example>", "<stranger@evilexample.org>",
    "<stranger@example.org.evil.example>", "<stranger@evil.example,x@example.org>",
    "<x@example.org><stranger@evil.example>", "<x@example.org> <stranger@evil.example>",
    "stranger@evil.example", "<stranger@[192.0.2.9]>", "<stranger@xn--example-.org>",
]  # fmt: skip


def rules(**settings: object) -> Rules:
    given_settings = {
        "mail.main_domain": "example.com",
        "mail.additional_domains": ["example.net"],
        "mail.relay_domains": ["example.org | 127.0.0.1", "bücher.example | 127.0.0.1"],
        "relay.trusted_networks": ["192.0.2.0/24", "2001:db8::/32"],
        **{key.replace("__", "."): value for key, value in settings.items()},
    }
    return Rules.from_settings(schema.from_json(given_settings))


def facts(recipient: str = "", *, client: str = "198.51.100.1", port: Port = Port.SMTP) -> Facts:
    address = parse_path(recipient) if recipient else None
    return Facts(client=client, port=port, trusted=rules().trusts(client), recipient=address)


def verdict(stage: Stage, given_facts: Facts, given_rules: Rules | None = None) -> Verdict:
    tools = Tools(FakeResolver(), FakeClock())
    return asyncio.run(Chain(given_rules or rules()).run(stage, given_facts, tools))


def reaches(form: str, given_rules: Rules) -> str | None:
    """The domain a stranger's RCPT would be taken for, or None."""
    try:
        recipient: Recipient = parse_rcpt(f"TO:{form}", extended=True, smtputf8=False)
    except CommandError:
        return None
    stranger = facts()
    stranger.recipient = recipient.address
    if verdict(Stage.RCPT, stranger, given_rules).reply is not None:
        return None
    return recipient.address.domain_key


@pytest.mark.parametrize("form", FORMS)
def test_no_form_of_a_stranger_reaches_a_strange_domain(form: str) -> None:
    assert reaches(form, rules()) is None


domains = st.sampled_from(["example.org", "example.com", "relay.example", "a.b.example"])


@given(
    st.lists(domains, unique=True, max_size=3),
    st.lists(domains, unique=True, max_size=2),
    st.booleans(),
    st.sampled_from(FORMS),
)
def test_no_settings_open_the_relay(
    relayed: list[str], additional: list[str], smarthost: bool, form: str
) -> None:
    made = Rules.from_settings(
        schema.from_json(
            {
                "mail.main_domain": "example.com",
                "mail.additional_domains": additional,
                "mail.relay_domains": [f"{domain} | 127.0.0.1" for domain in relayed],
                "outbound.mode": "smarthost" if smarthost else "direct",
                "outbound.smarthost_host": "smart.example" if smarthost else "",
            }
        )
    )
    reached = reaches(form, made)
    assert reached is None or reached in relayed


@given(st.text(max_size=60))
def test_no_text_at_all_reaches_a_domain_that_is_not_ours(text: str) -> None:
    try:
        address = parse_path(text)
    except AddressError:
        return
    stranger = facts()
    stranger.recipient = address
    if address is not None and verdict(Stage.RCPT, stranger).reply is None:
        assert address.domain_key in ("example.org", "xn--bcher-kva.example")


def test_relay_domains_are_open_to_all_in_any_spelling() -> None:
    for recipient in ("b@example.org", "b@EXAMPLE.org", "b@bücher.example"):
        assert verdict(Stage.RCPT, facts(recipient)).action is Action.ACCEPT


def test_an_unknown_mailbox_of_ours_is_refused_to_everybody() -> None:
    for client in ("198.51.100.1", "192.0.2.5"):
        reply = verdict(Stage.RCPT, facts("x@example.net", client=client)).reply
        assert reply is not None
        assert (reply.code, reply.enhanced) == (550, "5.1.1")


def test_trusted_networks_may_send_anywhere() -> None:
    for client in ("192.0.2.5", "2001:db8::5", "::ffff:192.0.2.5"):
        assert verdict(Stage.RCPT, facts("x@evil.example", client=client)).reply is None


@pytest.mark.parametrize("port", [Port.SUBMISSION, Port.SUBMISSIONS])
def test_submission_is_for_our_own_people(port: Port) -> None:
    reply = verdict(Stage.MAIL, facts(port=port)).reply
    assert reply is not None
    assert (reply.code, reply.enhanced) == (530, "5.7.0")
    assert verdict(Stage.MAIL, facts(client="192.0.2.5", port=port)).reply is None


def test_before_the_wizard_nothing_is_taken() -> None:
    bare = Rules.from_settings(schema.Settings())
    for recipient in ("x@example.org", "postmaster", "x@[127.0.0.1]"):
        assert verdict(Stage.RCPT, facts(recipient), bare).reply is not None
