"""The reasons of the checks in German: as the checks write them, and with all that is in them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask, g

from appliance.web import whys
from tests.conftest import ROOT

POLICY = ROOT / "appliance" / "policy"
FILES = [*sorted(POLICY.glob("*.py")), ROOT / "appliance" / "relay" / "intake.py"]
BLANK = "blank"  # stands for whatever is filled in
NO_WORDS = {BLANK, f"{BLANK}, {BLANK}"}  # names of files, viruses and the like alone
ELSEWHERE = {"alias_preview.py"}  # sentences with a table of their own


@pytest.fixture
def german() -> Iterator[None]:
    with Flask("test").test_request_context():
        g.language = "de"
        yield


def spelled(node: ast.expr) -> str | None:
    """A text or an f-string, with `BLANK` in its blanks; None for anything else."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(
            str(part.value) if isinstance(part, ast.Constant) else BLANK for part in node.values
        )
    return None


def reasons_in(path: Path) -> Iterator[str]:
    """What a module gives as the reason of a verdict."""
    for node in ast.walk(ast.parse(path.read_text())):
        given: ast.expr | None = None
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") in (
            "reject",
            "defer",
            "note",
        ):
            given = node.args[-1]
        elif isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "why":
            given = node.value
        text = spelled(given) if given is not None else None
        if text:
            yield text


def test_the_reasons_of_all_checks_are_in_the_table() -> None:
    found = {text for path in FILES if path.name not in ELSEWHERE for text in reasons_in(path)}
    assert len(found) > 50
    missing = [
        text
        for text in sorted(found)
        if not all(part in NO_WORDS or whys.is_known(part) for part in text.split(whys.BETWEEN))
    ]
    assert missing == []


@pytest.mark.parametrize(
    ("english", "in_german"),
    [
        ("known signer big.example", "bekannter Unterzeichner big.example"),
        (
            "first seen: big.example from 198.51.100.0/24; may come back in 3 minutes",
            "zum ersten Mal: big.example von 198.51.100.0/24; darf in 3 Minuten wiederkommen",
        ),
        (
            "taken as junk; fail for a.example: neither SPF nor DKIM vouches for a.example, "
            "which asks for “reject”",
            "als Junk angenommen; fail für a.example: weder SPF noch DKIM bürgt für a.example, "
            "das „reject“ verlangt",
        ),
        (
            "“127.1.0.0/16” (the printer) is permitted: no spam checks",
            "„127.1.0.0/16“ (the printer) ist erlaubt: keine Spamprüfung",
        ),
        (
            "anna signed in and writes in From: a name that shows bert@example.com",
            "anna hat sich angemeldet und schreibt in From: ein Name, der bert@example.com zeigt",
        ),
        ("anna: more than 10 messages in an hour", "anna: mehr als 10 Nachrichten in einer Stunde"),
        ("%(why)s and 100% of {this}", "%(why)s and 100% of {this}"),
        (
            "Given up after 5 days. Last reason: The connection broke off.",
            "Nach 5 Tagen aufgegeben. Letzter Grund: Die Verbindung ist abgebrochen.",
        ),
        (
            "not looked at: larger than the 10 MB that are scanned",
            "nicht angesehen: größer als die 10 MB, die geprüft werden",
        ),
        ("The connection broke off.", "Die Verbindung ist abgebrochen."),
        ("written by another version", "written by another version"),
        ("", ""),
    ],
)
def test_a_reason_is_told_with_what_stands_in_it(
    german: None, english: str, in_german: str
) -> None:
    assert whys.in_words(english) == in_german


def test_an_english_page_has_the_reason_as_it_is() -> None:
    for text in ("known signer big.example", "  odd;  text "):
        assert whys.in_words(text) == text
