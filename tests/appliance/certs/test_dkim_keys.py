"""Signing keys: made once, rotated by two selectors, never deleted while they sign."""

import itertools
import json
from datetime import timedelta
from pathlib import Path

import pytest

from appliance.base.clock import FakeClock
from appliance.base.finding import Refused
from appliance.certs import dkim_keys
from appliance.certs.dkim_keys import DkimKeys, load_signing_keys

DOMAIN = "example.com"
DAY_SECONDS = 86_400


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def keys(tmp_path: Path, clock: FakeClock) -> DkimKeys:
    keys = DkimKeys(tmp_path / "dkim", clock)
    keys.ensure([DOMAIN])
    return keys


def selectors(keys: DkimKeys, *parts: str) -> list[str]:
    return [file.selector for file in keys.files([DOMAIN], parts or ("current",))]


def names(keys: DkimKeys) -> set[str]:
    return {path.name for path in (keys.folder / DOMAIN).iterdir()}


def test_each_domain_gets_its_own_pair_once(keys: DkimKeys) -> None:
    first = keys.files([DOMAIN], ("current",))
    assert [(f.selector, f.algorithm) for f in first] == [
        ("pp1", "rsa-sha256"),
        ("pp1e", "ed25519-sha256"),
    ]
    assert first[0].record.startswith("v=DKIM1; k=rsa; p=MII")
    assert first[1].record.startswith("v=DKIM1; k=ed25519; p=")
    assert [f.path.name for f in first] == ["pp1.rsa.pem", "pp1e.ed25519.pem"]
    keys.ensure([DOMAIN, "example.org"])
    assert keys.files([DOMAIN], ("current",)) == first
    other = keys.files(["example.org"], ("current",))
    assert other[1].record != first[1].record


def test_keys_are_for_their_owner_only(keys: DkimKeys) -> None:
    for path in keys.folder.rglob("*.pem"):
        assert path.stat().st_mode & 0o077 == 0
        assert path.parent.stat().st_mode & 0o027 == 0


def test_an_rsa_key_has_2048_bits() -> None:
    pem = dkim_keys.make_rsa.__wrapped__()  # type: ignore[attr-defined]
    key = dkim_keys.SigningKey.from_pem(DOMAIN, "x", pem)
    assert key.key.key_size == 2048  # type: ignore[union-attr]


def test_a_rotation(keys: DkimKeys, clock: FakeClock) -> None:
    keys.prepare(DOMAIN)
    keys.prepare(DOMAIN)  # a second order changes nothing
    assert selectors(keys) == ["pp1", "pp1e"]
    assert selectors(keys, "next") == ["pp2", "pp2e"]
    keys.switch(DOMAIN)
    assert selectors(keys) == ["pp2", "pp2e"]
    assert selectors(keys, "next") == []
    assert selectors(keys, "retired") == ["pp1", "pp1e"]
    with pytest.raises(Refused):
        keys.switch(DOMAIN)
    clock.advance(39 * DAY_SECONDS)
    keys.ensure([DOMAIN])
    assert "pp1.rsa.pem" in names(keys)
    clock.advance(2 * DAY_SECONDS)
    keys.ensure([DOMAIN])
    assert names(keys) == {"pp2.rsa.pem", "pp2e.ed25519.pem", "state.json"}
    keys.prepare(DOMAIN)
    assert selectors(keys, "next") == ["pp3", "pp3e"]


def test_whatever_the_order_the_key_that_signs_is_there(keys: DkimKeys, clock: FakeClock) -> None:
    def do(order: str) -> None:
        if order == "switch":
            if keys.state(DOMAIN).next:
                keys.switch(DOMAIN)
        elif order == "wait":
            clock.advance(30 * DAY_SECONDS)
        else:
            keys.prepare(DOMAIN)

    seen = set()
    for orders in itertools.product(["prepare", "switch", "wait"], repeat=2):
        for order in orders:
            do(order)
            keys.tidy(DOMAIN)
            assert len(selectors(keys)) == 2
        seen.add(selectors(keys)[0])
    assert len(seen) > 1


def test_a_switch_can_be_put_back(keys: DkimKeys) -> None:
    keys.prepare(DOMAIN)
    before = keys.state(DOMAIN)
    keys.switch(DOMAIN)
    keys.put_back(before)
    assert keys.state(DOMAIN) == before
    assert selectors(keys) == ["pp1", "pp1e"]


def test_a_lost_state_is_made_anew_from_the_keys(keys: DkimKeys) -> None:
    before = keys.files([DOMAIN], ("current",))
    for damage in (lambda p: p.unlink(), lambda p: p.write_text("{"), lambda p: p.write_text("[]")):
        damage(keys.folder / DOMAIN / "state.json")
        keys.ensure([DOMAIN])
        assert keys.files([DOMAIN], ("current",)) == before


@pytest.mark.parametrize("content", [None, b"", b"not a key"])
def test_a_key_that_cannot_be_read_is_replaced_under_another_name(
    keys: DkimKeys, content: bytes | None
) -> None:
    path = keys.folder / DOMAIN / "pp1e.ed25519.pem"
    path.unlink() if content is None else path.write_bytes(content)
    keys.ensure([DOMAIN])
    assert selectors(keys) == ["pp2", "pp2e"]


def test_a_pair_cut_off_by_a_power_cut_is_passed_over(keys: DkimKeys) -> None:
    (keys.folder / DOMAIN / "pp2.rsa.pem").write_bytes(b"")
    keys.prepare(DOMAIN)
    assert selectors(keys) == ["pp1", "pp1e"]
    assert selectors(keys, "next") == ["pp3", "pp3e"]


def test_a_domain_without_keys_is_refused(keys: DkimKeys) -> None:
    with pytest.raises(Refused):
        keys.prepare("example.net")
    with pytest.raises(ValueError, match="not a domain"):
        keys.ensure(["../tls"])


def test_the_relay_loads_the_keys_that_the_facts_name(keys: DkimKeys) -> None:
    keys.prepare(DOMAIN)
    files = keys.files([DOMAIN], ("current", "next"))
    facts = json.loads(json.dumps({"dkim_keys": [file.to_json() for file in files]}))
    loaded = load_signing_keys(facts)
    assert [(k.selector, k.algorithm) for k in loaded[DOMAIN]] == [
        ("pp1", "rsa-sha256"),
        ("pp1e", "ed25519-sha256"),
    ]
    assert load_signing_keys({}) == {}


def test_a_key_that_is_gone_does_not_stop_the_relay(keys: DkimKeys) -> None:
    files = [file.to_json() for file in keys.files([DOMAIN], ("current",))]
    Path(files[0]["path"]).unlink()
    assert [k.selector for k in load_signing_keys({"dkim_keys": files})[DOMAIN]] == ["pp1e"]


def test_retired_records_have_a_day(keys: DkimKeys, clock: FakeClock) -> None:
    keys.prepare(DOMAIN)
    state = keys.switch(DOMAIN)
    assert state.current.keep_until is None
    assert state.retired[0].keep_until == clock.now() + timedelta(days=40)
