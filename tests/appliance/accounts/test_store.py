"""Administrators and tokens on disk."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from appliance.accounts.passwords import make_hash
from appliance.accounts.store import Accounts, account_name
from appliance.base.clock import FakeClock
from appliance.base.finding import Refused

PASSWORD = "kaffee lampe wolke"


@pytest.fixture
def accounts(tmp_path: Path) -> Accounts:
    return Accounts(tmp_path / "web" / "accounts.db", FakeClock())


def test_an_administrator_is_stored_once_however_often(accounts: Accounts) -> None:
    first, second = make_hash(PASSWORD), make_hash(PASSWORD)
    accounts.put_administrator(name="Anna", password_hash=first)
    accounts.put_administrator(name="anna", password_hash=second)
    assert accounts.administrators() == ("anna",)
    assert accounts.check_password(" ANNA ", PASSWORD) == "anna"
    assert accounts.check_password("anna", "wrong") is None
    assert accounts.check_password("ben", PASSWORD) is None


@pytest.mark.parametrize("name", ["", " ", "a b", "-a", "a-", "ä", "a" * 41, "a/b"])
def test_odd_names_are_refused(name: str) -> None:
    with pytest.raises(Refused):
        account_name(name)


def test_the_last_administrator_stays(accounts: Accounts) -> None:
    accounts.put_administrator(name="anna", password_hash="x")
    accounts.put_administrator(name="ben", password_hash="x")
    accounts.make_token(label="t", author="ben")
    accounts.remove_administrator("ben")
    assert accounts.tokens() == ()
    with pytest.raises(Refused, match="only administrator"):
        accounts.remove_administrator("anna")


def test_a_token_opens_until_it_is_removed(accounts: Accounts, tmp_path: Path) -> None:
    token = accounts.make_token(label="monitoring", author="anna")
    assert accounts.check_token(token) == "monitoring"
    assert accounts.check_token(token + "x") is None
    (listed,) = accounts.tokens()
    assert listed.used_at is not None
    for file in (tmp_path / "web").iterdir():
        assert token.encode() not in file.read_bytes()
    accounts.remove_token(listed.id)
    assert accounts.check_token(token) is None


@pytest.mark.parametrize("label", ["", "   ", "x" * 61])
def test_a_token_needs_a_name(accounts: Accounts, label: str) -> None:
    with pytest.raises(Refused):
        accounts.make_token(label=label, author="anna")


def test_the_file_is_the_owners_alone_and_survives(tmp_path: Path) -> None:
    path = tmp_path / "web" / "accounts.db"
    Accounts(path, FakeClock()).put_administrator(name="anna", password_hash="x")
    assert path.stat().st_mode & 0o077 == 0
    assert Accounts(path, FakeClock()).administrators() == ("anna",)


def test_a_failed_change_leaves_all_as_it_was(accounts: Accounts) -> None:
    accounts.put_administrator(name="anna", password_hash="x")
    with pytest.raises(sqlite3.IntegrityError):
        accounts.put_administrator(name="ben", password_hash=None)  # type: ignore[arg-type]
    assert accounts.administrators() == ("anna",)
