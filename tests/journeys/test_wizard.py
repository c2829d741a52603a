"""The wizard by a person in a browser: leaving, coming back, the power going."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import json
import re
import ssl
import urllib.error
import urllib.parse
import urllib.request
from http.cookiejar import CookieJar

import pytest
from cryptography import x509

from tests.support.box import Box
from tests.support.browser import PHONE, browser
from tests.support.wait import wait_until
from tests.support.wizard import STEPS, Answers, Visitor

pytestmark = [pytest.mark.image, pytest.mark.timeout(3600)]
VISITORS = 50


def settings_of(box: Box) -> dict[str, object]:
    found: dict[str, object] = json.loads(box.root("pennypost settings show --json"))
    shown = found.get("settings", found)
    assert isinstance(shown, dict)
    return shown


def test_leaving_going_back_and_reloading_lose_nothing(fresh_box: Box, answers: Answers) -> None:
    with browser() as running, Visitor(running, fresh_box.url, size=PHONE) as visitor:
        visitor.claim(fresh_box.claim_code())
        visitor.answer("language", answers)
        visitor.answer("administrator", answers)
        # Left in the middle of a page, with something typed and not sent; back at it later.
        visitor.open("/")
        assert visitor.step == "domain"
        visitor.answer("domain", answers)
        visitor.page.reload()
        assert visitor.step == "hostname"
        visitor.page.go_back()
        visitor.open("/wizard/domain")
        assert visitor.page.input_value("[name='mail.main_domain']") == answers.main_domain
        visitor.answer("domain", answers)
        visitor.answer("hostname", answers)
        visitor.answer("incoming", answers)
        # A page far ahead leads to where one is.
        visitor.open("/wizard/summary")
        assert visitor.step == "outgoing"
        visitor.open("/wizard/incoming")
        assert visitor.page.input_value("[name=relay-0-domain]") == answers.relay_domain
        assert settings_of(fresh_box)["mail.enabled"] is False
        assert not fresh_box.answers_on(25, timeout_seconds=3)


def test_a_wrong_answer_is_said_on_its_page_and_kept_there(
    fresh_box: Box, answers: Answers
) -> None:
    with browser() as running, Visitor(running, fresh_box.url) as visitor:
        visitor.claim(fresh_box.claim_code())
        visitor.answer("language", answers)
        visitor.answer("administrator", dataclasses.replace(answers, password="short"))
        assert visitor.step == "administrator"
        assert "too short" in visitor.page.locator("main").inner_text()
        assert visitor.page.input_value("[name=name]") == "admin"
        assert visitor.page.input_value("[name=password]") == ""


@pytest.mark.parametrize("after_each", [2, pytest.param(1, marks=pytest.mark.soak)])
def test_the_power_may_go_after_every_step(
    fresh_box: Box, answers: Answers, after_each: int
) -> None:
    """Cut, start, go on: what was answered is there, what was not is asked, nothing applies.

    Each cut costs a start, so `make test` cuts after every other step, `make soak` after each.
    """
    box = fresh_box
    code = box.claim_code()
    with browser() as running, Visitor(running, box.url) as visitor:
        visitor.claim(code)
        for number, step in enumerate(STEPS[:-1]):
            visitor.answer(step, answers)
            if number % after_each:
                continue
            box.cut_power()
            box.power_on()
            box.wait_for_web()
            visitor.moved_to(box.url)
            visitor.open("/")
            assert visitor.step == STEPS[number + 1]
            assert settings_of(box)["mail.enabled"] is False
        # And in the midst of applying.
        visitor.press("Apply")
        box.cut_power()
        box.power_on()
        box.wait_for_web()
        visitor.moved_to(box.url)
        visitor.open("/")
        if visitor.step in ("summary", "progress"):
            visitor.apply()
    applied = settings_of(box)
    assert applied["mail.hostname"] == answers.hostname
    assert applied["box.time_zone"] == answers.time_zone
    box.wait_for_smtp()
    with browser() as running, Visitor(running, box.url) as visitor:
        visitor.sign_in(answers)


def test_of_fifty_claims_at_once_exactly_one_gets_the_box(fresh_box: Box) -> None:
    code = fresh_box.claim_code()
    with concurrent.futures.ThreadPoolExecutor(VISITORS) as pool:
        places = list(pool.map(lambda _: claimed(fresh_box.url, code), range(VISITORS)))
    assert places.count(True) == 1, places


# Makes F12 of the emulated keyboard the reset button that a board's own description would name.
REMAP = """
import fcntl, glob, struct
for name in glob.glob("/sys/class/input/event*"):
    if "AT Translated" in open(name + "/device/name").read():
        device = open("/dev/input/" + name.rpartition("/")[2], "rb")
        fcntl.ioctl(device, 0x40084504, struct.pack("II", 0x58, 0x198))
        print("remapped")
"""


def test_a_press_of_the_reset_button_stands_for_the_code_once(fresh_box: Box) -> None:
    box = fresh_box
    assert "remapped" in box.root(f"python3 -c '{REMAP}'")
    assert not claimed(box.url, "", press="yes")
    wait_until(
        lambda: box.root("systemctl is-active pennypost-panel") == "active",
        what="the panel's daemon",
        timeout_seconds=60,
    )
    box.machine.qmp.command("send-key", keys=[{"type": "qcode", "data": "f12"}])
    wait_until(
        lambda: "can be claimed without its code" in box.journal("pennypost-panel"),
        what="the press",
        timeout_seconds=60,
        every_seconds=0.5,
    )
    with concurrent.futures.ThreadPoolExecutor(5) as pool:
        places = list(pool.map(lambda _: claimed(box.url, "", press="yes"), range(5)))
    assert places.count(True) == 1, places


def test_the_first_certificate_names_the_address_that_the_router_gave(fresh_box: Box) -> None:
    address = ("127.0.0.1", fresh_box.port(443))
    certificate = x509.load_pem_x509_certificate(ssl.get_server_certificate(address).encode())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    assert "10.0.2.15" in map(str, names.value.get_values_for_type(x509.IPAddress))


def claimed(url: str, code: str, **more: str) -> bool:
    """Whether one visitor of their own, with the right code, got the box."""
    context = ssl._create_unverified_context()
    opener = urllib.request.build_opener(
        urllib.request.HTTPSHandler(context=context),
        urllib.request.HTTPCookieProcessor(CookieJar()),
    )
    page = opener.open(f"{url}/wizard/claim", timeout=180).read().decode()
    form = {"code": code, **more}
    for name, value in re.findall(
        r"<input[^>]*type=[\"']?hidden[\"']?[^>]*name=[\"']?([\w-]+)[\"']?[^>]*value=[\"']([^\"']*)",
        page,
    ):
        form[name] = value
    request = urllib.request.Request(
        f"{url}/wizard/claim",
        data=urllib.parse.urlencode(form).encode(),
        headers={"Origin": url, "Referer": f"{url}/wizard/claim"},
    )
    try:
        answer = opener.open(request, timeout=180)
    except urllib.error.HTTPError as error:
        if error.code in (409, 422, 429):  # somebody else has it, or no press was noticed
            return False
        raise
    return not answer.url.endswith("/claim")


def test_nothing_but_the_wizard_is_shown_before_it(fresh_box: Box) -> None:
    for path in ("/", "/queue", "/settings", "/api/v1/status", "/nowhere"):
        page = fresh_box.get(path)
        place = page.headers.get("location", "")
        assert page.status in (302, 303, 307, 401, 403, 404), (path, page.status)
        if page.status in (302, 303, 307):
            assert "/wizard" in place, (path, place)


def test_plain_http_shows_the_way_and_the_root_certificate(fresh_box: Box) -> None:
    page = fresh_box.get("/", guest_port=80)
    assert page.status == 200
    assert b"https://" in page.body
    found = re.search(rb'href="([^"]+\.(?:crt|pem|cer))"', page.body)
    assert found, page.body[:2000]
    certificate = fresh_box.get(found[1].decode(), guest_port=80)
    assert certificate.status == 200
    own = fresh_box.root("cat /data/pennypost/keys/public/ca.crt")
    assert own.split()[3] in certificate.body.decode("latin-1") or certificate.body[:1] == b"0"
