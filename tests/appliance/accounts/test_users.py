"""The keeper of the people's accounts, and its readers."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from appliance.accounts.users import Users, login_name, read_user, read_users
from appliance.base.clock import FakeClock
from appliance.base.finding import Refused


@pytest.fixture
def users(tmp_path: Path) -> Users:
    return Users(tmp_path / "accounts.db", FakeClock())


def test_an_account_is_kept_changed_and_taken_away(users: Users, tmp_path: Path) -> None:
    made = users.add(" R.Johnson ", name="Robert  Johnson", password_hash="x", messages_per_hour=7)
    assert (made.login, made.name, made.enabled) == ("r.johnson", "Robert Johnson", True)
    assert read_users(tmp_path / "accounts.db") == (made,)
    users.edit("r.johnson", enabled=False, name="")
    seen = read_user(tmp_path / "accounts.db", "r.johnson")
    assert seen is not None
    assert (seen.enabled, seen.name, seen.password_hash, seen.messages_per_hour) == (
        False,
        "",
        "x",
        7,
    )
    users.delete("R.JOHNSON")
    assert users.all() == ()


def test_a_name_is_taken_once_in_any_case(users: Users) -> None:
    users.add("anna", name="", password_hash="x")
    with pytest.raises(Refused, match="of this name"):
        users.add("ANNA", name="", password_hash="y")


@pytest.mark.parametrize(
    "login", ["", ".a", "a.", "a..b", "a b", "a@b", "ä", "a" * 65, "a+b", "-a"]
)
def test_what_can_be_no_plain_address_is_refused(login: str) -> None:
    with pytest.raises(Refused):
        login_name(login)


def test_who_is_unknown_can_not_be_changed(users: Users) -> None:
    for change in (users.delete, users.get, users.edit):
        with pytest.raises(Refused, match="no account"):
            change("nobody")


def test_readers_need_no_right_to_write(users: Users, tmp_path: Path) -> None:
    path = tmp_path / "accounts.db"
    users.add("anna", name="", password_hash="x")
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert [p.name for p in tmp_path.iterdir()] == ["accounts.db"], "no log that readers write"
    tmp_path.chmod(0o500)
    path.chmod(0o400)
    assert read_user(path, "anna") is not None
    tmp_path.chmod(0o700)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_the_group_of_the_folder_may_read(tmp_path: Path) -> None:
    os.chown(tmp_path, -1, 12345)
    Users(tmp_path / "accounts.db", FakeClock())
    assert (tmp_path / "accounts.db").stat().st_gid == 12345


def test_no_file_means_no_accounts(tmp_path: Path) -> None:
    assert read_users(tmp_path / "none.db") == ()
    assert read_user(tmp_path / "none.db", "anna") is None
