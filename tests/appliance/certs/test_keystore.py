"""Keys on disk: made once, whole or absent, readable by those who need them."""

import shutil
from pathlib import Path

import pytest

from appliance.base.clock import FakeClock
from appliance.certs.keystore import Keystore
from appliance.certs.local_ca import Subject

SUBJECT = Subject(("mail.example.com",))
DAY_SECONDS = 86_400


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def keystore(tmp_path: Path, clock: FakeClock) -> Keystore:
    return Keystore(tmp_path / "keys", clock)


def test_the_root_is_made_once_and_its_certificate_is_public(keystore: Keystore) -> None:
    root = keystore.root()
    assert keystore.root().key_pem == root.key_pem
    assert keystore.public_root.read_bytes() == root.certificate_pem
    assert keystore.public_root.stat().st_mode & 0o777 == 0o644


def test_keys_are_for_their_owner_only(keystore: Keystore, tmp_path: Path) -> None:
    keystore.host.make_live(keystore.host.pair_for(SUBJECT))
    for key in (tmp_path / "keys").rglob("key.pem"):
        assert key.stat().st_mode & 0o077 == 0
        assert key.parent.stat().st_mode & 0o077 == 0


def test_a_new_pair_is_not_live_before_it_is_made_so(keystore: Keystore) -> None:
    pair = keystore.host.pair_for(SUBJECT)
    assert pair.renewed_because
    assert keystore.host.live() is None
    keystore.host.make_live(pair)
    live = keystore.host.live()
    assert live is not None
    assert live.folder == pair.folder.resolve()


def test_a_live_pair_that_does_is_kept(keystore: Keystore) -> None:
    keystore.host.make_live(keystore.host.pair_for(SUBJECT))
    again = keystore.host.pair_for(SUBJECT)
    assert not again.renewed_because
    assert not keystore.host.why_due(SUBJECT)


def test_it_is_renewed_when_time_runs_out(keystore: Keystore, clock: FakeClock) -> None:
    keystore.host.make_live(keystore.host.pair_for(SUBJECT))
    clock.advance(380 * DAY_SECONDS)
    pair = keystore.host.pair_for(SUBJECT)
    assert "30 days" in pair.renewed_because
    keystore.host.make_live(pair)
    assert not keystore.host.why_due(SUBJECT)


def test_a_discarded_pair_leaves_the_live_one_alone(keystore: Keystore) -> None:
    first = keystore.host.pair_for(SUBJECT)
    keystore.host.make_live(first)
    second = keystore.host.pair_for(Subject(("new.example.com",)))
    keystore.host.discard(second)
    assert not second.folder.exists()
    keystore.host.discard(first)  # live: stays
    assert first.key.exists()


def test_the_pair_before_is_kept_and_older_ones_go(keystore: Keystore, tmp_path: Path) -> None:
    for name in ("a", "b", "c", "d"):
        keystore.host.make_live(keystore.host.pair_for(Subject((f"{name}.example.com",))))
    names = sorted(path.name for path in (tmp_path / "keys").glob("tls.*"))
    assert names == ["tls.3", "tls.4"]


def test_a_half_written_pair_of_a_power_cut_is_made_anew(
    keystore: Keystore, tmp_path: Path
) -> None:
    keys = tmp_path / "keys"
    (keys / "ca.new").mkdir(parents=True)
    (keys / "ca.new" / "key.pem").write_text("half")
    (keys / "tls.1.new").mkdir()
    keystore.root()
    keystore.host.make_live(keystore.host.pair_for(SUBJECT))
    assert not (keys / "ca.new").exists()
    assert not (keys / "tls.1.new").exists()


def test_a_live_pair_whose_files_are_gone_is_replaced(keystore: Keystore) -> None:
    first = keystore.host.pair_for(SUBJECT)
    keystore.host.make_live(first)
    first.key.unlink()
    assert "cannot be read" in keystore.host.why_due(SUBJECT)
    shutil.rmtree(first.folder)  # now the link leads nowhere
    keystore.host.make_live(keystore.host.pair_for(SUBJECT))
    assert not keystore.host.why_due(SUBJECT)


def test_an_address_that_is_missing_alone_is_no_reason_to_renew_when_less_will_do(
    keystore: Keystore,
) -> None:
    least = Subject(("pennypost.local",))
    keystore.local.make_live(keystore.local.pair_for(least))
    more = Subject(("pennypost.local",), ("192.0.2.7",))
    assert not keystore.local.pair_for(more, least=least).renewed_because
    assert keystore.local.pair_for(more).renewed_because


def test_the_two_lines_do_not_touch_each_other(keystore: Keystore) -> None:
    local = keystore.local.pair_for(SUBJECT)
    keystore.local.make_live(local)
    for name in ("a", "b", "c"):
        keystore.host.make_live(keystore.host.pair_for(Subject((f"{name}.example.com",))))
    live = keystore.local.live()
    assert live is not None
    assert live.folder == local.folder.resolve()
    assert local.key.exists()
