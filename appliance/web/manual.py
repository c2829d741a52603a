"""The manual behind each "?": Markdown from docs/manual, shown as a page.

The renderer takes the part of Markdown that the manual uses: headings, paragraphs, lists,
tables, code, emphasis, links. Everything is escaped first, so a page can't bring in HTML.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from flask import Blueprint, abort, render_template
from markupsafe import Markup, escape

from appliance.web.services import services

pages = Blueprint("manual", __name__, url_prefix="/manual")

_CODE = re.compile(r"`([^`]+)`")
_STRONG = re.compile(r"\*\*([^*]+)\*\*")
_EMPHASIS = re.compile(r"(?<![\w*])\*([^*\s][^*]*)\*(?![\w*])")
_LINK = re.compile(r"\[([^\]]+)\]\(([a-z0-9-]+)\.md(#[a-z0-9-]+)?\)")
_ITEM = re.compile(r"(?:[-*]|\d+\.)\s+")


@dataclass(frozen=True, slots=True)
class Page:
    """One page of the manual: its name, title, and the rest as HTML."""

    name: str
    title: str
    html: Markup


def slug(heading: str) -> str:
    """The anchor of a heading: its words in lower case with hyphens."""
    return re.sub(r"[^a-z0-9]+", "-", heading.lower()).strip("-")


def _inline(text: str) -> str:
    parts = _CODE.split(text)
    done = []
    for number, part in enumerate(parts):
        safe = str(escape(part))
        if number % 2:
            done.append(f"<code>{safe}</code>")
            continue
        safe = _STRONG.sub(r"<strong>\1</strong>", safe)
        safe = _EMPHASIS.sub(r"<em>\1</em>", safe)
        done.append(_LINK.sub(r'<a href="\2\3">\1</a>', safe))
    return "".join(done)


def _blocks(text: str) -> Iterator[list[str]]:
    """Split into blocks at empty lines; a fenced block stays whole."""
    block: list[str] = []
    fenced = False
    for line in text.splitlines():
        if line.startswith("```"):
            fenced = not fenced
        if not line.strip() and not fenced:
            if block:
                yield block
            block = []
        else:
            block.append(line)
    if block:
        yield block


def _heading(line: str) -> str:
    level = len(line) - len(line.lstrip("#"))
    text = line.lstrip("# ")
    return f'<h{level} id="{slug(text)}">{_inline(text)}</h{level}>'


def _list(lines: list[str]) -> str:
    tag = "ol" if lines[0][0].isdigit() else "ul"
    items: list[str] = []
    for line in lines:
        if _ITEM.match(line):
            items.append(_ITEM.sub("", line, count=1))
        else:
            items[-1] += " " + line.strip()
    return f"<{tag}>" + "".join(f"<li>{_inline(item)}</li>" for item in items) + f"</{tag}>"


def _table(lines: list[str]) -> str:
    rows = [[cell.strip() for cell in line.strip().strip("|").split("|")] for line in lines]
    head = "".join(f'<th scope="col">{_inline(cell)}</th>' for cell in rows[0])
    body = "".join(
        "<tr>" + "".join(f"<td>{_inline(cell)}</td>" for cell in row) + "</tr>" for row in rows[2:]
    )
    # Focusable, so that a wide table can be scrolled by keyboard.
    return f'<table tabindex="0"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'


def to_html(text: str) -> Markup:
    """Render the manual's Markdown; the text itself can't hold HTML."""
    done = []
    for block in _blocks(text):
        first = block[0]
        if first.startswith("```"):
            code = "\n".join(line for line in block if not line.startswith("```"))
            done.append(f'<pre tabindex="0"><code>{escape(code)}</code></pre>')
        elif first.startswith("#"):
            done.append(_heading(first))
            if block[1:]:
                done.append(f"<p>{_inline(' '.join(block[1:]))}</p>")
        elif _ITEM.match(first):
            done.append(_list(block))
        elif first.startswith("|") and len(block) > 2:
            done.append(_table(block))
        else:
            done.append(f"<p>{_inline(' '.join(block))}</p>")
    return Markup("\n".join(done))  # noqa: S704  every part above is escaped


def _read(folder: Path, name: str) -> Page | None:
    if not re.fullmatch(r"[a-z0-9-]{1,60}", name):
        return None
    try:
        text = (folder / f"{name}.md").read_text(encoding="utf-8")
    except OSError:
        return None
    first, _, rest = text.partition("\n")
    return Page(name=name, title=first.lstrip("# "), html=to_html(rest))


def page(name: str) -> Page | None:
    return _read(services().config.manual, name)


@pages.get("/")
def contents() -> str:
    folder = services().config.manual
    names = sorted(path.stem for path in folder.glob("*.md"))
    found = [p for p in (_read(folder, name) for name in names) if p]
    return render_template("manual/contents.html", pages=found)


@pages.get("/<name>")
def show(name: str) -> str:
    found = page(name)
    if found is None:
        abort(404)
    return render_template("manual/page.html", page=found)
