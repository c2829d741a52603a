"""Signing in, slowing down guessers, people, tokens, home and the status API."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from appliance.base.clock import FakeClock
from appliance.web.db import Database
from appliance.web.throttle import Throttle, network_of, wait_seconds
from tests.support.web_box import ADMIN, PASSWORD, Visitor, WebBox, letter


def test_name_and_password_open_the_box(box: WebBox) -> None:
    box.set_up()
    visitor = box.visitor("10.9.9.9")
    assert visitor.sign_in(name=" ANNA ").status_code == 303
    assert visitor.get("/").status_code == 200


@pytest.mark.parametrize(("name", "password"), [(ADMIN, "wrong"), ("nobody", PASSWORD), ("", "")])
def test_a_wrong_pair_is_refused_with_the_same_words(box: WebBox, name: str, password: str) -> None:
    box.set_up()
    response = box.visitor().sign_in(name, password)
    assert response.status_code == 422
    assert "User name and password do not fit together." in response.text


def test_guessing_is_slowed_down_and_a_right_password_does_not_help_then(box: WebBox) -> None:
    box.set_up()
    guesser = box.visitor("10.66.0.1")
    results = [guesser.sign_in(password=f"guess-{n}").status_code for n in range(7)]
    assert results[:5] == [422] * 5
    assert 429 in results[5:]


# -- the throttle by itself, with a clock that is moved ---------------------------------


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def test_waits_grow_from_a_second_to_five_minutes() -> None:
    assert [wait_seconds(n) for n in (0, 4, 5, 6, 7, 20, 10_000)] == [0, 0, 1, 2, 4, 300, 300]


@pytest.fixture
def made(tmp_path: Path, clock: FakeClock) -> Throttle:
    return Throttle(Database(tmp_path / "web.db"), clock)


def fail(throttle: Throttle, times: int, account: str, peer: str, clock: FakeClock) -> None:
    for _ in range(times):
        while (wait := throttle.try_now(account, peer)) > 0:
            clock.advance(wait + 0.001)


def test_a_stranger_does_not_keep_the_administrator_out(made: Throttle, clock: FakeClock) -> None:
    made.try_now("anna", "192.168.1.5")
    made.forgive("anna", "192.168.1.5")
    fail(made, 20, "anna", "203.0.113.9", clock)
    assert made.try_now("anna", "203.0.113.77") > 60, "the stranger's whole network waits"
    assert made.try_now("anna", "198.51.100.1") > 60, "and so do strangers elsewhere"
    assert made.try_now("anna", "192.168.1.6") == 0, "the office does not"


def test_one_network_can_not_try_many_accounts(made: Throttle, clock: FakeClock) -> None:
    for number in range(5):
        assert made.try_now(f"name{number}", "2001:db8:1:2::1") == 0
    assert made.try_now("another", "2001:db8:1:2:ffff::9") > 0


def test_a_right_password_is_forgiven_everything(made: Throttle, clock: FakeClock) -> None:
    fail(made, 8, "anna", "10.0.0.1", clock)
    clock.advance(300)
    assert made.try_now("anna", "10.0.0.1") == 0
    made.forgive("anna", "10.0.0.1")
    assert made.try_now("anna", "10.0.0.1") == 0


def test_a_clock_set_back_does_not_lengthen_the_wait(made: Throttle, clock: FakeClock) -> None:
    fail(made, 6, "anna", "10.0.0.1", clock)
    clock.jump(-86_400)
    assert made.try_now("anna", "10.0.0.1") <= 2


def test_the_counts_survive_a_restart(tmp_path: Path, clock: FakeClock) -> None:
    fail(Throttle(Database(tmp_path / "w.db"), clock), 12, "anna", "10.0.0.1", clock)
    assert Throttle(Database(tmp_path / "w.db"), clock).try_now("anna", "10.0.0.1") > 60


def test_networks_are_cut_at_24_and_64() -> None:
    assert network_of("10.1.2.3") == "10.1.2.0/24"
    assert network_of("::ffff:10.1.2.3") == "10.1.2.0/24"
    assert network_of("2001:db8::1%eth0") == "2001:db8::/64"
    assert network_of("") == ""


# -- sessions end -----------------------------------------------------------------------


@pytest.mark.parametrize(("minutes", "ends"), [(59, False), (61, True)])
def test_a_session_ends_when_it_is_idle(tmp_path: Path, minutes: int, ends: bool) -> None:
    clock = FakeClock(datetime.now(UTC))
    with WebBox(tmp_path, clock=clock) as box:
        owner = box.set_up()
        clock.advance(minutes * 60)
        assert (owner.get("/").status_code == 303) is ends


def test_a_session_ends_after_its_hours_however_busy(tmp_path: Path) -> None:
    clock = FakeClock(datetime.now(UTC))
    with WebBox(tmp_path, clock=clock) as box:
        owner = box.set_up()
        for _ in range(23):
            clock.advance(1800)
            assert owner.get("/more").status_code == 200
        clock.advance(1801)
        assert owner.get("/more").status_code == 303


# -- people -----------------------------------------------------------------------------


def test_a_new_password_signs_out_all_other_browsers(box: WebBox, owner: Visitor) -> None:
    other = box.visitor("192.168.1.40")
    other.sign_in()
    form = {"old": PASSWORD, "password": "seil wolke lampe kaffee"}
    assert owner.post("/people/password", form, page="/people/").status_code == 303
    assert owner.get("/").status_code == 200
    assert other.get("/").status_code == 303
    assert box.visitor().sign_in().status_code == 422
    assert box.visitor().sign_in(password="seil wolke lampe kaffee").status_code == 303


def test_the_present_password_is_needed_for_a_new_one(owner: Visitor) -> None:
    form = {"old": "wrong", "password": "seil wolke lampe kaffee"}
    response = owner.post("/people/password", form, page="/people/")
    assert response.status_code == 422
    assert "not your present password" in response.text


def test_an_administrator_is_added_and_removed(box: WebBox, owner: Visitor) -> None:
    form = {"name": "Ben", "password": "seil wolke lampe kaffee"}
    owner.post("/people/add", form, page="/people/")
    ben = box.visitor("192.168.1.41")
    assert ben.sign_in("ben", "seil wolke lampe kaffee").status_code == 303
    assert owner.post("/people/add", form, page="/people/").status_code == 422
    owner.post("/people/remove", {"name": "ben"}, page="/people/")
    assert ben.get("/").status_code == 303
    owner.post("/people/remove", {"name": ADMIN}, page="/people/")
    assert "This is the only administrator." in owner.get("/people/").text


# -- API and home -----------------------------------------------------------------------


def test_the_status_needs_a_token_that_is_shown_once(box: WebBox, owner: Visitor) -> None:
    page = owner.post("/people/tokens", {"label": "monitoring"}, page="/people/").text
    token = page[page.index("pp_") :].split("<")[0]
    assert token not in owner.get("/people/").text
    bare = box.app.test_client()
    assert bare.get("/api/v1/status").status_code == 401
    wrong = bare.get("/api/v1/status", headers={"Authorization": "Bearer pp_wrong"})
    assert wrong.status_code == 401
    answer = bare.get("/api/v1/status", headers={"Authorization": f"Bearer {token}"})
    assert answer.status_code == 200
    status = answer.get_json()
    assert status["state"] == "running"
    assert status["name"] == "mail.example.com"
    assert status["mail"]["queue"]["messages"] == 0
    assert {s["name"] for s in status["services"]} == {"relay", "web"}
    owner.post("/people/tokens/remove", {"id": "1"}, page="/people/")
    gone = bare.get("/api/v1/status", headers={"Authorization": f"Bearer {token}"})
    assert gone.status_code == 401


def test_home_shows_queue_and_services(box: WebBox, owner: Visitor) -> None:
    assert "<dd>0</dd>" in owner.get("/").text
    box.relay.letters = [letter(1), letter(2)]
    page = owner.get("/").text
    assert "Mail running" in page
    assert "<dd>2</dd>" in page
    assert "2 hours" in page


def test_home_lets_the_box_blink_and_stop(box: WebBox, owner: Visitor) -> None:
    note = box.place.run / "identify"
    assert "Let the box blink" in owner.get("/").text
    for do, there, said in (("on", True, "blinks for five"), ("off", False, "does not blink")):
        assert owner.post("/identify", {"do": do}, page="/").status_code == 303
        assert note.exists() is there
        assert said in owner.get("/").text


def test_home_says_first_what_hurts_mail_most(box: WebBox, owner: Visitor) -> None:
    box.stop("relay")
    box.store.change({"mail.relay_domains": []}, author="x")
    page = owner.get("/").text
    assert "finding bad" in page
    assert page.index("finding bad") < page.index("Services")
    assert "The mail service does not answer." in page or "fails:" in page


def test_a_home_without_a_steward_still_shows(box: WebBox, owner: Visitor) -> None:
    box.stop("steward")
    response = owner.get("/")
    assert response.status_code == 200
    assert "The steward does not answer" in response.text
