"""The page of permitted and forbidden senders, and the test of the block lists."""

from __future__ import annotations

import re

import pytest

from tests.support.web_box import Visitor, WebBox

PAGE = "/settings/senders/"


def add(owner: Visitor, which: str, entry: str, comment: str = "") -> int:
    form = {"list": which, "entry": entry, "comment": comment}
    return int(owner.post(PAGE + "add", form, page=PAGE).status_code)


def test_an_entry_is_added_searched_removed_and_put_back(box: WebBox, owner: Visitor) -> None:
    assert add(owner, "permitted", "Example.COM", "our <printer>") == 303
    assert add(owner, "permitted", "other.example") == 303
    page = owner.get(PAGE).text
    assert "our &lt;printer&gt;" in page
    found = owner.get(PAGE + "?search=printer").text
    assert "other.example" not in found
    form = {"list": "permitted", "entry": "example.com"}
    answer = owner.post(PAGE + "remove", form, page=PAGE)
    assert [item["entry"] for item in box.settings()["senders.permitted"]] == ["other.example"]
    page = owner.get(answer.headers["Location"]).text
    revision = re.search(r'name="revision" value="(\d+)"', page)
    assert revision is not None
    owner.post(PAGE + "undo", {"revision": revision[1]}, page=PAGE)
    assert {item["entry"] for item in box.settings()["senders.permitted"]} == {
        "example.com",
        "other.example",
    }


@pytest.mark.full
def test_a_wrong_entry_stays_as_typed_with_its_error(owner: Visitor) -> None:
    form = {"list": "forbidden", "entry": "10.0.0.5/8", "comment": "x"}
    answer = owner.post(PAGE + "add", form, page=PAGE)
    assert answer.status_code == 422
    assert 'value="10.0.0.5/8"' in answer.text
    assert "names an address inside a network" in answer.text


@pytest.mark.full
def test_the_page_says_what_would_happen_and_by_which_entry(owner: Visitor) -> None:
    add(owner, "forbidden", "192.0.2.0/24")
    add(owner, "permitted", "partner.example")
    page = owner.get(PAGE + "?ip=192.0.2.7&address=a@partner.example").text
    assert "Refused when it connects" in page
    assert "“192.0.2.0/24” decides" in page
    assert "Taken without spam checks" in owner.get(PAGE + "?address=a@partner.example").text
    assert "not a mail address" in owner.get(PAGE + "?address=nobody").text


def test_the_block_lists_are_tested_from_the_page(box: WebBox, owner: Visitor) -> None:
    answer = owner.post("/settings/filter/test-lists", {}, page="/settings/filter")
    assert "bl.example: lists everybody" in re.sub(r"<[^>]+>|\s+(?=:)", "", answer.text)


@pytest.mark.full
def test_what_the_relay_noticed_stands_on_the_home_page(box: WebBox, owner: Visitor) -> None:
    box.relay.findings = [
        {"check": "filter.dnsbl_zones", "result": "warn", "say": "bl.example is suspended."}
    ]
    assert "bl.example is suspended." in owner.get("/").text
