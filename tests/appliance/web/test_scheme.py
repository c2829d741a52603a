"""The filtering scheme and the simulator as pages."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.base import control
from appliance.policy.verdict import Station
from appliance.relay.control import Control
from appliance.spool import queries
from appliance.web import scheme
from tests.support.relay_box import RelayBox
from tests.support.web_box import Visitor, WebBox

PAGE = "/settings/scheme/"
TRY = "/settings/scheme/try"


@pytest.fixture
def relay(box: WebBox, owner: Visitor, tmp_path: Path) -> Iterator[RelayBox]:
    """A real relay behind the pages."""
    box.stop("relay")
    with RelayBox(
        tmp_path / "relay", {"rules.aliases": ["info@example.org: x@b.example"]}
    ) as found:

        async def nothing() -> None:
            """Nothing is reloaded here."""

        async def listen() -> asyncio.Server:
            verbs = Control(found.shop, found.listener, found.worker, nothing, nothing).handlers()
            return await control.serve(verbs, path=box.place.run / "relay.sock")

        server = found.run(listen())
        yield found
        found.run(_close(server))


async def _close(server: asyncio.Server) -> None:
    server.close()


def ask(owner: Visitor, **form: str) -> str:
    return str(owner.post(TRY, form, page=TRY).text)


def test_each_station_has_a_name() -> None:
    assert set(scheme.STATIONS) == set(Station)


def test_the_scheme_shows_what_is_on_in_its_order(relay: RelayBox, owner: Visitor) -> None:
    page = owner.get(PAGE).text
    rows = re.findall(r'<th scope="row">(\d) ([^<]+)</th>', page)
    numbers = [int(number) for number, _ in rows]
    assert numbers == sorted(numbers)
    assert {name for _, name in rows} >= {"Block lists", "Greylisting", "Queue and delivery"}
    assert "Counted since" in page


@pytest.mark.parametrize(
    ("form", "says"),
    [
        ({"ip": "here", "recipients": "x@example.org"}, "This is no IP address."),
        ({"ip": "192.0.2.7", "recipients": " , "}, "Say to whom the mail goes."),
    ],
)
def test_a_question_that_makes_no_sense_is_told(
    relay: RelayBox, owner: Visitor, form: dict[str, str], says: str
) -> None:
    answer = owner.post(TRY, form, page=TRY)
    assert answer.status_code == 422
    assert says in answer.text


def test_a_station_that_asks_several_things_has_one_line() -> None:
    words = [
        {"number": 4, "station": "sender", "told": "passed", "why": ""},
        {"number": 1, "station": "sanity", "told": "note", "why": "b"},
        {"number": 1, "station": "sanity", "told": "passed", "why": ""},
        {"number": 1, "station": "sanity", "told": "reject", "why": "c"},
    ]
    assert [(word["station"], word["why"]) for word in scheme.by_station(words)] == [
        ("sanity", "c"),
        ("sender", ""),
    ]


def test_a_letter_is_asked_about(relay: RelayBox, owner: Visitor) -> None:
    page = ask(owner, ip="192.0.2.7", sender="a@b.example", recipients="x@elsewhere.example")
    assert "It would not be taken" in page
    assert "550 5.7.1 Relaying not permitted" in page
    message = "From: a@b.example\nSubject: <b>\n\nx\n"
    page = ask(owner, ip="192.0.2.7", recipients="info@example.org", message=message)
    assert "It would be taken." in page
    assert "x@b.example" in page
    assert "<b>" not in page
    page = ask(owner, ip="192.0.2.7", recipients="info@example.org x@elsewhere.example")
    assert "Not for all recipients:" in page
    assert page.index("Not for all") < page.index("x@elsewhere.example") < page.index("connects")
    assert relay.run(relay.shop.spool.look(queries.totals)).messages == 0
    assert owner.get(TRY + "?ip=192.0.2.9&sender=a@b.example").text.count('value="192.0.2.9"') == 1
