"""The manual: every setting has its heading, every page its "?", and nothing brings in HTML."""

from __future__ import annotations

import re

import pytest

from appliance.settings import schema
from appliance.web import manual
from appliance.web.settings_pages import OWN_PAGES, SCREENS
from appliance.web.wizard_steps import STEPS
from tests.conftest import ROOT
from tests.support.web_box import Visitor

FOLDER = ROOT / "docs" / "manual"
PAGES = sorted(FOLDER.glob("*.md"))
TEMPLATES = sorted((ROOT / "appliance" / "web" / "templates").rglob("*.html"))


def headings(name: str) -> list[str]:
    return re.findall(r"^#+ (.*)$", (FOLDER / f"{name}.md").read_text(), re.MULTILINE)


@pytest.mark.parametrize("field", schema.fields(), ids=lambda field: field.name)
def test_every_setting_has_its_heading_in_the_manual(field: schema.Field) -> None:
    found = [h for page in PAGES for h in headings(page.stem) if f"(`{field.name}`)" in h]
    assert found == [f"{field.label} (`{field.name}`)"]


def test_the_manual_names_no_setting_that_does_not_exist() -> None:
    known = schema.by_name()
    named = {
        name
        for page in PAGES
        for h in headings(page.stem)
        for name in re.findall(r"\(`(.+?)`\)", h)
    }
    assert named == set(known)


def test_every_setting_stands_on_a_page_of_the_settings() -> None:
    on_pages = [name for screen in SCREENS for name in screen.all]
    assert len(on_pages) == len(set(on_pages))
    assert {*on_pages, *OWN_PAGES} == set(schema.by_name())


def test_every_step_of_the_wizard_has_its_place_in_the_help() -> None:
    anchors = {manual.slug(h) for h in headings("wizard")}
    assert {step.name for step in STEPS} - {"administrator"} <= anchors | {"dns"}
    assert "administrator" in anchors


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: path.name)
def test_every_help_link_leads_to_a_page(template: object) -> None:
    text = TEMPLATES[TEMPLATES.index(template)].read_text()  # type: ignore[arg-type]
    for name in re.findall(r'"/manual/([a-z-]+)"', text):
        names = [f"{name}{s.name}" for s in SCREENS] if name.endswith("-") else [name]
        for one in names:
            assert (FOLDER / f"{one}.md").is_file(), one


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.stem)
def test_links_inside_the_manual_lead_somewhere(page: object) -> None:
    text = PAGES[PAGES.index(page)].read_text()  # type: ignore[arg-type]
    for target in re.findall(r"\]\(([^)]+)\)", text):
        assert (FOLDER / target.split("#")[0]).is_file(), target


def test_every_page_of_the_manual_is_shown(owner: Visitor) -> None:
    contents = owner.get("/manual/").text
    for page in PAGES:
        assert f"/manual/{page.stem}" in contents
        assert owner.get(f"/manual/{page.stem}").status_code == 200
    assert owner.get("/manual/..%2fhacking").status_code == 404
    assert owner.get("/manual/none").status_code == 404


def test_markdown_is_rendered_and_html_in_it_is_not() -> None:
    text = "## A <b>head</b>\n\nA `c<d` **bold** [home](home.md#queue)\n\n- one\n- two\n\n1. x\n"
    html = manual.to_html(text + "\n```\n<script>\n\nend\n```\n\n| a | b |\n|---|---|\n| 1 | 2 |\n")
    assert '<h2 id="a-b-head-b">A &lt;b&gt;head&lt;/b&gt;</h2>' in html
    assert "<code>c&lt;d</code> <strong>bold</strong>" in html
    assert '<a href="home#queue">home</a>' in html
    assert "<ul><li>one</li><li>two</li></ul>" in html
    assert "&lt;script&gt;\n\nend" in html
    assert "<td>1</td><td>2</td>" in html
    assert "<script" not in html
