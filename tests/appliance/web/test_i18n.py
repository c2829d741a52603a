"""Every text of the pages has its German, with the same blanks to fill in."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.policy import alias_preview
from appliance.relay.say import NEXT_STEP, Say
from appliance.settings import schema
from appliance.spool import narrative, reconcile
from appliance.web.i18n import LANGUAGES, best_language, catalogue, translate
from tests.conftest import ROOT

WEB = ROOT / "appliance" / "web"
# Texts that come from below the pages and are translated by them as they are.
BELOW = (
    ROOT / "appliance" / "accounts" / "passwords.py",
    ROOT / "appliance" / "accounts" / "store.py",
)


def in_template(path: Path) -> Iterator[str]:
    for text in re.findall(r'\b_\(\s*"((?:[^"\\]|\\.)*)"', path.read_text()):
        yield text.replace('\\"', '"')


def in_module(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.Call) or not node.args:
            continue
        name = node.func.id if isinstance(node.func, ast.Name) else ""
        first = node.args[0]
        if name in ("_", "N_") and isinstance(first, ast.Constant):
            yield str(first.value)


def of_the_schema() -> Iterator[str]:
    for field in schema.fields():
        yield field.label
        yield field.help
        yield field.unit if field.unit != "bytes" else "MB"


def said_below() -> Iterator[str]:
    """What passwords and accounts say: the texts of Strength and of refusals."""
    for path in BELOW:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in (
                "Strength",
                "_refuse",
            ):
                for arg in node.args:
                    if isinstance(arg, ast.Constant) and isinstance(arg.value, str):
                        yield arg.value


def all_texts() -> list[str]:
    found: set[str] = {*of_the_schema(), *said_below()}
    for path in (WEB / "templates").rglob("*.html"):
        found.update(in_template(path))
    for path in WEB.rglob("*.py"):
        found.update(in_module(path))
    return sorted(found - {""})


def test_every_text_has_its_german() -> None:
    german = catalogue("de")
    assert [text for text in all_texts() if text not in german] == []


def test_every_reason_of_a_delivery_has_its_german() -> None:
    said = [*Say, *NEXT_STEP.values(), *narrative.SENTENCES, *reconcile.SENTENCES]
    assert [say for say in said if say not in catalogue("de")] == []


def test_every_sentence_about_an_alias_has_its_german() -> None:
    assert [say for say in alias_preview.Say if say not in catalogue("de")] == []


def test_the_german_has_no_text_that_is_not_used() -> None:
    """What is no text of the pages themselves is said by a daemon below, or stands in a table."""
    known = set(all_texts())
    rooms = (ROOT / "appliance", ROOT / "hw")
    modules = " ".join(path.read_text() for room in rooms for path in room.rglob("*.py"))
    templates = " ".join(path.read_text() for path in (WEB / "templates").rglob("*.html"))
    said = re.sub(r'"\s*\n\s*f?"', "", modules) + templates  # join what is split over lines
    assert [key for key in catalogue("de") if key not in known and key not in said] == []


@pytest.mark.parametrize("language", [code for code in LANGUAGES if code != "en"])
def test_blanks_are_the_same_in_both_languages(language: str) -> None:
    blanks = re.compile(r"%\([a-z_]+\)s")
    for text, foreign in catalogue(language).items():
        assert sorted(set(blanks.findall(text))) == sorted(set(blanks.findall(foreign))), text
        assert foreign.strip(), text
        assert "!" not in foreign, text


def test_no_text_holds_html_or_begs() -> None:
    for text in all_texts():
        assert not re.search(r"</?[a-z]+>", text), text
        assert "!" not in text, text
        assert not re.search(r"\bplease\b|successfully", text, re.IGNORECASE), text


@pytest.mark.parametrize(
    ("header", "language"),
    [
        ("de-DE,de;q=0.9,en;q=0.8", "de"),
        ("en-GB", "en"),
        ("fr,de;q=0.3", "de"),
        ("", "en"),
        ("x;q=y", "en"),
    ],
)
def test_the_browser_is_asked_for_its_language(header: str, language: str) -> None:
    assert best_language(header) == language


def test_an_unknown_text_stays_english() -> None:
    assert translate("Never written down %(n)s", "de", n=3) == "Never written down 3"
