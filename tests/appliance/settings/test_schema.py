"""The description of the settings, and what it takes and refuses."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.base.finding import Refused
from appliance.settings import checks, schema
from appliance.settings.schema import RelayDomain, Settings


def test_every_setting_says_what_it_is() -> None:
    for field in schema.fields():
        assert field.label, field.name
        assert field.help.endswith((".", "?")), field.name
        if field.kind == "int" and not field.name.endswith("_port"):
            assert field.unit, field.name
            assert field.minimum is not None, field.name


def test_every_default_is_taken_by_its_own_check() -> None:
    for field in schema.fields():
        assert field.parse(schema.plain(field.default)) == field.default, field.name


def test_settings_survive_the_way_through_json() -> None:
    settings = schema.from_json(
        {
            "mail.relay_domains": ["a.example|10.0.0.1", "b.example | [2001:db8::1]:2525"],
            "relay.trusted_networks": ["10.0.0.5/255.255.255.255"],
            "queue.retry_seconds": [1, 2],
        }
    )
    again = schema.from_json(json.loads(json.dumps(schema.to_json(settings))))
    assert again == settings
    assert settings.relay.trusted_networks == ("10.0.0.5/32",)


def test_nested_and_flat_json_mean_the_same() -> None:
    flat = schema.from_json({"mail.hostname": "mx.example.com"})
    assert schema.from_json({"mail": {"hostname": "mx.example.com"}}) == flat


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("example.com|10.20.30.40", RelayDomain(domain="example.com", host="10.20.30.40")),
        ("Example.com | relay.example", RelayDomain(domain="example.com", host="relay.example")),
        ("a.b|relay.example:26", RelayDomain(domain="a.b", host="relay.example", port=26)),
        ("a.b|[2001:DB8::1]:26", RelayDomain(domain="a.b", host="2001:db8::1", port=26)),
        ("a.b|2001:db8::1", RelayDomain(domain="a.b", host="2001:db8::1")),
        ("bücher.example|10.0.0.1", RelayDomain(domain="xn--bcher-kva.example", host="10.0.0.1")),
    ],
)
def test_relay_domains_are_read_as_people_paste_them(text: str, expected: RelayDomain) -> None:
    assert RelayDomain.from_json(text) == expected
    assert RelayDomain.from_json(expected.to_text()) == expected


@pytest.mark.parametrize(
    ("name", "raw"),
    [
        ("mail.hostname", "mail"),
        ("mail.hostname", "mail..example.com"),
        ("mail.hostname", "10.0.0.1"),
        ("mail.hostname", "mail_.example.com"),
        ("mail.main_domain", "example.com\nserver_name evil"),
        ("mail.relay_domains", ["example.com"]),
        ("mail.relay_domains", [{"domain": "a.b", "host": "h.b", "colour": 1}]),
        ("mail.max_message_bytes", 1),
        ("mail.max_message_bytes", "many"),
        ("mail.max_message_bytes", True),
        ("relay.trusted_networks", ["10.0.0.5/8"]),
        ("relay.trusted_networks", ["300.0.0.0/8"]),
        ("box.time_zone", "Mars/Olympus"),
        ("box.language", "tlh"),
        ("box.ssh_authorized_keys", ["-----BEGIN OPENSSH PRIVATE KEY-----"]),
        ("box.ssh_authorized_keys", ['command="sh" ssh-ed25519 ' + "A" * 60]),
        ("box.dns_forwarders", ["dns.example"]),
        ("no.such", 1),
    ],
)
def test_a_wrong_value_is_refused_with_field_and_remedy(name: str, raw: object) -> None:
    with pytest.raises(Refused) as refused:
        schema.from_json({name: raw})
    assert refused.value.finding.check == f"settings.{name}"
    assert name in refused.value.finding.say
    assert refused.value.finding.fix


@given(
    st.sampled_from([field.name for field in schema.fields()]),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text() | st.floats(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=5,
    ),
)
def test_no_value_whatever_breaks_the_reading(name: str, raw: object) -> None:
    try:
        settings = schema.from_json({name: raw})
    except Refused:
        return
    text = schema.get(settings, name)
    assert schema.parse_value(name, schema.plain(text)) == text


def test_mail_needs_domain_and_host_name() -> None:
    settings = schema.from_json({"mail.enabled": True})
    assert {finding.check for finding in checks.findings(settings)} == {
        "settings.mail.main_domain",
        "settings.mail.hostname",
    }


def test_the_whole_internet_is_never_trusted() -> None:
    for network in ("0.0.0.0/0", "::/0"):
        with pytest.raises(Refused, match="whole Internet"):
            checks.refuse_contradictions(schema.from_json({"relay.trusted_networks": [network]}))


def test_a_password_is_never_sent_in_the_clear() -> None:
    settings = schema.from_json(
        {
            "outbound.mode": "smarthost",
            "outbound.smarthost_host": "smtp.example.com",
            "outbound.smarthost_user": "u",
            "outbound.smarthost_tls": "none",
        }
    )
    with pytest.raises(Refused, match="unencrypted"):
        checks.refuse_contradictions(settings)


def test_the_defaults_contradict_nothing() -> None:
    assert checks.findings(Settings()) == []
