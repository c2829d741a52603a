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
    },
    A={
        "a.example.org": ["192.0.2.1"],
        "b.example.org": ["192.0.2.2"],
        "noMX.example": ["192.0.2.3"],
        "slow.example.org": [],
    },
    AAAA={"a.example.org": ["2001:db8::1"]},
    fail={"MX broken.example", "A slow.example.org", "AAAA slow.example.org"},
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
    return [
        target.address for target in asyncio.run(targets.find(route, RESOLVER, "box.example.com"))
    ]


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
