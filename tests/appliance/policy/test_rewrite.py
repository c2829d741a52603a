"""Aliases, groups, chains, circles: to whom mail finally goes."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.mail.address import Address, parse
from appliance.policy.rewrite import MAX_DEPTH, MAX_TARGETS, Aliases, Domains, Expansion, Kind
from appliance.settings.rules_section import Alias

DOMAINS = Domains("example.com", ("example.com", "second.example"), ("relay.example",))
PEOPLE = frozenset({"r.johnson", "j.smith", "ceo"})


def table(*lines: str, domains: Domains = DOMAINS) -> Aliases:
    return Aliases([Alias.from_json(line) for line in lines], domains)


def ends(aliases: Aliases, address: str, accounts: frozenset[str] = PEOPLE) -> list[str]:
    """Where mail for `address` ends, in order."""
    found = aliases.expand(parse(address), accounts)
    assert not found.trouble
    return [str(target.address) for target in found.targets]


def test_an_alias_to_one_mailbox_is_another_name_for_it() -> None:
    assert ends(table("info: r.johnson"), "Info@Example.com") == ["r.johnson@example.com"]


def test_an_alias_to_several_is_a_group() -> None:
    aliases = table("sales: r.johnson, j.smith@example.com, anna@elsewhere.example")
    assert ends(aliases, "sales@example.com") == [
        "r.johnson@example.com",
        "j.smith@example.com",
        "anna@elsewhere.example",
    ]


def test_a_chain_is_followed_and_each_place_met_once() -> None:
    aliases = table("all: sales, r.johnson", "sales: r.johnson, staff", "staff: j.smith, all")
    assert sorted(ends(aliases, "all@example.com")) == [
        "j.smith@example.com",
        "r.johnson@example.com",
    ]


def test_an_alias_without_a_domain_answers_in_all_our_mail_domains_and_in_no_other() -> None:
    aliases = table("info: r.johnson", "info@second.example: j.smith", "x@elsewhere.example: ceo")
    assert ends(aliases, "info@example.com") == ["r.johnson@example.com"]
    assert ends(aliases, "info@second.example") == ["j.smith@example.com"]
    assert ends(aliases, "info@relay.example") == ["info@relay.example"]
    assert ends(aliases, "x@elsewhere.example") == ["x@elsewhere.example"], "not ours to redirect"


def test_a_mailbox_answers_in_all_our_mail_domains() -> None:
    found = table().expand(parse("R.Johnson@second.example"), PEOPLE).targets
    assert [(str(t.address), t.kind, t.key) for t in found] == [
        ("R.Johnson@second.example", Kind.MAILBOX, ("r.johnson", ""))
    ]


def test_an_alias_of_a_relay_domain_is_followed() -> None:
    aliases = table("office@relay.example: a@relay.example, r.johnson")
    assert ends(aliases, "office@relay.example") == ["a@relay.example", "r.johnson@example.com"]


@pytest.mark.parametrize("to", ["r.johnson", "j.smith"])
def test_a_circle_ends_with_one_copy_for_each_mailbox(to: str) -> None:
    aliases = table("r.johnson: j.smith, r.johnson", "j.smith: r.johnson")
    assert sorted(ends(aliases, f"{to}@example.com")) == [
        "j.smith@example.com",
        "r.johnson@example.com",
    ]
    assert aliases.expand(parse(f"{to}@example.com"), PEOPLE).circle == ("j.smith", "r.johnson")


def test_a_circle_without_any_mailbox_leads_nowhere() -> None:
    aliases = table("a: b", "b: a")
    found = aliases.expand(parse("a@example.com"), PEOPLE)
    assert (found.targets, found.circle) == ((), ("a", "b"))


def test_holiday_cover_keeps_a_copy_only_when_the_mailbox_names_itself() -> None:
    keeps = table("r.johnson: j.smith, r.johnson")
    assert sorted(ends(keeps, "r.johnson@example.com")) == [
        "j.smith@example.com",
        "r.johnson@example.com",
    ]
    goes_on = table("ceo: ceo@elsewhere.example")
    assert ends(goes_on, "ceo@example.com") == ["ceo@elsewhere.example"]


def test_a_tag_stays_with_the_mailbox_that_it_names() -> None:
    aliases = table("r.johnson: j.smith, r.johnson", "info+shop: ceo", "info: r.johnson")
    assert ends(aliases, "j.smith+lists@example.com") == ["j.smith+lists@example.com"]
    assert sorted(ends(aliases, "r.johnson+lists@example.com")) == [
        "j.smith@example.com",
        "r.johnson+lists@example.com",
    ]
    assert ends(aliases, "info+shop@example.com") == ["ceo@example.com"]
    assert "r.johnson@example.com" in ends(aliases, "info+other@example.com")


def test_nobody_is_nobody_and_an_unknown_target_is_named() -> None:
    aliases = table("info: gone, r.johnson", "lost: gone")
    assert aliases.expand(parse("gone@example.com"), PEOPLE) == Expansion()
    assert aliases.expand(parse("info@example.com"), PEOPLE).unknown == ("gone@example.com",)
    assert ends(aliases, "lost@example.com") == []


def test_too_many_targets_or_too_deep_a_chain_is_trouble_and_sends_nothing() -> None:
    names = [f"p{n}" for n in range(MAX_TARGETS + 1)]
    people = frozenset(names)
    half = MAX_TARGETS // 2
    fits = table(f"all: {' '.join(names[:half])}, b", f"b: {' '.join(names[half:MAX_TARGETS])}")
    assert len(ends(fits, "all@example.com", people)) == MAX_TARGETS
    assert fits.trouble() is None
    wide = table(f"all: {' '.join(names[:half])}, b", f"b: {' '.join(names[half:])}, x@a.example")
    found = wide.expand(parse("all@example.com"), people)
    assert (found.targets, bool(found.trouble)) == ((), True)
    chain = [f"a{n}: a{n + 1}" for n in range(MAX_DEPTH)]
    assert table(*chain[1:], f"a{MAX_DEPTH}: ceo").trouble() is None
    deep = table(*chain, f"a{MAX_DEPTH}: ceo")
    assert deep.expand(parse("a0@example.com"), PEOPLE).trouble
    assert deep.trouble() == ("a0", f"over more than {MAX_DEPTH} aliases in a row")


def test_many_targets_that_are_nobody_yet_are_counted_too() -> None:
    half = MAX_TARGETS // 2 + 1
    lines = [f"all: {' '.join(f'p{n}' for n in range(half))}, b"]
    lines.append(f"b: {' '.join(f'q{n}' for n in range(half))}")
    assert table(*lines).trouble() == ("all", f"to more than {MAX_TARGETS} targets")


NAMES = ["a", "b", "c", "d", "e", "f"]
TARGETS = st.sampled_from([*NAMES, "a@second.example", "x@relay.example", "y@away.example", "no"])
GRAPHS = st.dictionaries(
    st.sampled_from([*NAMES, "a@second.example"]),
    st.lists(TARGETS, min_size=1, max_size=4, unique=True),
)


@given(GRAPHS, st.sets(st.sampled_from(NAMES)), st.sampled_from(NAMES), st.randoms())
def test_expansion_ends_without_doubles_and_whatever_the_order(
    graph: dict[str, list[str]], people: set[str], name: str, order: random.Random
) -> None:
    accounts = frozenset(people)
    address = Address(name, "example.com", "example.com")
    rules = [Alias(alias=alias, targets=tuple(targets)) for alias, targets in graph.items()]
    found = Aliases(rules, DOMAINS).expand(address, accounts)
    keys = [target.key for target in found.targets]
    assert len(keys) == len(set(keys))
    mailboxes = [t.address.local for t in found.targets if t.kind is Kind.MAILBOX]
    assert len(mailboxes) == len(set(mailboxes)), "each mailbox once"
    assert set(mailboxes) <= accounts
    assert found == Aliases(rules, DOMAINS).expand(address, accounts)
    shuffled = [
        Alias(alias=rule.alias, targets=tuple(order.sample(rule.targets, len(rule.targets))))
        for rule in order.sample(rules, len(rules))
    ]
    again = Aliases(shuffled, DOMAINS).expand(address, accounts)
    assert {t.key for t in again.targets} == set(keys)


@given(GRAPHS, st.sampled_from(NAMES))
def test_nothing_is_lost_where_every_name_has_a_mailbox(
    graph: dict[str, list[str]], name: str
) -> None:
    rules = [Alias(alias=alias, targets=tuple(targets)) for alias, targets in graph.items()]
    address = Address(name, "example.com", "example.com")
    found = Aliases(rules, DOMAINS).expand(address, frozenset([*NAMES, "no"]))
    assert found.targets
