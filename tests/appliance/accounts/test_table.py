"""Accounts as CSV: all lines or none, and no spreadsheet runs what a stranger wrote."""

from __future__ import annotations

import pytest

from appliance.accounts import table
from appliance.base.finding import Refused


def test_a_table_of_a_spreadsheet_becomes_accounts() -> None:
    text = (
        "\ufefflogin;name;quota_mb;enabled;language\r\nAnna;Anna Jones;2000;ja;de\r\n;;;;\r\nbert"
    )
    anna, bert = table.parse(text)
    assert (anna.login, anna.name, anna.language, anna.enabled) == (
        "anna",
        "Anna Jones",
        "de",
        True,
    )
    assert anna.quota_bytes == 2000 * 1024 * 1024
    assert (bert.login, bert.password) == ("bert", "")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "empty"),
        ("name\nAnna", "does not name the columns"),
        ("login,shoe\nanna,9", "shoe"),
        ("login\nanna\nANNA", "twice"),
        ("login\nanna\na b", "Line 3: An account's name"),
        ("login,quota_mb\nanna,-1", "Line 2: “-1” is no mailbox size"),
        ("login,language\nanna,xx", "no language"),
        ("login,enabled\nanna,perhaps", "neither yes nor no"),
        ("login,password\nanna,short", "Line 2: The password is too short"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(text: str, said: str) -> None:
    with pytest.raises(Refused, match=said):
        table.parse(text)


def test_what_is_given_out_is_taken_back_and_holds_no_formula_and_no_hash() -> None:
    shown = [
        {"login": "anna", "name": "=cmd()", "language": "de", "quota_bytes": 5 << 20, "enabled": 0},
        {"login": "bert", "name": "Bert", "password_hash": "secret"},
    ]
    text = table.write(shown)
    assert "'=cmd()" in text
    assert "secret" not in text
    anna, bert = table.parse(text)
    assert (anna.name, anna.quota_bytes, anna.enabled) == ("=cmd()", 5 << 20, False)
    assert bert.enabled
