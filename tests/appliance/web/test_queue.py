"""The queue page (Q1 to Q6) over the relay's control verbs."""

from __future__ import annotations

import re

import pytest

from tests.support.web_box import Visitor, WebBox, letter


@pytest.fixture
def full(box: WebBox, owner: Visitor) -> Visitor:
    """Thirty letters wait, one of them held."""
    box.relay.letters = [letter(n) for n in range(29)] + [letter(99, state="held")]
    return owner


def test_the_queue_says_why_a_letter_waits(full: Visitor) -> None:
    page = full.get("/queue/").text
    assert "sender0@example.net" in page
    assert "person0@example.com" in page
    assert "The other server asks us to come back later." in page
    assert "451 4.7.1 Greylisted, try again in 300 seconds" in page
    assert "tried 3 times" in page
    assert "1 to 25 of 30" in page


def test_the_queue_is_searched_filtered_and_paged(box: WebBox, full: Visitor) -> None:
    assert "sender28@example.net" in full.get("/queue/?offset=25").text
    found = full.get("/queue/?search=sender7@").text
    assert "1 to 1 of 1" in found
    held = full.get("/queue/?state=held").text
    assert "sender99@example.net" in held
    assert "sender1@" not in held
    assert "No letter matches." in full.get("/queue/?search=nobody").text
    box.relay.letters = []
    assert "No letter waits." in full.get("/queue/").text


@pytest.mark.parametrize("query", ["offset=-5", "offset=x", "size=9999", "sort=;drop", "state=x"])
def test_odd_queries_do_no_harm(full: Visitor, query: str) -> None:
    assert "1 to 25 of 30" in full.get(f"/queue/?{query}").text


@pytest.mark.parametrize("verb", ["send", "hold", "release"])
def test_ticked_letters_are_acted_on(box: WebBox, full: Visitor, verb: str) -> None:
    form = {"id": ["4Q000001", "4Q000002"], "do": verb}
    assert full.post("/queue/act", form, page="/queue/").status_code == 303
    assert box.relay.asked == [
        (f"queue.{verb}", {"ids": ["4Q000001", "4Q000002"], "author": "anna"})
    ]
    assert re.search(r"2 letters are (sent|held|released)", full.get("/queue/").text)


def test_all_are_sent_at_once(box: WebBox, full: Visitor) -> None:
    full.post("/queue/act", {"which": "all", "do": "send"}, page="/queue/")
    assert box.relay.asked == [("queue.send", {"all": True, "author": "anna"})]


def test_nothing_ticked_is_said(box: WebBox, full: Visitor) -> None:
    full.post("/queue/act", {"do": "send"}, page="/queue/")
    assert box.relay.asked == []
    assert "No letter was chosen." in full.get("/queue/").text


def test_one_letter_is_deleted_after_one_question(box: WebBox, full: Visitor) -> None:
    asked = full.post("/queue/act", {"id": "4Q000003", "do": "delete"}, page="/queue/")
    place = asked.headers["Location"]
    assert "1 letter to 1 person will be lost." in full.get(place).text
    assert box.relay.asked == []
    full.post("/queue/delete", {"id": "4Q000003"}, page=place)
    assert box.relay.asked == [("queue.delete", {"ids": ["4Q000003"], "author": "anna"})]


@pytest.mark.parametrize("which", [{"which": "all"}, {"which": "search", "search": "sender"}])
def test_deleting_many_wants_the_word(box: WebBox, full: Visitor, which: dict[str, str]) -> None:
    place = "/queue/delete?" + "&".join(f"{k}={v}" for k, v in which.items())
    page = full.get(place).text
    assert "30 letters to 30 people will be lost." in page
    refused = full.post("/queue/delete", {**which, "word": "yes"}, page=place)
    assert refused.status_code == 422
    assert box.relay.asked == []
    full.post("/queue/delete", {**which, "word": " Delete "}, page=place)
    assert [verb for verb, _ in box.relay.asked] == ["queue.delete"]
    assert box.relay.letters == []


def test_a_letter_shows_its_recipients_headers_and_history(full: Visitor) -> None:
    page = full.get("/queue/letter/4Q000003").text
    assert "Came in from 192.0.2.7 for person3@example.com." in page
    assert "Subject: Minutes of &lt;Monday&gt;" in page
    assert "relay domain example.com" in page


def test_a_letter_that_is_gone_is_said_to_be_gone(full: Visitor) -> None:
    response = full.get("/queue/letter/NONE")
    assert response.status_code == 409
    assert "There is no such letter" in response.text


def test_hostile_addresses_are_only_text(box: WebBox, full: Visitor) -> None:
    box.relay.letters = [letter(1, mail_from='"<script>alert(1)</script>"@example.net')]
    page = full.get("/queue/").text
    assert "<script>alert" not in page
    assert "&lt;script&gt;" in page


def test_a_silent_relay_is_said_on_the_page(box: WebBox, full: Visitor) -> None:
    box.stop("relay")
    response = full.get("/queue/")
    assert response.status_code == 503
    assert "The relay does not answer" in response.text
