"""The box's address: what is taken and what is explained."""

import pytest

from appliance.base.finding import Refused, Result
from appliance.settings import checks, schema


def settings_of(**names: str) -> schema.Settings:
    return schema.from_json({f"network.{name}": value for name, value in names.items()})


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        ("192.168.1.20/24", "192.168.1.20/24"),
        ("192.168.1.20/255.255.255.0", "192.168.1.20/24"),
        (" 10.0.0.1/31 ", "10.0.0.1/31"),
        ("2001:DB8::2/64", "2001:db8::2/64"),
        ("", ""),
    ],
)
def test_an_address_is_kept_in_one_form(typed: str, kept: str) -> None:
    assert settings_of(address=typed).network.address == kept


@pytest.mark.parametrize(
    "typed",
    [
        *("192.168.1.20", "192.168.1.0/24", "192.168.1.255/24", "127.0.0.1/8", "224.0.0.1/24"),
        *("0.0.0.0/0", "0.1.2.3/8", "240.0.0.1/8", "::/64", "::1/128", "ff02::1/64", "box/24"),
        *("192.168.1.20/33", "192.168.1.20/24\nGateway=10.0.0.1"),
    ],
)
def test_what_no_machine_can_have_is_refused_with_a_remedy(typed: str) -> None:
    with pytest.raises(Refused) as refused:
        settings_of(address=typed)
    assert refused.value.finding.fix


@pytest.mark.parametrize(
    ("names", "field"),
    [
        ({}, "address"),
        ({"address": "192.168.1.20/24", "gateway": "192.168.2.1"}, "gateway"),
        ({"address": "192.168.1.20/24", "gateway": "192.168.1.20"}, "gateway"),
        ({"address": "192.168.1.20/24", "gateway": "fe80::1"}, "gateway"),
    ],
)
def test_what_does_not_fit_together_names_its_field(names: dict[str, str], field: str) -> None:
    found = checks.findings(settings_of(mode="static", **names))
    assert [f.check for f in found if f.result is Result.BAD] == [f"settings.network.{field}"]
    assert checks.findings(settings_of(mode="dhcp", **names)) == []


def test_without_a_router_there_is_advice_and_no_refusal() -> None:
    (found,) = checks.findings(settings_of(mode="static", address="192.168.1.20/24"))
    assert found.result is Result.WARN
