"""The page of the accounts, over the real steward."""

from __future__ import annotations

import re
from typing import Any

import pytest

from appliance.accounts.users import read_user
from appliance.base.control import Request
from appliance.base.finding import Refused
from tests.support.web_box import PASSWORD, Visitor, WebBox

PAGE = "/people/accounts/"


def add(owner: Visitor, login: str, **form: str) -> str:
    return owner.post("/people/accounts/add", {"login": login, **form}, page=PAGE).text


def test_an_account_is_added_found_switched_off_and_deleted(box: WebBox, owner: Visitor) -> None:
    page = add(owner, "R.Johnson", name="<b>Robert</b>")
    made = re.search(r'id="made-password">([^<]+)<', page)
    assert made
    assert re.fullmatch(r"[a-z2-9]{5}(-[a-z2-9]{5}){3}", made[1])
    assert made[1] not in owner.get(PAGE).text, "shown once"
    assert "&lt;b&gt;Robert&lt;/b&gt;" in owner.get(PAGE).text
    assert "r.johnson@box.invalid" in owner.get(f"{PAGE}?search=robert").text
    assert "No account matches." in owner.get(f"{PAGE}?search=anna").text
    owner.post("/people/accounts/switch", {"login": "r.johnson", "enabled": ""}, page=PAGE)
    file = box.place.data / "accounts" / "accounts.db"
    user = read_user(file, "r.johnson")
    assert user is not None
    assert not user.enabled
    where = "/people/accounts/delete/r.johnson"
    assert owner.post(where, {"word": "yes"}).status_code == 422
    assert read_user(file, "r.johnson") is not None
    assert owner.post(where, {"word": "r.johnson"}).status_code == 303
    assert read_user(file, "r.johnson") is None


def test_what_is_wrong_stands_beside_its_field_and_the_rest_stays_typed(owner: Visitor) -> None:
    page = add(owner, "anna", name="Anna", password="short")
    assert "This password is too short." in page
    assert 'value="Anna"' in page
    assert "There is no account yet." in page
    add(owner, "anna", password=PASSWORD)
    assert "There is an account of this name." in add(owner, "ANNA", password=PASSWORD)
    assert "1 to 64 characters" in add(owner, "a b", password=PASSWORD)


@pytest.mark.full
def test_it_is_said_when_nobody_could_sign_in(box: WebBox) -> None:
    owner = box.set_up(**{"submission.sign_in": True})
    words = "Signing in is switched on, and there is no account."
    assert words in owner.get("/").text
    assert words in owner.get("/settings/sending").text
    add(owner, "anna")
    assert words not in owner.get("/").text


@pytest.mark.full
def test_mail_that_the_brake_holds_is_told_at_home_and_released_here(
    box: WebBox, owner: Visitor
) -> None:
    add(owner, "anna", password=PASSWORD)
    released: list[Any] = []

    async def status(request: Request) -> Any:
        brake = {"login": "anna", "since": "2026-01-01T00:00:00+00:00", "why": "x", "held": 7}
        return {**await box.relay.status(request), "brakes": [] if released else [brake]}

    async def release(request: Request) -> Any:
        if request.args["login"] != "anna":
            raise Refused.because("brake.login", "This account is not held up.")
        released.append(request.args)
        return {"login": "anna", "count": 7}

    box.stop("relay")
    box._serve("relay", {**box.relay.handlers(), "status": status, "brake.release": release})
    home = owner.get("/").text
    assert "The mail of the account “anna” is held." in home
    assert "7 letters wait." in home
    assert f'href="{PAGE}"' in home
    assert "mail held" in owner.get(PAGE).text
    owner.post("/people/accounts/release", {"login": "anna"}, page=PAGE)
    assert released == [{"login": "anna", "author": "anna"}]
    assert "anna sends again; 7 held letters go on." in owner.get(PAGE).text
    assert "is held" not in owner.get("/").text


@pytest.mark.full
def test_a_network_of_very_many_strangers_is_warned_of_on_its_page(box: WebBox) -> None:
    owner = box.set_up(**{"relay.trusted_networks": ["8.0.0.0/7", "10.0.0.5/255.255.255.255"]})
    page = owner.get("/settings/limits").text
    assert "8.0.0.0/7 holds very many addresses of strangers." in page
    assert "10.0.0.5/32\n" in page or "10.0.0.5/32<" in page


@pytest.mark.full
def test_the_pages_count_wrong_passwords_with_the_relay(box: WebBox, owner: Visitor) -> None:
    async def told(request: Request) -> Any:
        return {"wait_seconds": 30.0}

    box.stop("relay")
    box._serve("relay", {**box.relay.handlers(), "throttle.try": told})
    assert box.visitor("10.1.1.1").sign_in().status_code == 429


def test_an_account_has_a_page_with_its_size_and_its_app_passwords(
    box: WebBox, owner: Visitor
) -> None:
    add(owner, "anna", password=PASSWORD)
    page = PAGE + "anna"
    owner.post(f"{page}/edit", {"name": "Anna J", "quota": "5", "language": "de"}, page=page)
    file = box.place.data / "accounts" / "accounts.db"
    user = read_user(file, "anna")
    assert user is not None
    assert (user.name, user.quota_bytes, user.language) == ("Anna J", 5 << 20, "de")
    wrong = owner.post(f"{page}/edit", {"quota": "many"}, page=page)
    assert wrong.status_code == 422
    assert "Write a number of megabytes." in wrong.text
    made = re.search(
        r'id="made-password">([^<]+)<', owner.post(f"{page}/app", {"label": "tel"}, page=page).text
    )
    assert made
    assert made[1] not in owner.get(page).text
    number = re.search(r'name="id" value="(\d+)"', owner.get(page).text)
    assert number
    owner.post(f"{page}/app/remove", {"id": number[1]}, page=page)
    user = read_user(file, "anna")
    assert user is not None
    assert user.app_hashes == ()
    assert owner.get(PAGE + "nobody").status_code == 404


def test_the_table_is_given_out_and_taken_back_whole_or_not_at_all(owner: Visitor) -> None:
    add(owner, "anna", password=PASSWORD)
    assert "anna,,,,,yes" in owner.get(PAGE + "export.csv").text
    where = PAGE + "delete/anna"
    owner.post(where, {"word": "anna", "fate": "hand_over", "heir": "nobody"})
    assert (
        "There is no account of this name."
        in owner.post(where, {"word": "anna", "fate": "hand_over", "heir": "nobody"}).text
    )
    assert "anna" in owner.get(PAGE).text
