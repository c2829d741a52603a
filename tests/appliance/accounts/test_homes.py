"""What becomes of the mail of accounts that are gone, on real folders."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from appliance.accounts.homes import Homes
from appliance.accounts.removals import Fate, Removals
from appliance.accounts.users import Users
from appliance.base.clock import FakeClock
from appliance.base.finding import Refused


class Office:
    """Two accounts with a letter each."""

    def __init__(self, folder: Path) -> None:
        self.clock = FakeClock()
        self.users = Users(folder / "accounts.db", self.clock)
        self.removals = Removals(folder / "accounts.db")
        self.mail = folder / "mail"
        self.mail.mkdir()
        self.homes = Homes(self.mail)
        self.homes.prepare()
        for login in ("r.anna", "bert"):
            self.users.add(login, name="", password_hash="x")
            for part in ("cur", ".Sent/cur"):
                letter = self.mail / "homes" / login / "Maildir" / part / f"of-{login}"
                letter.parent.mkdir(parents=True)
                letter.write_bytes(b"x")

    def carry_out(self) -> None:
        self.homes.carry_out(self.removals, self.clock.now())

    def letters(self) -> set[str]:
        return {str(p.relative_to(self.mail)) for p in self.mail.rglob("of-*") if p.is_file()}


@pytest.fixture
def office(tmp_path: Path) -> Office:
    return Office(tmp_path)


BERTS = {"homes/bert/Maildir/cur/of-bert", "homes/bert/Maildir/.Sent/cur/of-bert"}


def test_mail_is_kept_for_its_days_and_then_erased(office: Office) -> None:
    office.users.delete("r.anna", Fate.KEEP, days=30)
    office.carry_out()
    kept = {"removed/1/Maildir/cur/of-r.anna", "removed/1/Maildir/.Sent/cur/of-r.anna"}
    assert office.letters() == BERTS | kept
    office.clock.advance(timedelta(days=29).total_seconds())
    office.carry_out()
    assert office.letters() == BERTS | kept
    office.clock.advance(timedelta(days=2).total_seconds())
    office.carry_out()
    assert office.letters() == BERTS
    assert office.removals.all() == ()


def test_mail_handed_over_becomes_folders_of_the_other(office: Office) -> None:
    office.users.delete("r.anna", Fate.HAND_OVER, heir="bert")
    office.carry_out()
    office.carry_out()
    assert office.letters() == BERTS | {
        "homes/bert/Maildir/.r_anna/cur/of-r.anna",
        "homes/bert/Maildir/.r_anna.Sent/cur/of-r.anna",
    }


def test_handing_over_goes_on_where_a_power_cut_stopped_it(office: Office) -> None:
    office.users.delete("r.anna", Fate.HAND_OVER, heir="bert")
    moved = office.mail / "removed" / "1"
    (office.mail / "homes" / "r.anna").rename(moved)  # and then the power went
    office.carry_out()
    assert "homes/bert/Maildir/.r_anna/cur/of-r.anna" in office.letters()
    assert not moved.exists()


def test_what_is_to_be_erased_is_erased_and_links_are_not_followed(
    office: Office, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "of-others").write_bytes(b"x")
    (office.mail / "homes" / "r.anna" / "Maildir" / ".Out").symlink_to(elsewhere)
    office.users.delete("r.anna", Fate.ERASE)
    office.carry_out()
    assert office.letters() == BERTS
    assert (elsewhere / "of-others").exists()


def test_a_mailbox_that_is_a_link_is_not_handed_over(office: Office, tmp_path: Path) -> None:
    home = office.mail / "homes" / "r.anna"
    (home / "Maildir").rename(tmp_path / "away")
    (home / "Maildir").symlink_to(tmp_path / "away")
    office.users.delete("r.anna", Fate.HAND_OVER, heir="bert")
    office.carry_out()
    assert office.letters() == BERTS
    assert (tmp_path / "away" / "cur" / "of-r.anna").exists()


def test_a_name_is_free_again_only_when_its_mail_is_put_away(office: Office) -> None:
    office.users.delete("r.anna", Fate.KEEP, days=30)
    with pytest.raises(Refused, match="has not been put away"):
        office.users.add("r.anna", name="", password_hash="x")
    office.carry_out()
    office.users.add("r.anna", name="", password_hash="x")


def test_the_heir_is_another_account_that_exists(office: Office) -> None:
    for heir in ("r.anna", "nobody"):
        with pytest.raises(Refused):
            office.users.delete("r.anna", Fate.HAND_OVER, heir=heir)
    assert {user.login for user in office.users.all()} == {"r.anna", "bert"}
