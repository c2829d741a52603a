"""The preseed file: read whole or not at all, and gone once it was used."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.base.clock import FakeClock
from appliance.base.finding import Refused
from appliance.render.claim import ClaimFiles
from appliance.settings.store import Store
from appliance.upkeep import claim_text, preseed

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEmVnHSG8dPmHW1JYLYjQk8DOTxmpuSMhJKSTbEKFkdY anna"
CODE = "Lantern-Orbit-58"
GOOD = f"""\
# Our box
claim_code = "{CODE}"
ssh_keys = ["{KEY}"]
[network]
address = "192.168.1.20/255.255.255.0"
gateway = "192.168.1.1"
dns = ["192.168.1.1"]
"""


class Card:
    """A box before its first start: boot partition, claim folder, settings."""

    def __init__(self, folder: Path) -> None:
        self.esp = folder / "esp"
        for name in ("esp", "claim"):
            (folder / name).mkdir()
        self.claim = ClaimFiles(folder / "claim")
        self.store = Store(folder / "settings.db", FakeClock())

    def write(self, text: str | bytes, name: str = "pennypost.toml") -> None:
        (self.esp / name).write_bytes(text.encode() if isinstance(text, str) else text)

    def start(self) -> None:
        """What a start does, up to where the file goes."""
        preseed.take(self.esp, self.claim, self.store)
        self.claim.ensure_code()

    def settle(self) -> None:
        """What comes some time later."""
        preseed.remove(self.esp, self.claim)

    def start_and_settle(self) -> None:
        self.start()
        self.settle()

    def files(self) -> set[str]:
        return {path.name for path in self.esp.iterdir()}


@pytest.fixture
def card(tmp_path: Path) -> Card:
    return Card(tmp_path)


def test_code_address_and_key_are_taken_over(card: Card) -> None:
    card.write(GOOD)
    card.start()
    settings = card.store.current()[1]
    assert card.claim.code() == CODE
    assert settings.box.ssh_authorized_keys == (KEY,)
    assert settings.network.mode == "static"
    assert settings.network.address == "192.168.1.20/24"
    assert settings.network.gateway == "192.168.1.1"
    assert settings.box.dns_forwarders == ("192.168.1.1",)
    assert card.claim.preseeded().code


def test_the_code_is_nowhere_on_the_card_afterwards(card: Card) -> None:
    card.write(GOOD, "PENNYPOST.TOML")
    card.start()
    card.settle()
    assert card.files() == set()
    text = claim_text.wanted(card.claim.code_file.parent)
    assert text is not None
    assert CODE.encode() not in text
    assert b"pennypost.toml" in text


@pytest.mark.parametrize("editor", ["windows", "mark", "ending"])
def test_what_editors_do_to_a_file_does_no_harm(card: Card, editor: str) -> None:
    data = GOOD.encode()
    if editor == "windows":
        data = data.replace(b"\n", b"\r\n")
    elif editor == "mark":
        data = b"\xef\xbb\xbf" + data
    card.write(data, "pennypost.toml.txt" if editor == "ending" else "Pennypost.toml")
    card.start()
    assert card.claim.code() == CODE


WRONG = {
    "claim_code": 'claim_code = "short"',
    "claim_code series": 'claim_code = "1234567890"',
    "claim_code alphabet": 'claim_code = "abcdefghijkl"',
    "claim_code keyboard": 'claim_code = "qwertyuiop"',
    "claim_code same": 'claim_code = "aaaa-aaaa-aaaa"',
    "claim_code type": "claim_code = 4711471147",
    "claim_code empty list": "claim_code = []",
    "ssh_keys": GOOD.replace(KEY, "ssh-ed25519 nonsense"),
    "network.address": GOOD.replace("/255.255.255.0", ""),
    "network.address network": GOOD.replace("1.20/", "1.0/"),
    "network.gateway": GOOD.replace('gateway = "192.168.1.1"', 'gateway = "10.0.0.1"'),
    "network.dns": GOOD.replace('dns = ["192', 'dns = ["name.example 192'),
    "network": 'network = "dhcp"',
    "passwort": GOOD.replace("ssh_keys", "passwort"),
    "Line 2": GOOD.replace(f'"{CODE}"', f"“{CODE}”"),
    "nothing": "# claim_code\n",
    "UTF-8": GOOD.encode("utf-16"),
    "large": GOOD + "#" * 70_000,
}


@pytest.mark.parametrize("name", WRONG)
def test_a_bad_file_is_told_with_field_and_remedy_and_nothing_of_it_is_used(
    card: Card, name: str
) -> None:
    card.write(WRONG[name])
    card.start()
    noted = card.claim.preseeded()
    word = "router" if name == "network.gateway" else name.split()[0]
    assert word in noted.say, noted
    assert noted.say.startswith("pennypost.toml")
    assert noted.fix
    assert CODE not in noted.say + noted.fix
    assert card.store.current()[0] == 0, "no setting was changed"
    assert card.claim.code() not in ("", CODE)
    assert not noted.code
    card.settle()
    assert card.files() == {"pennypost.toml"}, "it stays, to be put right"


def test_a_file_put_right_is_used_at_the_next_start(card: Card) -> None:
    card.write('claim_code = "short"')
    card.start()
    card.write(GOOD)
    card.start()
    assert card.claim.code() == CODE
    assert card.claim.preseeded().say == ""


def test_the_complaint_goes_with_the_file(card: Card) -> None:
    card.write('claim_code = "short"')
    card.start()
    (card.esp / "pennypost.toml").unlink()
    card.start()
    assert card.claim.preseeded().say == ""


def test_a_second_file_before_the_claim_is_used_too(card: Card) -> None:
    card.write(GOOD)
    card.start()
    card.settle()
    card.write(GOOD.replace("1.20", "1.21"))
    card.start()
    assert card.store.current()[1].network.address == "192.168.1.21/24"


def test_a_box_with_an_owner_reads_no_file_and_leaves_no_code_on_the_card(card: Card) -> None:
    card.start()
    card.claim.close()
    card.write(GOOD)
    card.start()
    assert card.store.current()[0] == 0
    card.settle()
    assert card.files() == set()


class PowerCut(BaseException):
    """Nothing more is written."""


STEPS = ("settings", "code", "note", "rename", "overwrite", "delete")


@pytest.mark.parametrize("cut", STEPS)
def test_a_power_cut_at_any_step_is_gone_on_from(
    card: Card, cut: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def vanish(*_: object, **__: object) -> None:
        raise PowerCut

    card.write(GOOD)
    with monkeypatch.context() as power:
        match cut:
            case "settings":
                power.setattr(card.store, "commit", vanish)
            case "code":
                power.setattr(card.claim, "set_code", vanish)
            case "note":
                power.setattr(card.claim, "note_preseed", vanish)
            case "rename":
                power.setattr(Path, "rename", vanish)
            case "overwrite":
                power.setattr(preseed, "fsync_directory", vanish)
            case "delete":
                power.setattr(preseed, "remove_file", vanish)
        with pytest.raises(PowerCut):
            card.start_and_settle()
    card.start()
    card.settle()
    assert card.claim.code() == CODE
    assert card.store.current()[1].network.address == "192.168.1.20/24"
    assert card.files() == set()
    assert card.claim.preseeded().say == ""


def refusal(data: bytes) -> Refused | None:
    try:
        preseed.read(data)
    except Refused as refused:
        return refused
    return None


@given(st.binary(max_size=300) | st.text(alphabet='[]={}"\n.x1', max_size=80).map(str.encode))
def test_whatever_is_in_it_the_answer_is_a_finding(data: bytes) -> None:
    refused = refusal(data)
    assert refused is None or (refused.finding.say and refused.finding.fix)
