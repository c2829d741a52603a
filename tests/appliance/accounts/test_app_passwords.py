"""App passwords: shown once, kept as a hash, a few for each account."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.accounts.app_passwords import MOST, AppPasswords, any_matches
from appliance.accounts.users import Users, read_user
from appliance.base.clock import FakeClock
from appliance.base.finding import Refused


def test_one_opens_until_it_is_removed_and_the_others_go_on(tmp_path: Path) -> None:
    path = tmp_path / "accounts.db"
    users, apps = Users(path, FakeClock()), AppPasswords(path, FakeClock())
    users.add("anna", name="", password_hash="x")
    first, second = apps.add("anna", "telephone"), apps.add("anna", "laptop")

    def fits(password: str) -> bool:
        user = read_user(path, "anna")
        assert user is not None
        return any_matches(user.app_hashes, password)

    assert fits(first)
    assert fits(second)
    assert not fits("x")
    assert first.encode() not in path.read_bytes()
    apps.remove("anna", apps.of("anna")[0].id)
    assert not fits(first)
    assert fits(second)
    users.delete("anna")
    assert apps.of("anna") == ()


def test_there_are_a_few_at_most_and_each_has_a_name(tmp_path: Path) -> None:
    path = tmp_path / "accounts.db"
    users, apps = Users(path, FakeClock()), AppPasswords(path, FakeClock())
    users.add("anna", name="", password_hash="x")
    with pytest.raises(Refused, match="needs a name"):
        apps.add("anna", " ")
    for number in range(MOST):
        apps.add("anna", str(number))
    with pytest.raises(Refused, match="already"):
        apps.add("anna", "one more")
