"""The rendered files, read by the programs themselves where they are installed."""

import dataclasses
import json
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from appliance.render.effects import Machine
from appliance.render.facts import Facts
from appliance.render.whole import render
from appliance.settings import schema
from appliance.settings.schema import Settings
from tests.support.applied_box import KEY, facts_of

MAIL_ON = {
    "mail.enabled": True,
    "mail.hostname": "mail.example.com",
    "mail.main_domain": "example.com",
}


@pytest.fixture
def facts(tmp_path: Path) -> Facts:
    return facts_of(tmp_path)


def settings_of(**names: object) -> Settings:
    return schema.from_json({name.replace("__", "."): value for name, value in names.items()})


def accepted(argv: list[str], facts: Facts, settings: Settings, folder: Path) -> None:
    """Assert that a program takes the rendered files (`{folder}` in argv)."""
    if shutil.which(argv[0]) is None:
        pytest.skip(f"{argv[0]} is not installed")
    Machine(folder).write_set(folder / "set", render(settings, facts))
    argv = [part.format(folder=folder / "set") for part in argv]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def variants() -> Mapping[str, Settings]:
    return {
        "new box": Settings(),
        "mail on": schema.from_json(MAIL_ON),
        "all": schema.from_json(
            {
                **MAIL_ON,
                "box.dns_forwarders": ["10.0.2.2@5353", "2001:db8::53"],
                "box.ntp_servers": ["ntp.example.com", "192.0.2.1", "2001:db8::1"],
                "box.ssh_authorized_keys": [KEY],
                "box.time_zone": "Europe/Berlin",
            }
        ),
        "own time servers": schema.from_json({"box.ntp_servers": ["ntp.example.com", "192.0.2.1"]}),
    }


@pytest.mark.parametrize("name", variants())
def test_unbound_takes_its_file(name: str, facts: Facts, tmp_path: Path) -> None:
    if not Path("/usr/share/dns/root.key").exists():
        pytest.skip("dns-root-data is not installed")
    accepted(["unbound-checkconf", "{folder}/unbound.conf"], facts, variants()[name], tmp_path)


@pytest.mark.parametrize("claimed", [True, False])
@pytest.mark.parametrize("name", variants())
def test_nftables_takes_its_file(name: str, claimed: bool, facts: Facts, tmp_path: Path) -> None:
    facts = _with(facts, claimed=claimed)
    accepted(["nft", "-c", "-f", "{folder}/nftables.conf"], facts, variants()[name], tmp_path)


def _with(facts: Facts, **changes: object) -> Facts:
    return dataclasses.replace(facts, **changes)  # type: ignore[arg-type]


def rules(settings: Settings, facts: Facts) -> str:
    return render(settings, facts)["nftables.conf"].decode()


def test_before_the_claim_only_the_wizard_is_open_and_only_to_neighbours(facts: Facts) -> None:
    settings = schema.from_json({**MAIL_ON, "box.ssh_authorized_keys": [KEY]})
    text = rules(settings, _with(facts, claimed=False))
    assert "25, 465, 587" not in text
    assert "dport 22" not in text
    assert "192.168.0.0/16" in text
    assert "{ 80, 443, 8443 } accept\n        ip6" in text
    assert "        tcp dport { 80, 443, 8443 } accept" not in text


def test_mail_and_ssh_are_open_when_they_are_switched_on_and_only_then(facts: Facts) -> None:
    assert "25, 465, 587" in rules(schema.from_json(MAIL_ON), facts)
    assert "dport 22" not in rules(schema.from_json(MAIL_ON), facts)
    with_key = rules(settings_of(box__ssh_authorized_keys=[KEY]), facts)
    assert "dport 22 accept" in with_key
    assert "25, 465, 587" not in with_key
    assert "policy drop" in with_key


def test_the_switches_for_units_exist_exactly_while_they_are_on(facts: Facts) -> None:
    settings = schema.from_json({**MAIL_ON, "box.ssh_authorized_keys": [KEY]})
    assert {"mail.on", "ssh.on"} <= render(settings, facts).keys()
    assert not {"mail.on", "ssh.on"} & render(settings, _with(facts, claimed=False)).keys()
    assert not {"mail.on", "ssh.on"} & render(Settings(), facts).keys()


def test_the_relay_runs_once_the_box_has_an_owner_to_keep_and_show_the_queue(facts: Facts) -> None:
    assert "relay.on" in render(Settings(), facts)
    assert "relay.on" not in render(schema.from_json(MAIL_ON), _with(facts, claimed=False))


def test_the_resolver_validates_by_itself_but_for_the_names_of_time_servers(facts: Facts) -> None:
    text = render(variants()["own time servers"], facts)["unbound.conf"].decode()
    assert 'module-config: "validator iterator"' in text
    assert 'domain-insecure: "ntp.org"' in text
    assert 'domain-insecure: "ntp.example.com"' in text
    assert "192.0.2.1" not in text
    assert "forward-zone" not in text


def test_forwarders_are_asked_and_believed(facts: Facts) -> None:
    text = render(variants()["all"], facts)["unbound.conf"].decode()
    assert 'module-config: "iterator"' in text
    assert "forward-addr: 10.0.2.2@5353" in text
    assert "trust-anchor" not in text


def test_the_web_gets_no_secrets_and_nobody_gets_the_claim_code(facts: Facts) -> None:
    settings = settings_of(outbound__smarthost_password="s3cret-word")
    files = render(settings, _with(facts, claimed=False), revision=7)
    assert b"s3cret-word" in files["relay.json"]
    assert b"s3cret-word" not in files["web.json"]
    holders = [name for name, data in files.items() if b"AAAA-BBBB" in data]
    assert holders == ["issue"]
    assert json.loads(files["web.json"])["revision"] == 7


def test_the_console_says_how_to_claim_until_the_box_has_an_owner(facts: Facts) -> None:
    before = render(Settings(), _with(facts, claimed=False))["issue"].decode()
    after = render(schema.from_json(MAIL_ON), facts)["issue"].decode()
    assert "AAAA-BBBB" in before
    assert "pennypost.local" in before
    assert "AAAA-BBBB" not in after
    assert "Mail service: on" in after


def test_a_box_without_a_name_is_called_pennypost(facts: Facts) -> None:
    assert render(Settings(), facts)["hostname"] == b"pennypost\n"
    named = render(schema.from_json(MAIL_ON), facts)
    assert named["hostname"] == b"mail\n"
    assert b"127.0.1.1 mail.example.com mail\n" in named["hosts"]


def test_the_time_zone_is_a_link_into_the_zones(facts: Facts, tmp_path: Path) -> None:
    Machine(tmp_path).write_set(tmp_path / "set", render(variants()["all"], facts))
    assert (tmp_path / "set" / "localtime").readlink() == Path("/usr/share/zoneinfo/Europe/Berlin")


def test_files_with_secrets_are_not_for_everybody(facts: Facts, tmp_path: Path) -> None:
    Machine(tmp_path).write_set(tmp_path / "set", render(Settings(), facts))
    assert (tmp_path / "set" / "relay.json").stat().st_mode & 0o007 == 0
    assert (tmp_path / "set" / "issue").stat().st_mode & 0o007 == 0
    assert (tmp_path / "set" / "web.json").stat().st_mode & 0o777 == 0o644


def test_in_a_checkout_only_our_own_daemons_are_configured(facts: Facts) -> None:
    assert render(Settings(), _with(facts, dev=True)).keys() == {"relay.json", "web.json"}


def test_rendering_is_pure(facts: Facts) -> None:
    settings = variants()["all"]
    assert render(settings, facts, revision=3) == render(settings, facts, revision=3)
