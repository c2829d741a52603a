"""The steward's orders on signing keys, over a real store and real files."""

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from appliance.base.control import Peer, Request
from appliance.base.finding import PennypostError, Refused
from appliance.certs.dkim_keys import load_signing_keys
from appliance.dns.resolver import FakeResolver
from appliance.steward.actions import Steward
from appliance.steward.main import Desk
from tests.support.applied_box import Box, failing_at

DOMAIN = {"domain": "example.com"}


class Room:
    """A box with two domains and a DNS that can be filled."""

    def __init__(self, folder: Path) -> None:
        self.box = Box(folder)
        self.box.bring(
            mail__hostname="mail.example.com",
            mail__main_domain="example.com",
            mail__additional_domains=["example.org", "box.invalid"],
        )
        self.dns: dict[str, list[str]] = {}
        self.resolver = FakeResolver(TXT=self.dns)

    def ask(self, verb: str, args: Mapping[str, Any] | None = None) -> Any:
        steward = Steward(
            self.box.place,
            store=self.box.store,
            applier=self.box.applier,
            claim=self.box.claim,
            clock=self.box.clock,
            resolver=FakeResolver(TXT=self.dns),
        )
        desk = Desk(steward.table(), root_uids={0})
        peer = Peer(pid=1, uid=0, gid=0)
        request = Request(verb=verb, args=dict(args or {}), peer=peer, progress=lambda step: None)
        return asyncio.run(desk.handle(request))

    def signs(self) -> list[str]:
        """The selectors that the relay signs example.com's mail with."""
        facts = json.loads(self.box.applier.in_force()["relay.json"])["facts"]
        return [key.selector for key in load_signing_keys(facts).get("example.com", ())]

    def publish(self, shown: Mapping[str, Any]) -> None:
        for pair in shown["pairs"]:
            self.dns |= {record["name"]: [record["record"]] for record in pair["records"]}


@pytest.fixture
def room(tmp_path: Path) -> Room:
    return Room(tmp_path)


def test_every_domain_that_can_be_in_the_dns_has_keys(room: Room) -> None:
    shown = room.ask("dkim.show")
    assert shown["enabled"] is True
    assert [domain["domain"] for domain in shown["domains"]] == ["example.com", "example.org"]
    [pair] = shown["domains"][0]["pairs"]
    assert [record["name"] for record in pair["records"]] == [
        "pp1._domainkey.example.com",
        "pp1e._domainkey.example.com",
    ]
    assert "PRIVATE" not in json.dumps(shown)
    assert room.signs() == ["pp1", "pp1e"]


def test_with_signing_off_the_relay_gets_no_keys(room: Room) -> None:
    room.box.bring(signing__enabled=False)
    assert room.signs() == []
    assert len(room.ask("dkim.show")["domains"]) == 2
    room.box.bring(signing__enabled=True)
    assert room.signs() == ["pp1", "pp1e"]


def test_the_next_keys_wait_for_the_dns(room: Room) -> None:
    shown = room.ask("dkim.rotate", DOMAIN)
    assert [pair["part"] for pair in shown["pairs"]] == ["current", "next"]
    assert room.signs() == ["pp1", "pp1e"]
    with pytest.raises(Refused) as caught:
        room.ask("dkim.switch", DOMAIN)
    assert "pp2._domainkey.example.com" in caught.value.finding.say
    room.publish(shown)
    shown = room.ask("dkim.switch", DOMAIN)
    assert [pair["part"] for pair in shown["pairs"]] == ["current", "retired"]
    assert room.signs() == ["pp2", "pp2e"]
    assert any("relay" in str(action) for action in room.box.effects.told)


def test_an_order_by_force_does_not_wait(room: Room) -> None:
    room.ask("dkim.rotate", DOMAIN)
    room.ask("dkim.switch", DOMAIN | {"force": True})
    assert room.signs() == ["pp2", "pp2e"]


def test_nothing_is_switched_that_was_not_prepared(room: Room) -> None:
    for force in (True, False):
        with pytest.raises(Refused, match="No next key"):
            room.ask("dkim.switch", DOMAIN | {"force": force})


def test_the_daily_look_switches_what_is_published(room: Room) -> None:
    shown = room.ask("dkim.rotate", DOMAIN)
    room.ask("dkim.rotate", {"domain": "example.org"})
    assert room.ask("dkim.tend") == {"switched": []}
    room.publish(shown)
    assert room.ask("dkim.tend") == {"switched": ["example.com"]}
    assert room.signs() == ["pp2", "pp2e"]


def test_a_relay_that_cannot_be_told_keeps_the_old_keys(room: Room) -> None:
    room.ask("dkim.rotate", DOMAIN)
    before = room.ask("dkim.show")
    room.box.effects.before = failing_at(0)
    with pytest.raises(PennypostError):
        room.ask("dkim.switch", DOMAIN | {"force": True})
    assert room.ask("dkim.show") == before
    assert room.signs() == ["pp1", "pp1e"]


def test_other_domains_are_refused(room: Room) -> None:
    for domain in ("example.net", "box.invalid", "../tls", "", 3, "mail.example.com"):
        for verb in ("dkim.rotate", "dkim.switch"):
            with pytest.raises(Refused):
                room.ask(verb, {"domain": domain})


def test_a_domain_that_leaves_and_comes_back_keeps_its_keys(room: Room) -> None:
    before = room.ask("dkim.show")["domains"][0]
    room.box.bring(mail__main_domain="example.net")
    assert room.signs() == []
    room.box.bring(mail__main_domain="example.com")
    assert room.ask("dkim.show")["domains"][0] == before
