"""The wizard from the claim to the end, by the way of forms, against the real steward."""

from __future__ import annotations

import concurrent.futures
from pathlib import Path

import pytest

from appliance.base.clock import FakeClock, SystemClock
from appliance.base.finding import Refused
from appliance.render.claim import Preseeded, Press
from appliance.render.main import boot
from appliance.upkeep import resets
from appliance.web.applying import State
from tests.support.wait import wait_until
from tests.support.web_box import ADMIN, ANSWERS, PASSWORD, NoMailPorts, Visitor, WebBox


def applied(box: WebBox, visitor: Visitor) -> None:
    """Press Apply and wait for the end."""
    assert visitor.post("/wizard/apply", page="/wizard/summary").status_code == 303
    applying = box.app.extensions["pennypost"].applying
    wait_until(lambda: applying.progress().state is not State.RUNNING, what="the end of applying")


def test_the_wizard_goes_from_claim_to_done(box: WebBox) -> None:
    visitor = box.visitor()
    assert visitor.get("/").headers["Location"] == "/wizard/"
    assert visitor.claim().headers["Location"] == "/wizard/language"
    visitor.answer_all()
    summary = visitor.get("/wizard/summary").text
    assert "mail.example.com" in summary
    assert "example.com → 10.20.30.40" in summary
    assert box.settings()["mail.enabled"] is False, "nothing is applied before Apply"

    applied(box, visitor)

    done = visitor.follow("/wizard/progress")
    assert "Your box works" in done.text
    settings = box.settings()
    assert settings["mail.enabled"] is True
    assert settings["mail.hostname"] == "mail.example.com"
    assert settings["mail.relay_domains"][0]["host"] == "10.20.30.40"
    assert settings["box.time_zone"] == "Europe/Berlin"
    assert box.claim_files.is_claimed()
    assert box.store.history()[0].author == ADMIN
    # The one who set it up is signed in; a fresh browser signs in with the password.
    assert "Queue" in visitor.get("/").text
    assert box.visitor("10.0.0.9").sign_in().headers["Location"] == "/"
    assert box.visitor().get("/wizard/language").status_code == 303


def test_after_a_reset_of_the_password_only_an_administrator_is_asked_for(box: WebBox) -> None:
    first = box.visitor()
    first.claim()
    first.answer_all()
    applied(box, first)
    first.follow("/wizard/progress")
    before = box.settings()
    resets.request(box.place.data, resets.Reset.PASSWORD)
    assert resets.carry_out(box.place.data, box.store) is resets.Reset.PASSWORD
    boot(box.place, NoMailPorts(box.place.run), SystemClock())
    box.restart_web()
    assert first.get("/").headers["Location"] == "/wizard/"
    visitor = box.visitor("10.0.0.7")
    assert "All settings were kept" in visitor.get("/wizard/claim").text
    assert visitor.claim().headers["Location"] == "/wizard/administrator"
    visitor.answer("administrator")
    assert "mail.example.com" in visitor.get("/wizard/summary").text, "the rest is answered"
    applied(box, visitor)
    assert "Your box works" in visitor.follow("/wizard/progress").text
    assert box.settings() == before


def test_the_box_can_restart_after_every_step(box: WebBox) -> None:
    visitor = box.visitor()
    visitor.claim()
    steps = [*ANSWERS, "summary"]
    for step, following in zip(ANSWERS, steps[1:], strict=True):
        visitor.answer(step)
        box.restart_web()
        assert visitor.follow("/").request.path == f"/wizard/{following}"
        assert box.settings()["mail.enabled"] is False
    shown = visitor.get("/wizard/incoming").text
    assert 'value="example.com"' in shown


def test_back_keeps_what_was_typed_even_when_it_is_wrong(box: WebBox) -> None:
    visitor = box.visitor()
    visitor.claim()
    for step in ("language", "administrator"):
        visitor.answer(step)
    response = visitor.answer("domain", {"mail.main_domain": "exa mple", "do": "back"})
    assert response.headers["Location"] == "/wizard/administrator"
    page = visitor.get("/wizard/domain").text
    assert 'value="exa mple"' in page
    assert 'aria-invalid="true"' in page


def test_a_page_ahead_leads_back_to_the_first_open_one(box: WebBox) -> None:
    visitor = box.visitor()
    visitor.claim()
    visitor.answer("language")
    assert visitor.get("/wizard/summary").headers["Location"] == "/wizard/administrator"
    assert visitor.answer("outgoing").status_code == 303
    assert "outbound.mode" not in box.app.extensions["pennypost"].draft.answers()


def test_an_error_stands_beside_its_field_and_the_password_is_not_sent_back(box: WebBox) -> None:
    visitor = box.visitor()
    visitor.claim()
    visitor.answer("language")
    bad = visitor.answer("administrator", {"password": "short-pw", "again": "short-pw"})
    assert bad.status_code == 422
    assert "This password is too short." in bad.text
    assert 'value="anna"' in bad.text
    assert "short-pw" not in bad.text
    differs = visitor.answer("administrator", {"again": PASSWORD + "x"})
    assert "The two passwords differ." in differs.text


def test_the_password_is_never_stored_as_typed(box: WebBox) -> None:
    visitor = box.visitor()
    visitor.claim()
    visitor.answer_all()
    for file in (box.place.data / "web").iterdir():
        assert PASSWORD.encode() not in file.read_bytes()


def test_a_relay_domain_that_is_the_main_domain_is_explained(box: WebBox) -> None:
    visitor = box.visitor()
    visitor.claim()
    for step in ("language", "administrator"):
        visitor.answer(step)
    visitor.answer("domain", {"mail.main_domain": "example.com"})
    visitor.answer("hostname")
    clash = visitor.answer("incoming")
    assert clash.status_code == 422
    assert "is your main mail domain" in clash.text
    assert "box.invalid" in clash.text
    # And the other way round: the domain is changed to one that is relayed.
    visitor.answer("domain")
    visitor.answer("incoming")
    again = visitor.answer("domain", {"mail.main_domain": "example.com"})
    assert again.status_code == 422
    assert "another server gets the mail of" in again.text


def test_the_invented_domain_is_one_press_away(box: WebBox) -> None:
    visitor = box.visitor()
    visitor.claim()
    for step in ("language", "administrator"):
        visitor.answer(step)
    visitor.answer("domain", {"mail.main_domain": "", "do": "invent"})
    assert box.app.extensions["pennypost"].draft.answers()["mail.main_domain"] == "box.invalid"


def test_many_relay_domains_can_be_pasted(box: WebBox) -> None:
    visitor = box.visitor()
    visitor.claim()
    for step in ("language", "administrator", "domain", "hostname"):
        visitor.answer(step)
    pasted = "a.example|10.0.0.1\nb.example | mail.b.example:2525\n\n# no\nc.example|[2001:db8::1]"
    visitor.post("/wizard/incoming", {"relay-paste": pasted})
    stored = box.app.extensions["pennypost"].draft.answers()["mail.relay_domains"]
    assert [(r["domain"], r["host"], r["port"]) for r in stored] == [
        ("a.example", "10.0.0.1", 25),
        ("b.example", "mail.b.example", 2525),
        ("c.example", "2001:db8::1", 25),
    ]


def test_rows_can_be_added_and_removed_without_a_script(box: WebBox) -> None:
    visitor = box.visitor()
    visitor.claim()
    for step in ("language", "administrator", "domain", "hostname"):
        visitor.answer(step)
    rows = {"relay-0-domain": "a.example", "relay-0-target": "10.0.0.1", "do": "add"}
    visitor.post("/wizard/incoming", rows)
    assert 'name="relay-1-domain"' in visitor.get("/wizard/incoming").text
    visitor.post("/wizard/incoming", {**rows, "do": "remove-0"})
    assert "a.example" not in visitor.get("/wizard/incoming").text


@pytest.mark.parametrize(
    ("typed", "tls", "host", "port"),
    [
        ("smtp.example.net", "implicit", "smtp.example.net", 465),
        ("smtp.example.net", "required", "smtp.example.net", 587),
        ("smtp.example.net:2587", "required", "smtp.example.net", 2587),
        ("[2001:db8::2]:25", "opportunistic", "2001:db8::2", 25),
    ],
)
def test_a_smarthost_is_read_with_its_port(
    box: WebBox, typed: str, tls: str, host: str, port: int
) -> None:
    visitor = box.visitor()
    visitor.claim()
    for step in ("language", "administrator", "domain", "hostname", "incoming"):
        visitor.answer(step)
    form = {
        "outbound.mode": "smarthost",
        "outbound.smarthost_host": typed,
        "outbound.smarthost_tls": tls,
        "outbound.smarthost_user": "office",
        "outbound.smarthost_password": "hunter-two",
    }
    assert visitor.post("/wizard/outgoing", form).headers["Location"] == "/wizard/dns"
    answers = box.app.extensions["pennypost"].draft.answers()
    assert (answers["outbound.smarthost_host"], answers["outbound.smarthost_port"]) == (host, port)
    assert "hunter-two" not in visitor.get("/wizard/outgoing").text


def test_a_smarthost_without_a_name_is_refused(box: WebBox) -> None:
    visitor = box.visitor()
    visitor.claim()
    for step in ("language", "administrator", "domain", "hostname", "incoming"):
        visitor.answer(step)
    bad = visitor.post(
        "/wizard/outgoing", {"outbound.mode": "smarthost", "outbound.smarthost_tls": "required"}
    )
    assert bad.status_code == 422
    assert "server is missing" in bad.text.replace("&#39;", "'")


def test_a_failure_shows_its_finding_and_lets_one_go_back(box: WebBox) -> None:
    box.effects.fail = Refused.because("probe.smtp", "The relay does not answer on port 25.")
    visitor = box.visitor()
    visitor.claim()
    visitor.answer_all()
    applied(box, visitor)
    page = visitor.get("/wizard/progress").text
    assert "The relay does not answer on port 25." in page
    assert "Apply again" in page
    assert not box.claim_files.is_claimed()
    assert visitor.get("/wizard/hostname").status_code == 200
    visitor.answer("hostname", {"mail.hostname": "mx.example.com"})
    box.effects.fail = None
    applied(box, visitor)
    assert "Your box works" in visitor.follow("/wizard/progress").text
    assert box.settings()["mail.hostname"] == "mx.example.com"


def test_the_steward_being_away_is_said_and_can_be_tried_again(box: WebBox) -> None:
    visitor = box.visitor()
    visitor.claim()
    visitor.answer_all()
    box.stop("steward")
    applied(box, visitor)
    assert "The steward does not answer" in visitor.get("/wizard/progress").text
    box.start_steward()
    applied(box, visitor)
    assert box.claim_files.is_claimed()


@pytest.mark.parametrize("cut", ["administrator", "settings", "claim"])
def test_a_power_cut_while_applying_is_gone_on_from(
    box: WebBox, cut: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    visitor = box.visitor()
    visitor.claim()
    visitor.answer_all()
    applying = box.app.extensions["pennypost"].applying
    _cut_after(applying, cut, monkeypatch)
    visitor.post("/wizard/apply", page="/wizard/summary")
    wait_until(lambda: not applying._alive(), what="the power to go")
    monkeypatch.undo()
    box.restart_web()

    page = visitor.follow("/")
    if cut == "claim":
        assert "Your box works" in page.text
    else:
        assert "The set-up was interrupted" in page.text
        applied(box, visitor)
        assert "Your box works" in visitor.follow("/wizard/progress").text
    assert box.settings()["mail.enabled"] is True
    assert len(box.store.history()) == 1, "the settings were changed once"
    assert box.visitor().sign_in().status_code == 303
    assert box.app.extensions["pennypost"].draft.answers() == {}


def _cut_after(applying: object, cut: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the thread vanish after a step, as when the power goes: nothing more is written."""

    class PowerCut(BaseException):
        pass

    accounts, steward = applying._accounts, applying._steward  # type: ignore[attr-defined]
    put, ask = accounts.put_administrator, steward.ask

    def put_then_cut(**args: str) -> None:
        put(**args)
        if cut == "administrator":
            raise PowerCut

    def ask_then_cut(verb: str, *args: object, **more: object) -> object:
        answer = ask(verb, *args, **more)
        if (cut, verb) in (("settings", "settings.change"), ("claim", "claim.close")):
            raise PowerCut
        return answer

    monkeypatch.setattr(accounts, "put_administrator", put_then_cut)
    monkeypatch.setattr(steward, "ask", ask_then_cut)
    monkeypatch.setattr("threading.excepthook", lambda args: None)


# -- claiming (H6) --------------------------------------------------------------------


def test_of_fifty_claims_at_once_exactly_one_gets_the_box(box: WebBox) -> None:
    code = box.code
    visitors = [box.visitor(f"192.168.1.{n}") for n in range(1, 51)]
    tokens = [v.token("/wizard/claim") for v in visitors]

    def claim(visitor: Visitor, token: str) -> int:
        return visitor.post("/wizard/claim", {"code": code}, token=token).status_code

    with concurrent.futures.ThreadPoolExecutor(10) as pool:
        results = list(pool.map(claim, visitors, tokens))
    assert results.count(303) == 1
    assert results.count(409) == 49
    holder = visitors[results.index(303)]
    other = visitors[results.index(409)]
    assert f"being set up from {holder.peer}" in other.get("/wizard/").text or (
        f"being set up from {holder.peer}" in other.follow("/wizard/").text
    )
    assert other.get("/wizard/language").headers["Location"] == "/wizard/claim"


def test_five_wrong_codes_make_a_pause_that_a_restart_does_not_end(box: WebBox) -> None:
    visitor = box.visitor()
    results = [visitor.claim("WRONG-CODE").status_code for _ in range(5)]
    assert results == [422, 422, 422, 422, 429]
    box.restart_web()
    fresh = box.visitor("192.168.1.99")
    token = visitor.token("/preferences/none") or "x"
    assert token
    paused = fresh.follow("/wizard/claim").text
    assert "There were five wrong codes." in paused
    assert 'name="code"' not in paused


def test_a_code_is_taken_however_it_is_written(box: WebBox) -> None:
    visitor = box.visitor()
    assert visitor.claim(f"  {box.code.lower().replace('-', ' ')} ").status_code == 303


def test_the_claimer_can_go_on_in_another_browser(box: WebBox) -> None:
    first, second = box.visitor(), box.visitor("192.168.1.21")
    first.claim()
    first.answer("language")
    assert second.claim().status_code == 409
    assert second.claim(take_over="yes").headers["Location"] == "/wizard/administrator"
    assert first.get("/wizard/administrator").headers["Location"] == "/wizard/claim"


def test_nothing_but_the_wizard_is_there_before_the_claim(box: WebBox) -> None:
    visitor = box.visitor()
    for path in ("/", "/queue/", "/settings/mail", "/people/", "/api/v1/status", "/style", "/x"):
        assert visitor.get(path).headers["Location"] == "/wizard/", path
    for path in ("/sign-in", "/settings/mail", "/queue/act"):
        assert visitor.post(path, token="x").status_code == 403, path


@pytest.mark.parametrize("peer", ["203.0.113.9", "2001:db8::1", "8.8.8.8", ""])
def test_strangers_are_not_answered_before_the_claim(box: WebBox, peer: str) -> None:
    response = box.visitor(peer).get("/wizard/claim")
    assert response.status_code == 403
    assert "answers only its own network" in response.text


@pytest.mark.parametrize("peer", ["127.0.0.1", "10.0.2.2", "172.20.1.1", "fe80::1", "fd00::5"])
def test_neighbours_are_answered_before_the_claim(box: WebBox, peer: str) -> None:
    assert box.visitor(peer).get("/wizard/claim").status_code == 200


def test_a_box_without_a_code_says_so(box: WebBox) -> None:
    box.claim_files.code_file.unlink()
    assert "has not made its code yet" in box.visitor().get("/wizard/claim").text


def test_the_wizard_speaks_german_from_its_first_page(box: WebBox, tmp_path: Path) -> None:
    visitor = box.visitor()
    page = visitor.get("/wizard/claim", headers={"Accept-Language": "de-DE,de;q=0.9,en;q=0.5"})
    assert 'lang="de"' in page.text
    visitor.claim()
    visitor.answer("language", {"box.language": "de"})
    assert 'lang="de"' in visitor.get("/wizard/administrator").text


# -- the button and the preseed file (H6) ----------------------------------------------


def press(box: WebBox) -> None:
    """What the steward does when the panel tells of a press."""
    Press(box.place.claim_press).note(box.clock.monotonic())


def pressed(visitor: Visitor, press: str = "yes") -> int:
    return visitor.post("/wizard/claim", {"press": press}).status_code


def test_a_press_of_the_button_stands_for_the_code_for_one_person(box: WebBox) -> None:
    first, second = box.visitor("192.168.1.7"), box.visitor("192.168.1.8")
    assert pressed(first) == 422
    assert "noticed no press" in first.post("/wizard/claim", {"press": "yes"}).text
    press(box)
    assert pressed(first) == 303
    assert first.follow("/").request.path == "/wizard/language"
    assert pressed(second) == 409
    assert pressed(second, "take-over") == 422, "the press is used up"
    assert "being set up from 192.168.1.7" in second.get("/wizard/claim").text


def test_who_presses_again_goes_on_from_another_browser(box: WebBox) -> None:
    press(box)
    first, second = box.visitor("192.168.1.7"), box.visitor("192.168.1.8")
    assert pressed(first) == 303
    press(box)
    assert pressed(second) == 409
    assert pressed(second, "take-over") == 303
    assert first.get("/wizard/language").headers["Location"] == "/wizard/claim"


def test_after_a_claim_by_code_a_press_is_worth_nothing(box: WebBox) -> None:
    press(box)
    assert box.visitor("192.168.1.7").claim().status_code == 303
    assert pressed(box.visitor("192.168.1.8"), "take-over") == 422


def test_of_fifty_who_saw_the_press_exactly_one_gets_the_box(box: WebBox) -> None:
    visitors = [box.visitor(f"192.168.1.{n}") for n in range(1, 51)]
    tokens = [v.token("/wizard/claim") for v in visitors]
    press(box)

    def claim(visitor: Visitor, token: str) -> int:
        return visitor.post("/wizard/claim", {"press": "yes"}, token=token).status_code

    with concurrent.futures.ThreadPoolExecutor(10) as pool:
        results = list(pool.map(claim, visitors, tokens))
    assert results.count(303) == 1
    assert results.count(409) == 49


def test_a_press_is_good_for_two_minutes(tmp_path: Path) -> None:
    clock = FakeClock()
    with WebBox(tmp_path, clock=clock) as box:
        press(box)
        clock.advance(119)
        assert pressed(box.visitor()) == 303
        press(box)
        clock.advance(121)
        assert pressed(box.visitor("192.168.1.8"), "take-over") == 422


def test_the_claim_page_tells_of_the_preseed_file(box: WebBox) -> None:
    say = "pennypost.toml was not used. network.address: “x” is not an address."
    box.claim_files.note_preseed(Preseeded("", False, say, "Write it like 192.168.1.20/24."))
    boot(box.place, box.effects, box.clock)
    page = box.visitor().get("/wizard/claim").text
    assert say in page
    assert "Write it like 192.168.1.20/24." in page
    assert "CLAIM.TXT" in page
    box.claim_files.set_code("Lantern-Orbit-58")
    box.claim_files.note_preseed(Preseeded("ab", True))
    boot(box.place, box.effects, box.clock)
    page = box.visitor().get("/wizard/claim").text
    assert "It is the one that was written into the file pennypost.toml" in page
    assert "CLAIM.TXT" not in page
    assert box.visitor().claim("lantern orbit 58").status_code == 303
