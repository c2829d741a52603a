"""Where mail goes next."""

from __future__ import annotations

import asyncio

import pytest

from appliance.dns.resolver import MX, FakeResolver
from appliance.relay import targets
from appliance.relay.reasons import DeliveryTrouble, Say
from appliance.relay.router import Kind, Route, Router, Tls
from appliance.settings import schema

RESOLVER = FakeResolver(
    MX={
        "example.org": [(20, "b.example.org"), (10, "a.example.org")],
        "null.example": [(0, "")],
        "own.example": [(10, "box.example.com"), (20, "b.example.org")],
        "backup.example": [(10, "a.example.org"), (20, "box.example.com"), (30, "b.example.org")],
        "dead.example": [(10, "gone.example.org")],
        "half.example": [(10, "slow.example.org"), (20, "gone.example.org")],
        "mixed.example": [(0, ""), (10, "a.example.org")],
        "alias.example": [(10, "cname.example.org")],
        "literal.example": [(10, "192.0.2.7")],
        "here.example": [(10, "a.example.org"), (20, "me.example"), (20, "b.example.org")],
        "onlyhere.example": [(10, "me.example")],
        "many.example": [(10, "many.example.org")],
        "v6half.example": [(10, "v6half.example.org")],
    },
    CNAME={"cname.example.org": ["b.example.org"]},
    A={
        "a.example.org": ["192.0.2.1"],
        "b.example.org": ["192.0.2.2"],
        "noMX.example": ["192.0.2.3"],
        "slow.example.org": [],
        "me.example": ["192.0.2.99"],
        "many.example.org": ["192.0.2.11", "192.0.2.12", "192.0.2.13"],
        "v6half.example.org": ["192.0.2.14"],
    },
    AAAA={
        "a.example.org": ["2001:db8::1"],
        "many.example.org": ["2001:db8::11", "2001:db8::12"],
    },
    fail={
        "MX broken.example",
        "A slow.example.org",
        "AAAA slow.example.org",
        "AAAA v6half.example.org",
    },
)


def router(**settings: object) -> Router:
    made = {
        "mail.main_domain": "example.com",
        "mail.relay_domains": ["example.net | [2001:db8::9]:2525"],
        **{key.replace("__", "."): value for key, value in settings.items()},
    }
    return Router(schema.from_json(made))


def found(domain: str) -> list[str]:
    route = Route(Kind.MX, domain)
    targets_found = targets.find(
        route, RESOLVER, "box.example.com", is_own=lambda address: address == "192.0.2.99"
    )
    return [target.address for target in asyncio.run(targets_found)]


def trouble(domain: str) -> DeliveryTrouble:
    with pytest.raises(DeliveryTrouble) as raised:
        found(domain)
    return raised.value


def test_a_relay_domain_goes_to_its_own_next_hop_even_with_a_smarthost() -> None:
    smart = router(outbound__mode="smarthost", outbound__smarthost_host="smart.example")
    for one in (router(), smart):
        route = one.route("example.net")
        assert (route.kind, route.host, route.port) == (Kind.HOST, "2001:db8::9", 2525)
        assert str(route) == "relay domain [2001:db8::9]:2525"


def test_all_else_goes_by_mx_or_by_the_smarthost() -> None:
    assert router().route("example.org") == Route(Kind.MX, "example.org", tls=Tls.OPPORTUNISTIC)
    smart = router(
        outbound__mode="smarthost",
        outbound__smarthost_host="smart.example",
        outbound__smarthost_user="u",
        outbound__smarthost_password="secret",
    )
    route = smart.route("example.org")
    assert (route.host, route.port, route.tls, route.user) == (
        "smart.example", 587, Tls.REQUIRED, "u",
    )  # fmt: skip
    assert "secret" not in repr(route)


def test_special_routes_come_first_and_our_own_domains_lead_nowhere() -> None:
    one = router(outbound__route_overrides=["example.net|127.0.0.1:26", "x.example|h.example:27"])
    assert one.route("example.net").port == 26
    assert one.route("x.example").host == "h.example"
    assert one.route("example.com").kind is Kind.NOWHERE


def test_an_address_literal_is_dialled_as_it_is() -> None:
    assert router().route("[192.0.2.7]").host == "192.0.2.7"
    assert router().route("[ipv6:2001:db8::7]").host == "2001:db8::7"


def test_mail_exchangers_come_in_the_order_of_their_preference_ipv6_first() -> None:
    assert found("example.org") == ["2001:db8::1", "192.0.2.1", "192.0.2.2"]


def test_addresses_of_both_kinds_take_turns() -> None:
    """Or a line without IPv6 would wait for all of these before the first that works."""
    assert found("many.example") == [
        "2001:db8::11", "192.0.2.11", "2001:db8::12", "192.0.2.12", "192.0.2.13",
    ]  # fmt: skip


def test_one_kind_of_address_is_enough_when_the_other_cannot_be_looked_up() -> None:
    assert found("v6half.example") == ["192.0.2.14"]


def test_odd_exchangers_are_taken_as_they_are_meant() -> None:
    assert found("mixed.example") == ["2001:db8::1", "192.0.2.1"]
    assert found("alias.example") == ["192.0.2.2"]
    assert found("literal.example") == ["192.0.2.7"]


def test_an_exchanger_that_is_this_box_under_another_name_ends_the_list() -> None:
    assert found("here.example") == ["2001:db8::1", "192.0.2.1"]
    raised = trouble("onlyhere.example")
    assert (raised.say, raised.permanent, raised.status) == (Say.OWN_MX, True, "5.4.6")
    assert trouble("me.example").say is Say.OWN_MX  # without any MX


def test_the_kernel_knows_which_addresses_are_ours() -> None:
    assert targets.is_own_address("127.0.0.1")
    assert targets.is_own_address("::1")
    assert targets.is_own_address("0.0.0.0")
    assert not targets.is_own_address("203.0.113.77")


def test_our_own_domains_lead_to_the_mailboxes_where_there_are_any() -> None:
    by_socket = router(delivery__lmtp="/run/dovecot/lmtp").route("example.com")
    assert (by_socket.kind, by_socket.host, by_socket.tls) == (
        Kind.MAILBOX, "/run/dovecot/lmtp", Tls.NONE,
    )  # fmt: skip
    assert str(by_socket) == "mailbox /run/dovecot/lmtp"
    by_port = router(delivery__lmtp="[::1]:2424").route("example.com")
    assert (by_port.host, by_port.port, str(by_port)) == ("::1", 2424, "mailbox [::1]:2424")


def test_without_mx_the_domain_is_its_own_mail_server() -> None:
    assert found("nomx.example") == ["192.0.2.3"]


def test_only_exchangers_better_than_ourselves_are_used() -> None:
    assert found("backup.example") == ["2001:db8::1", "192.0.2.1"]
    assert trouble("own.example").say is Say.OWN_MX
    assert targets.preferred([MX(1, "x")], "y") == [MX(1, "x")]


@pytest.mark.parametrize(
    ("domain", "say", "permanent"),
    [
        ("nowhere.example", Say.NAME_NOT_FOUND, True),
        ("broken.example", Say.NAME_TROUBLE, False),
        ("null.example", Say.NULL_MX, True),
        ("dead.example", Say.NO_ADDRESS, True),
        ("half.example", Say.NAME_TROUBLE, False),
    ],
)
def test_a_name_that_could_not_be_asked_for_is_not_one_that_is_not_there(
    domain: str, say: Say, permanent: bool
) -> None:
    raised = trouble(domain)
    assert (raised.say, raised.permanent) == (say, permanent)


def test_a_next_hop_that_was_typed_wrong_makes_mail_wait() -> None:
    route = Route(Kind.HOST, "typo.example")
    with pytest.raises(DeliveryTrouble) as raised:
        asyncio.run(targets.find(route, RESOLVER, "box.example.com"))
    assert raised.value.say is Say.HOST_NOT_FOUND
    assert not raised.value.permanent
