"""The page on signatures: records to copy, the switch, the change of keys."""

import re

import pytest

from appliance.base import control
from tests.support.web_box import Visitor, WebBox

PATH = "/settings/signatures/"
DOMAIN = {"domain": "shop.example"}


@pytest.fixture(autouse=True)
def domain(box: WebBox, owner: Visitor) -> None:
    """The box of these tests is also the mail server of a domain."""
    changes = {"mail.additional_domains": ["shop.example"]}
    args = {"changes": changes, "author": "test"}
    control.call(box.place.run / "steward.sock", "settings.change", args)


def test_the_page_shows_names_and_values_with_copy_buttons(owner: Visitor) -> None:
    page = owner.get(PATH).text
    assert "shop.example" in page
    assert "pp1._domainkey" in page
    assert re.search(r"<code[^>]*>v=DKIM1; k=rsa; p=MII[^<]{300,}</code>", page)
    assert re.search(r"<code[^>]*>&#34;v=DKIM1[^<]{200,}&#34; &#34;[^<]+&#34;</code>", page)
    assert page.count("data-copy") >= 5  # two names, three values
    assert "PRIVATE" not in page


def test_the_look_says_what_is_missing_here_and_in_the_dns_guide(owner: Visitor) -> None:
    page = owner.get(PATH + "?look=1").text
    assert "There is no DKIM record there yet." in page
    assert "Looked up just now." in page
    guide = owner.get("/dns/").text
    assert "pp1._domainkey.shop.example" in guide
    assert "pp1e._domainkey.shop.example" in guide


def test_the_keys_can_be_changed(owner: Visitor) -> None:
    owner.post(PATH + "rotate", DOMAIN, page=PATH)
    page = owner.get(PATH).text
    assert "The next keys are made." in page
    assert "pp2._domainkey" in page
    owner.post(PATH + "switch", DOMAIN, page=PATH)
    assert "no name server to look at" in owner.get(PATH).text
    owner.post(PATH + "switch", {**DOMAIN, "force": "on"}, page=PATH)
    page = owner.get(PATH).text
    assert "Mail is signed with the new keys from now on." in page
    assert "Then delete them." in page


@pytest.mark.full
def test_a_wrong_domain_is_refused_in_words(owner: Visitor) -> None:
    owner.post(PATH + "rotate", {"domain": "example.net"}, page=PATH)
    assert "is not a mail domain of this box" in owner.get(PATH).text


@pytest.mark.full
def test_signing_can_be_switched_off_and_on(box: WebBox, owner: Visitor) -> None:
    owner.post(PATH + "enabled", {"enabled": "off"}, page=PATH)
    assert box.settings()["signing.enabled"] is False
    assert "Mail is no longer signed." in owner.get(PATH).text
    owner.post(PATH + "enabled", {"enabled": "on"}, page=PATH)
    assert box.settings()["signing.enabled"] is True
