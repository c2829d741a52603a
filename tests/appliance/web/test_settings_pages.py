"""Settings: forms from the schema, the steward's word beside the field, switch, history, undo."""

from __future__ import annotations

import re

import pytest

from appliance.base.finding import Refused
from appliance.settings import schema
from appliance.web.settings_pages import SCREENS
from tests.support.web_box import Visitor, WebBox


def form_of(page: str) -> dict[str, str]:
    """What a browser would send from the page's settings form, untouched."""
    body = page[
        page.index('<form class="card"') : page.index("</form>", page.index('class="card" m'))
    ]
    form: dict[str, str] = {}
    for tag in re.findall(r"<input[^>]*>", body):
        name = re.search(r'name="([^"]+)"', tag)
        value = re.search(r'value="([^"]*)"', tag)
        kind = re.search(r'type="([^"]+)"', tag)
        if name and not (kind and kind[1] in ("checkbox", "radio") and " checked" not in tag):
            form[name[1]] = value[1] if value else ""
    for name, text in re.findall(r'<textarea[^>]*name="([^"]+)"[^>]*>(.*?)</textarea>', body, re.S):
        form[name] = text
    for name, options in re.findall(r'<select[^>]*name="([^"]+)"[^>]*>(.*?)</select>', body, re.S):
        chosen = re.search(r'value="([^"]+)" selected', options)
        form[name] = chosen[1] if chosen else ""
    return form


@pytest.mark.parametrize("name", [screen.name for screen in SCREENS])
def test_a_page_saved_untouched_changes_nothing(box: WebBox, owner: Visitor, name: str) -> None:
    path = f"/settings/{name}"
    before = box.store.current()
    response = owner.post(path, form_of(owner.get(path).text))
    assert response.status_code == 303, response.text
    assert "Nothing was changed." in owner.get(path).text
    assert box.store.current() == before


@pytest.mark.parametrize("screen", SCREENS, ids=lambda screen: screen.name)
def test_every_setting_of_a_page_is_shown_with_its_label(owner: Visitor, screen: object) -> None:
    page = owner.get(f"/settings/{screen.name}").text.replace("&#39;", "'")  # type: ignore[attr-defined]
    for name in screen.all:  # type: ignore[attr-defined]
        assert schema.by_name()[name].label in page


def test_a_change_is_applied_and_stands_in_the_history(box: WebBox, owner: Visitor) -> None:
    form = form_of(owner.get("/settings/mail").text)
    form |= {"mail.hostname": "mx.example.com", "mail.max_message_bytes": "25,5"}
    assert owner.post("/settings/mail", form).status_code == 303
    assert "Saved and in use." in owner.get("/settings/mail").text
    assert box.settings()["mail.hostname"] == "mx.example.com"
    assert box.settings()["mail.max_message_bytes"] == 26_738_688
    history = owner.get("/settings/history").text
    assert "mail.example.com" in history
    assert "mx.example.com" in history
    assert "anna" in history


def test_a_change_can_be_undone(box: WebBox, owner: Visitor) -> None:
    form = form_of(owner.get("/settings/mail").text)
    owner.post("/settings/mail", {**form, "mail.hostname": "mx.example.com"})
    revision = box.store.current()[0]
    owner.post("/settings/history/undo", {"revision": str(revision)}, page="/settings/history")
    assert box.settings()["mail.hostname"] == "mail.example.com"
    assert f"Change {revision} is undone." in owner.get("/settings/history").text


def test_an_error_stands_beside_its_field_with_the_text_as_typed(owner: Visitor) -> None:
    form = form_of(owner.get("/settings/mail").text)
    response = owner.post("/settings/mail", {**form, "mail.hostname": "not a name"})
    assert response.status_code == 422
    assert 'value="not a name"' in response.text
    assert 'id="mail-hostname-error"' in response.text


def test_what_the_steward_refuses_stands_beside_the_field(box: WebBox, owner: Visitor) -> None:
    form = form_of(owner.get("/settings/limits").text)
    response = owner.post("/settings/limits", {**form, "relay.trusted_networks": "0.0.0.0/0"})
    assert response.status_code == 422
    assert "anybody could send through the box" in response.text
    assert 'id="relay-trusted_networks-error"' in response.text
    assert box.settings()["relay.trusted_networks"] == []


def test_a_failed_probe_keeps_the_old_settings_and_says_why(box: WebBox, owner: Visitor) -> None:
    box.effects.fail = Refused.because("probe.smtp", "The relay does not answer on port 25.")
    form = form_of(owner.get("/settings/mail").text)
    response = owner.post("/settings/mail", {**form, "mail.hostname": "mx.example.com"})
    assert response.status_code == 422
    assert "The relay does not answer on port 25." in response.text
    assert box.settings()["mail.hostname"] == "mail.example.com"


def test_two_people_do_not_overwrite_each_other(box: WebBox, owner: Visitor) -> None:
    form = form_of(owner.get("/settings/mail").text)
    box.store.change({"mail.max_recipients": 500}, author="somebody else")
    response = owner.post("/settings/mail", {**form, "mail.hostname": "mx.example.com"})
    assert response.status_code == 422
    assert "changed by somebody else meanwhile" in response.text
    assert box.settings()["mail.hostname"] == "mail.example.com"


def test_relay_domains_are_added_removed_and_pasted(box: WebBox, owner: Visitor) -> None:
    form = form_of(owner.get("/settings/mail").text)
    form |= {
        "relay-0-verify": "on",
        "relay-paste": "b.example|10.0.0.2\nc.example|[2001:db8::3]:26",
    }
    assert owner.post("/settings/mail", form).status_code == 303
    stored = box.settings()["mail.relay_domains"]
    assert [r["domain"] for r in stored] == ["example.com", "b.example", "c.example"]
    assert [r["verify_recipients"] for r in stored] == [True, False, False]
    form = form_of(owner.get("/settings/mail").text)
    page = owner.post("/settings/mail", {**form, "do": "remove-1"}).text
    assert "b.example" not in page
    assert len(box.settings()["mail.relay_domains"]) == 3, "not saved yet"
    owner.post("/settings/mail", form_of(page))
    assert len(box.settings()["mail.relay_domains"]) == 2


def test_a_relay_domain_that_is_a_mail_domain_is_explained(owner: Visitor) -> None:
    form = form_of(owner.get("/settings/mail").text)
    response = owner.post("/settings/mail", {**form, "mail.additional_domains": "example.com"})
    assert response.status_code == 422
    assert "is an additional mail domain of this box" in response.text


def test_the_mail_service_is_stopped_and_started(box: WebBox, owner: Visitor) -> None:
    owner.post("/settings/mail/switch", {"enabled": "off"}, page="/settings/mail")
    assert box.settings()["mail.enabled"] is False
    page = owner.get("/settings/mail").text
    assert "Start the mail service" in page
    assert "stopped" in page
    owner.post("/settings/mail/switch", {"enabled": "on"}, page="/settings/mail")
    assert box.settings()["mail.enabled"] is True


def test_the_true_state_stands_beside_the_switch(box: WebBox, owner: Visitor) -> None:
    box.relay.accepting, box.relay.why = False, "The queue cannot be written: disk full"
    box.app.extensions["pennypost"].relay_state.forget()
    page = owner.get("/settings/mail").text
    assert "failing" in page
    assert "The queue cannot be written: disk full" in page


def test_the_password_of_the_smarthost_is_never_sent_to_the_page(
    box: WebBox, owner: Visitor
) -> None:
    form = form_of(owner.get("/settings/outgoing").text)
    form |= {
        "outbound.mode": "smarthost",
        "outbound.smarthost_host": "smtp.example.net",
        "outbound.smarthost_user": "office",
        "outbound.smarthost_password": "hunter-two",
    }
    assert owner.post("/settings/outgoing", form).status_code == 303
    assert box.settings()["outbound.smarthost_password"] == "hunter-two"
    page = owner.get("/settings/outgoing").text
    assert "hunter-two" not in page
    assert "hunter-two" not in owner.get("/settings/history").text
    kept = {**form_of(page), "outbound.smarthost_port": "465"}
    assert owner.post("/settings/outgoing", kept).status_code == 303
    assert box.settings()["outbound.smarthost_password"] == "hunter-two"
    gone = {**form_of(owner.get("/settings/outgoing").text), "outbound.smarthost_user": ""}
    owner.post("/settings/outgoing", {**gone, "outbound.smarthost_password-clear": "on"})
    assert box.settings()["outbound.smarthost_password"] == ""


def test_the_button_of_the_smarthost_shows_what_came_of_each_step(
    box: WebBox, owner: Visitor
) -> None:
    assert "/settings/outgoing/test" not in owner.get("/settings/outgoing").text
    form = form_of(owner.get("/settings/outgoing").text)
    form |= {"outbound.mode": "smarthost", "outbound.smarthost_host": "smtp.example.net"}
    assert owner.post("/settings/outgoing", form).status_code == 303
    page = owner.get("/settings/outgoing").text
    assert 'action="/settings/outgoing/test#trial"' in page
    box.relay.trial = [
        {"check": "smarthost.connect", "result": "ok", "say": "The smarthost answers."},
        {"check": "smarthost.sign-in", "result": "bad", "say": "No.", "means": "535 <b>who</b>"},
    ]
    shown = owner.post("/settings/outgoing/test", {}, page="/settings/outgoing").text
    assert "The smarthost answers." in shown
    assert "535 &lt;b&gt;who&lt;/b&gt;" in shown


def test_a_silent_steward_is_said_on_the_page(box: WebBox, owner: Visitor) -> None:
    box.stop("steward")
    response = owner.get("/settings/mail")
    assert response.status_code == 503
    assert "The steward does not answer" in response.text
