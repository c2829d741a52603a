"""How passwords are hashed, checked and judged."""

from __future__ import annotations

import pytest
from argon2 import extract_parameters
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.accounts import passwords
from appliance.accounts.passwords import make_hash, matches, strength
from appliance.base.finding import Refused


def test_the_hash_is_argon2id_with_19_mebibytes_and_two_passes() -> None:
    found = extract_parameters(make_hash("kaffee lampe wolke"))
    assert found.type.name == "ID"
    assert (found.memory_cost, found.time_cost, found.parallelism) == (19456, 2, 1)


def test_only_the_right_password_fits() -> None:
    stored = make_hash("kaffee lampe wolke")
    assert matches(stored, "kaffee lampe wolke")
    assert not matches(stored, "kaffee lampe Wolke")
    assert not matches(stored, "")
    assert not matches(None, "kaffee lampe wolke")
    assert not matches("not a hash", "kaffee lampe wolke")
    assert not matches(stored, "x" * 201)


def test_an_unknown_name_costs_a_hash_too(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(passwords, "_hasher", Spy(asked))
    matches(None, "kaffee lampe wolke")
    assert "verify" in asked


class Spy:
    def __init__(self, asked: list[str]) -> None:
        self.asked = asked

    def hash(self, password: str) -> str:
        return "hash"

    def verify(self, stored: str, password: str) -> bool:
        self.asked.append("verify")
        return True


def test_a_flood_is_told_to_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passwords, "WAIT_FOR_HASH_SECONDS", 0.01)
    held = [passwords._turn.acquire() for _ in range(passwords.HASHES_AT_ONCE)]
    try:
        with pytest.raises(Refused, match="checking many passwords"):
            make_hash("kaffee lampe wolke")
    finally:
        for _ in held:
            passwords._turn.release()


@pytest.mark.parametrize(
    "password",
    [
        "",
        "short",
        "123456789",
        "password1234",
        "Passwort2026",
        "aaaaaaaaaaaa",
        "qwertzuiop",
        "x" * 201,
    ],
)
def test_weak_passwords_are_refused(password: str) -> None:
    assert not strength(password).acceptable


@pytest.mark.parametrize(
    "password",
    ["kaffee lampe wolke", "correct-horse-battery-4711", "Tr0ub4dor&3x", "äöü ß wald 12"],
)
def test_good_passwords_are_taken(password: str) -> None:
    assert strength(password).acceptable


def test_the_own_name_makes_a_password_no_stronger() -> None:
    assert not strength("annabella1", name="annabella").acceptable
    assert strength("annabella kaffee wolke", name="annabella").acceptable


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=220))
def test_any_text_is_judged(password: str) -> None:
    assert 0 <= strength(password).score <= 4
