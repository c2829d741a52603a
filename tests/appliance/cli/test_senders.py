"""`permit`, `forbid` and `senders ask`, on a folder where nothing runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from appliance.cli.main import main


def pennypost(folder: Path, *words: str) -> int:
    return main(["--data", str(folder), *words])


def test_entries_are_added_listed_and_removed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert pennypost(tmp_path, "permit", "add", "Example.COM", "our", "printer") == 0
    assert pennypost(tmp_path, "permit", "add", "192.0.2.0/255.255.255.0") == 0
    capsys.readouterr()
    assert pennypost(tmp_path, "permit", "list", "--json") == 0
    assert json.loads(capsys.readouterr().out) == [
        {"entry": "example.com", "comment": "our printer"},
        {"entry": "192.0.2.0/24", "comment": ""},
    ]
    assert pennypost(tmp_path, "permit", "remove", "EXAMPLE.com") == 0
    assert pennypost(tmp_path, "permit", "remove", "example.com") == 1
    assert "not on the list" in capsys.readouterr().err


def test_a_wrong_entry_is_refused_in_words(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert pennypost(tmp_path, "forbid", "add", "10.0.0.5/8") == 1
    assert "names an address inside a network" in capsys.readouterr().err


@pytest.mark.full
@pytest.mark.parametrize(
    ("ip", "address", "words"),
    [
        ("192.0.2.7", "a@partner.example", "refused at connect: “192.0.2.7” is forbidden"),
        ("192.0.2.8", "a@partner.example", "taken without spam checks: “partner.example”"),
        ("192.0.2.8", "bad@partner.example", "refused at MAIL: “bad@partner.example”"),
        ("192.0.2.8", "<>", "checked: no entry"),
    ],
)
def test_one_can_ask_what_would_happen(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], ip: str, address: str, words: str
) -> None:
    pennypost(tmp_path, "forbid", "add", "192.0.2.7")
    pennypost(tmp_path, "forbid", "add", "bad@partner.example")
    pennypost(tmp_path, "permit", "add", "partner.example")
    capsys.readouterr()
    assert pennypost(tmp_path, "senders", "ask", ip, address) == 0
    assert words in capsys.readouterr().out
