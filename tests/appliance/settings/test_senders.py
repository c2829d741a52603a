"""The entries of the two lists, as people write them."""

from __future__ import annotations

import pytest

from appliance.base.finding import Refused
from appliance.settings import schema
from appliance.settings.senders import SenderEntry, canonical


@pytest.mark.parametrize(
    ("typed", "stored"),
    [
        (" Example.COM. ", "example.com"),
        (".Example.com", ".example.com"),
        ("*.example.com", ".example.com"),
        (".xyz", ".xyz"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("Ann.Smith@Example.com", "ann.smith@example.com"),
        ("192.0.2.7", "192.0.2.7"),
        ("192.0.2.7/32", "192.0.2.7"),
        ("192.0.2.0/24", "192.0.2.0/24"),
        ("192.0.2.0/255.255.255.0", "192.0.2.0/24"),
        ("2001:DB8::/32", "2001:db8::/32"),
        ("2001:DB8:0::1", "2001:db8::1"),
    ],
)
def test_each_entry_has_one_spelling(typed: str, stored: str) -> None:
    assert canonical(typed) == stored
    assert canonical(stored) == stored


def test_an_entry_is_read_with_its_comment() -> None:
    entry = SenderEntry.from_json("example.com # our printer # blue")
    assert entry == SenderEntry(entry="example.com", comment="our printer # blue")
    assert SenderEntry.from_json(entry.to_text()) == entry
    assert SenderEntry.from_json({"entry": "A@b.example", "comment": "x"}).entry == "a@b.example"


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("", "empty"),
        ("# only a comment", "empty"),
        ("example", "no dot"),
        ("@example.com", "For the domain write example.com"),
        ("a b@example.com", "not a mail address"),
        ("192.0.2.7/24", "names an address inside a network"),
        ("300.1.1.1", "not a network"),
        ("0.0.0.0/0", "whole Internet"),
        ("exa_mple.com", "character"),
        ("a..example", "two dots"),
    ],
)
def test_a_wrong_entry_is_refused_in_words(typed: str, words: str) -> None:
    with pytest.raises(Refused) as refused:
        schema.from_json({"senders.permitted": [typed]})
    finding = refused.value.finding
    assert words in f"{finding.say} {finding.fix}"
    assert finding.fix


def test_an_entry_given_twice_is_kept_once_with_its_last_comment() -> None:
    settings = schema.from_json({"senders.forbidden": ["A.example # old", "a.example # new"]})
    assert settings.senders.forbidden == (SenderEntry(entry="a.example", comment="new"),)
