"""English and German. The key of a text is its English form; German stands in translations/.

A text that has no entry is shown in English. Texts may hold `%(name)s`; they never hold HTML,
so the templates escape all of them. `tests/appliance/web/test_i18n.py` reads every `_("...")`
in templates and modules and wants an entry for it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from flask import g, has_request_context

LANGUAGES = {"en": "English", "de": "Deutsch"}
FOLDER = Path(__file__).parent / "translations"


@cache
def catalogue(language: str) -> Mapping[str, str]:
    """The texts of a language; none for English."""
    path = FOLDER / f"{language}.json"
    if language == "en" or not path.is_file():
        return {}
    texts: dict[str, str] = json.loads(path.read_text(encoding="utf-8"))
    return texts


def current_language() -> str:
    """The language of the page that is being made."""
    return str(getattr(g, "language", "en")) if has_request_context() else "en"


def translate(text: str, language: str, /, **values: object) -> str:
    found = catalogue(language).get(text, text)
    return found % values if values else found


def _(text: str, /, **values: object) -> str:
    """`text` in the language of the page, with `%(name)s` filled in."""
    return translate(text, current_language(), **values)


def N_(text: str) -> str:
    """Mark a text that is translated later (module constants)."""
    return text


def best_language(accept: str) -> str:
    """The language that a browser's Accept-Language header asks for first, of those we have."""
    wishes: list[tuple[float, str]] = []
    for part in accept[:200].split(","):
        tag, _sep, quality = part.strip().partition(";q=")
        try:
            weight = float(quality) if quality else 1.0
        except ValueError:
            continue
        language = tag.split("-")[0].lower()
        if language in LANGUAGES:
            wishes.append((-weight, language))
    return min(wishes)[1] if wishes else "en"
