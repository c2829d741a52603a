"""What the disks daemon says is shown in the language of the page."""

from __future__ import annotations

import ast

import pytest
from flask import Flask, g

from appliance.storage import guard, jobs, keeper, look, maildisk, plan, raid, volume
from appliance.storage.look import in_words
from appliance.web.disk_words import note_of, told
from appliance.web.i18n import catalogue
from hw import disks, smart

MODULES = (guard, jobs, keeper, look, maildisk, plan, raid, volume, disks, smart)


def in_german(text: str) -> str:
    with Flask(__name__).test_request_context():
        g.language = "de"
        return told(text)


@pytest.mark.parametrize(
    ("said", "german"),
    [
        (
            in_words({"TYPE": "ntfs", "LABEL": "Family: photos."}, "Partition 2"),
            "Partition 2: ein Windows-Dateisystem mit dem Namen „Family: photos.“.",
        ),
        (in_words({"TYPE": "odd"}, "The whole disk"), "Die ganze Platte: Daten der Art odd."),
        ("A partition table (gpt) with 3 partitions.", "Eine Partitionstabelle (gpt) mit 3 "),
        ("This disk is hot: 61 °C.", "Diese Platte ist heiß: 61 °C."),
        ("To erase everything on it, type its serial number: %(x)s", "Seriennummer ein: %(x)s"),
    ],
)
def test_a_sentence_with_something_filled_in_is_translated(said: str, german: str) -> None:
    assert german in in_german(said)
    assert told(said) == said, "outside of a page it is English"


def test_what_nobody_knows_is_shown_as_it_is() -> None:
    assert in_german("Something new.") == "Something new."


def test_a_note_is_taken_apart_into_its_time_and_its_sentence() -> None:
    at, said = note_of("2026-01-01T12:00:00+00:00: The mailbox disk is in use.")
    assert at is not None
    assert at.hour == 12
    assert said == "The mailbox disk is in use."
    assert note_of("No time: here.") == (None, "No time: here.")


def test_every_refusal_of_a_disk_has_its_german() -> None:
    missing = []
    for module in MODULES:
        assert module.__file__
        with open(module.__file__, encoding="utf-8") as file:
            tree = ast.parse(file.read())
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and _name(node) in ("because", "Why", "Verdict"):
                texts = [*node.args, *(k.value for k in node.keywords)]
                missing += [
                    text.value
                    for text in texts
                    if isinstance(text, ast.Constant)
                    and isinstance(text.value, str)
                    and " " in text.value
                    and text.value not in catalogue("de")
                ]
    assert missing == []


def _name(call: ast.Call) -> str:
    return getattr(call.func, "attr", getattr(call.func, "id", ""))
