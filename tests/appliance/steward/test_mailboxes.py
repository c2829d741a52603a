"""What Dovecot is told of people, as the mailbox disk comes and goes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from appliance.accounts.removals import Fate
from appliance.accounts.users import Users
from appliance.base.clock import FakeClock
from appliance.render import dovecot
from appliance.render.facts import Place
from appliance.settings import schema
from appliance.steward.mailboxes import MailboxActions, is_ready


class Boxes:
    """A box's folders with one account; the mailboxes belong to whoever runs the tests."""

    def __init__(self, folder: Path) -> None:
        self.place = Place(data=folder, run=folder / "run", mail_root=folder / "mail")
        self.place.mail_root.mkdir()
        self.place.run.mkdir()
        self.users = Users(folder / "accounts.db", FakeClock())
        self.users.add("anna", name="", password_hash="$argon2id$x")
        settings = schema.from_json({"mailboxes.enabled": True})
        self.boxes = MailboxActions(
            self.place, folder / "accounts.db", lambda: settings, FakeClock()
        )

    def disk(self, **told: object) -> None:
        (self.place.run / "maildisk.json").write_text(json.dumps(told))

    def told(self) -> str:
        return (self.place.run / "mailboxes" / "users").read_text()


@pytest.fixture
def box(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Boxes:
    monkeypatch.setattr(dovecot, "MAIL_USER", None)
    return Boxes(tmp_path)


@pytest.mark.parametrize(
    ("told", "ready"),
    [
        ({"state": "ready"}, True),
        ({"state": "missing"}, False),
        ({"state": "full", "usable": True}, True),
        ({"state": "ready", "usable": False}, False),
        ({}, False),
    ],
)
def test_the_keeper_of_the_disk_is_believed(
    box: Boxes, told: dict[str, object], ready: bool
) -> None:
    box.disk(**told)
    assert is_ready(box.place.run / "maildisk.json") is ready
    assert box.boxes.sync() is ready
    assert ("$argon2id$" in box.told()) is ready


def test_without_a_word_of_the_disk_nothing_is_made_on_it(box: Boxes) -> None:
    assert not box.boxes.sync()
    assert "anna:" in box.told()
    assert list(box.place.mail_root.iterdir()) == []


def test_mail_of_the_gone_is_put_away_when_the_disk_is_back(box: Boxes) -> None:
    box.disk(state="ready")
    box.boxes.sync()
    (box.place.mail_root / "homes" / "anna").mkdir()
    box.disk(state="missing")
    box.users.delete("anna", Fate.ERASE)
    box.boxes.sync()
    assert (box.place.mail_root / "homes" / "anna").exists()
    box.disk(state="ready")
    box.boxes.sync()
    assert not (box.place.mail_root / "homes" / "anna").exists()
    assert box.boxes.removals.all() == ()
