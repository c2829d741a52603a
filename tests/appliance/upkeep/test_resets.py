"""Resets: what goes, what stays, and that a power cut at any step is mended by the next start."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from appliance.base import files
from appliance.base.clock import FakeClock
from appliance.base.finding import Refused
from appliance.settings.store import Store
from appliance.upkeep import resets
from appliance.upkeep.resets import Mark, Reset

MAIL = ("spool/spool.db", "spool/bodies/1", "accounts/accounts.db", "mail-in-some-new-folder/x")
WEB = ("web/web.db", "web/accounts.db", "web/accounts.db-wal", "claim/claimed", "claim/preseed")
OTHERS = (
    "settings/settings.db",
    "keys/tls/key.pem",
    "keys/ca/key.pem",
    "keys/dkim/a/key",
    "keys/ssh/ssh_host_ed25519_key",
    "memory/grey.db",
    "rspamd/bayes",
)
NETWORK = {
    "network.mode": "static",
    "network.address": "192.168.1.20/24",
    "network.gateway": "192.168.1.1",
    "box.dns_forwarders": ["192.168.1.1"],
    "mail.hostname": "mail.example.com",
}


class Used:
    """A box with everything on it, and its boot partition."""

    def __init__(self, folder: Path) -> None:
        self.data, self.esp = folder / "data", folder / "esp"
        self.esp.mkdir(parents=True)
        for name in (*MAIL, *WEB, *OTHERS):
            (self.data / name).parent.mkdir(parents=True, exist_ok=True)
            if name != OTHERS[0]:
                (self.data / name).write_text(name)
        self.store = Store(self.data / OTHERS[0], FakeClock())
        self.store.commit(self.store.planned(NETWORK), author="test")

    def start(self) -> Reset | None:
        """What a start does with mark and file; what Refused said is of no matter here."""
        resets.take(self.esp, self.data)
        return resets.carry_out(self.data, self.store)

    def settle(self) -> None:
        """What comes some time later."""
        resets.remove(self.esp, self.data)

    def there(self) -> set[str]:
        return {str(p.relative_to(self.data)) for p in self.data.rglob("*") if p.is_file()}

    def setting(self, name: str) -> object:
        settings = self.store.current()[1]
        section, _, field = name.partition(".")
        return getattr(getattr(settings, section), field)


@pytest.fixture
def box(tmp_path: Path) -> Used:
    return Used(tmp_path)


def test_without_a_mark_nothing_happens(box: Used) -> None:
    before = box.there()
    assert box.start() is None
    assert box.there() == before


def test_a_password_reset_opens_the_claim_again_and_keeps_the_rest(box: Used) -> None:
    resets.request(box.data, Reset.PASSWORD)
    assert box.start() is Reset.PASSWORD
    assert box.there() == {*MAIL, *OTHERS}
    assert box.setting("network.mode") == "static"
    assert box.start() is None, "done once"


def test_a_network_reset_changes_the_network_and_nothing_else(box: Used) -> None:
    resets.request(box.data, Reset.NETWORK)
    before = box.there()
    assert box.start() is Reset.NETWORK
    assert box.there() == before - {"reset"}
    assert (box.setting("network.mode"), box.setting("network.address")) == ("dhcp", "")
    assert box.setting("box.dns_forwarders") == ()
    assert box.setting("mail.hostname") == "mail.example.com"
    assert box.store.history(1)[0].author == "reset"


def test_a_factory_reset_keeps_mail_and_people_alone(box: Used) -> None:
    resets.request(box.data, Reset.FACTORY)
    assert box.start() is Reset.FACTORY
    assert box.there() == set(MAIL)
    assert all((box.data / name).is_dir() for name in resets.EMPTIED[Reset.FACTORY])


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("RESET.TXT", b"network"),
        ("reset.txt", b"Network\r\n"),
        ("Reset.txt.txt", b"\xef\xbb\xbfnetwork\n"),
        ("RESET.TXT", "“network”".strip("“”").encode("utf-16")),
        ("RESET.TXT", b' "network". \n\n'),
    ],
)
def test_the_file_is_obeyed_once_however_it_is_written(
    box: Used, name: str, content: bytes
) -> None:
    (box.esp / name).write_bytes(content)
    assert box.start() is Reset.NETWORK
    assert box.start() is None, "the file is still there, and was obeyed"
    box.settle()
    assert list(box.esp.iterdir()) == []
    assert box.start() is None
    assert not (box.data / resets.DONE).exists()
    (box.esp / name).write_bytes(content)
    assert box.start() is Reset.NETWORK, "the same file again is meant again"


@pytest.mark.parametrize("content", [b"", b"everything", b"password network", b"\xff" * 9000])
def test_another_word_is_refused_and_stays(box: Used, content: bytes) -> None:
    (box.esp / "RESET.TXT").write_bytes(content)
    before = box.there()
    with pytest.raises(Refused, match="not known"):
        box.start()
    box.settle()
    assert (box.esp / "RESET.TXT").exists()
    assert box.there() == before


def test_a_mark_that_says_nothing_known_goes(box: Used) -> None:
    (box.data / resets.MARK).write_bytes(b"\xffeverything")
    assert resets.due(box.data) is None
    assert not (box.data / resets.MARK).exists()
    resets.request(box.data, Reset.FACTORY, "abc")
    assert resets.due(box.data) == Mark(Reset.FACTORY, "abc")


class PowerCut(BaseException):
    """The machine is off."""


def cutting_at(number: int, monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """Cut the power at the n-th thing that changes the disk; how many there were."""
    count = 0

    def cut(real: Callable[..., object]) -> Callable[..., object]:
        def step(*args: object, **more: object) -> object:
            nonlocal count
            count += 1
            if count == number:
                raise PowerCut
            return real(*args, **more)

        return step

    for module, name in (
        (resets, "replace_file"),
        (resets, "remove_file"),
        (resets, "fsync_directory"),
        (files.os, "unlink"),
        (resets.shutil, "rmtree"),
        (Path, "unlink"),
    ):
        monkeypatch.setattr(module, name, cut(getattr(module, name)))
    monkeypatch.setattr(Store, "commit", cut(Store.commit))
    return lambda: count


@pytest.mark.full
@pytest.mark.parametrize("what", list(Reset))
def test_a_power_cut_at_any_step_is_mended_by_the_next_start(tmp_path: Path, what: Reset) -> None:
    def boxes() -> Iterator[Used]:
        for number in range(1, 200):
            yield Used(tmp_path / str(number))

    whole = Used(tmp_path / "whole")
    (whole.esp / "RESET.TXT").write_text(what)
    whole.start()
    there, mode = whole.there(), whole.setting("network.mode")
    cuts = 0
    for number, box in enumerate(boxes(), start=1):
        (box.esp / "RESET.TXT").write_text(what)
        with pytest.MonkeyPatch.context() as patch:
            steps = cutting_at(number, patch)
            try:
                box.start()
            except PowerCut:
                cuts += 1
            reached = steps()
        if reached < number:
            break
        box.start()
        assert box.there() == there, number
        assert box.setting("network.mode") == mode, number
        assert resets.due(box.data) is None, number
    assert cuts >= 3
