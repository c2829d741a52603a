"""Where is my mail? and the sentence on the home page that all is accounted for."""

from __future__ import annotations

from typing import Any

from tests.support.web_box import Visitor, WebBox


def item(fate: str, **more: Any) -> dict[str, Any]:
    """One row of the relay's answer."""
    row = {
        "id": "4Q000001", "at": "2026-01-01T10:00:00.000+00:00",
        "updated_at": "2026-01-01T10:00:00.000+00:00", "client": "192.0.2.9",
        "helo": "mx.example.net", "mail_from": "sender@example.net",
        "recipient": "person@example.com", "fate": fate, "station": "", "say": "", "reply": "",
        "host": "", "times": 1, "steps": [], "attempts": [], "story": [], "fix": "",
    }  # fmt: skip
    return {**row, **more}


def attempt(state: str, **more: Any) -> dict[str, Any]:
    row = {"at": "2026-01-01T10:01:00+00:00", "state": state, "say": "", "reply": "", "host": ""}
    return {**row, "route": "", "author": "", **more}


def test_a_letter_is_followed_from_its_coming_to_its_going(box: WebBox, owner: Visitor) -> None:
    box.relay.traced = [
        item(
            "delivered",
            attempts=[
                attempt("deferred", host="mx.example.com", say="The connection broke off."),
                attempt("held", author="bert"),
                attempt("delivered", host="mx.example.com", reply="250 <b>fine</b> 100%"),
            ],
        ),
        item("put off", station="greylist", say="not seen before", reply="451 4.7.1 Later"),
    ]
    page = owner.get("/trace/?who=sender&whom=person&when=7d").text
    assert "Received from 192.0.2.9 (mx.example.net): sender@example.net to" in page
    assert "Tried at mx.example.com, without success: The connection broke off." in page
    assert "Held by bert." in page
    assert "which said: 250 &lt;b&gt;fine&lt;/b&gt; 100%" in page
    assert "The check “greylist” decided it: not seen before" in page
    ((verb, asked),) = box.relay.asked
    assert verb == "trace"
    assert (asked["sender"], asked["recipient"]) == ("sender", "person")
    assert asked["since"]


def test_the_answer_is_german_where_the_page_is(box: WebBox, owner: Visitor) -> None:
    box.relay.traced = [
        item("deferred", attempts=[attempt("deferred", say="The connection broke off.")],
             fix="You need not do anything: the box tries again by itself."),
    ]  # fmt: skip
    owner.client.set_cookie("language", "de")
    page = owner.get("/trace/?who=sender").text
    assert "Wo ist meine Post?" in page
    assert "Vergeblich versucht: Die Verbindung ist abgebrochen." in page
    box.relay.traced = [
        item("put off", station="greylist", say="known signer a.example",
             steps=[["spf", "spf: note", "a.example publishes no SPF record"]]),
    ]  # fmt: skip
    page += owner.get("/trace/?who=sender").text
    assert "spf: Vermerk. a.example veröffentlicht keinen SPF-Eintrag" in page
    assert "hat entschieden: bekannter Unterzeichner a.example" in page
    assert "Sie müssen nichts tun: Die Box versucht es von selbst wieder." in page


def test_nothing_asked_asks_nobody_and_nothing_found_is_said(box: WebBox, owner: Visitor) -> None:
    assert "knows nothing" not in owner.get("/trace/").text
    assert box.relay.asked == []
    assert "The box knows nothing of such a letter." in owner.get("/trace/?whom=nobody").text


def test_home_says_that_all_is_accounted_for_or_what_is_not(box: WebBox, owner: Visitor) -> None:
    books = {"ok": True, "messages": 1234, "since": "2025-12-24T10:00:00+00:00", "mismatches": []}
    box.relay.ledger = books
    page = owner.get("/").text
    assert "All 1,234 messages accepted since 2025-12-24 are accounted for." in page
    wrong = {"say": "A recipient in the queue has no message.", "count": 1, "ids": ["Q7"]}
    box.relay.ledger = {**books, "ok": False, "mismatches": [wrong]}
    page = owner.get("/").text
    assert "The books do not agree: A recipient in the queue has no message. (Q7)" in page
    assert "accounted for" not in page
