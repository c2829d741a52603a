"""`pennypost dkim`, with a real steward behind it."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.base import control
from appliance.cli.main import main
from tests.support.web_box import WebBox


@pytest.fixture
def box(tmp_path: Path) -> Iterator[WebBox]:
    """A box that is the mail server of example.com."""
    with WebBox(tmp_path) as box:
        changes = {"mail.main_domain": "example.com", "mail.hostname": "mail.example.com"}
        args = {"changes": changes, "author": "test"}
        control.call(box.place.run / "steward.sock", "settings.change", args)
        yield box


def pennypost(box: WebBox, *words: str) -> int:
    return main(["--data", str(box.place.data), "--run", str(box.place.run), *words])


def test_keys_are_shown_rotated_and_switched(
    box: WebBox, capsys: pytest.CaptureFixture[str]
) -> None:
    assert pennypost(box, "dkim", "show", "--json") == 0
    [domain] = json.loads(capsys.readouterr().out)["domains"]
    record = domain["pairs"][0]["records"][0]
    assert record["name"] == "pp1._domainkey.example.com"
    assert len(record["record"]) > 255
    assert record["quoted"].count('"') == 4
    assert pennypost(box, "dkim", "rotate", "example.com") == 0
    assert "pp2e._domainkey.example.com" in capsys.readouterr().out
    assert pennypost(box, "dkim", "switch", "example.com") == 1  # this checkout has no resolver
    assert pennypost(box, "dkim", "switch", "example.com", "--force") == 0
    assert "retired" in capsys.readouterr().out
    assert pennypost(box, "dkim", "tend") == 0
    assert pennypost(box, "dkim", "rotate", "example.net") == 1
