"""The wizard's page of the mailbox disk, over the real steward and keeper."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.storage import maildisk
from appliance.storage.plan import Step
from appliance.web.applying import State
from hw.model import Bus, Why
from tests.support.disk_rack import Rack
from tests.support.wait import wait_until
from tests.support.web_box import ANSWERS, Visitor, WebBox


@pytest.fixture
def visitor(box: WebBox) -> Visitor:
    """Somebody at the page of the disk."""
    found = box.visitor()
    found.claim()
    for step in ANSWERS:
        if step != "disk":
            found.answer(step)
    return found


@pytest.fixture
def rack(box: WebBox, tmp_path: Path) -> Rack:
    folder = tmp_path / "rack"
    folder.mkdir()
    return Rack(box.place.data, box.place.run, folder, box._serve)


def apply(box: WebBox, visitor: Visitor) -> str:
    """Press Apply and wait; the last page."""
    visitor.post("/wizard/apply", page="/wizard/summary")
    applying = box.app.extensions["pennypost"].applying
    wait_until(lambda: applying.progress().state is not State.RUNNING, what="the end of applying")
    return visitor.follow("/wizard/progress").text


def test_without_an_eligible_disk_the_reason_is_said_and_one_goes_on(
    visitor: Visitor, rack: Rack
) -> None:
    rack.add("U1", bus=Bus.USB, refusal=Why("This disk is attached by USB; no.", "Use SATA."))
    page = visitor.get("/wizard/disk").text
    assert "None of the disks of this box can be used" in page
    assert "This disk is attached by USB; no." in page
    assert visitor.post("/wizard/disk", {}).headers["Location"] == "/wizard/summary"
    assert "later: relay only" in visitor.get("/wizard/summary").text


def test_without_the_daemon_one_goes_on_too(visitor: Visitor) -> None:
    assert "disks does not answer" in visitor.get("/wizard/disk").text
    assert visitor.answer("disk").headers["Location"] == "/wizard/summary"


def test_an_empty_disk_is_chosen_now_and_made_ready_when_all_is_applied(
    box: WebBox, visitor: Visitor, rack: Rack
) -> None:
    disk = rack.add("S1", bay="2")
    page = visitor.get("/wizard/disk").text
    assert 'value="later" checked' in page, "nothing is chosen for the person"
    assert "bay 2" in page
    visitor.post("/wizard/disk", {"choice": f"connect/{disk.identity}"})
    assert rack.done == []
    assert "PENNY LABDISK (S1)" in visitor.get("/wizard/summary").text
    assert f'value="connect/{disk.identity}" checked' in visitor.get("/wizard/disk").text
    assert "Your box works" in apply(box, visitor)
    assert rack.done[:3] == [Step.WIPE, Step.TABLE, Step.FORMAT]
    steps = [s.name for s in box.app.extensions["pennypost"].applying.progress().steps]
    assert "Format" in steps
    assert box.claim_files.is_claimed()


def test_only_the_serial_number_typed_erases_a_disk(visitor: Visitor, rack: Rack) -> None:
    disk = rack.add("S1<b>", content=b"somebody's data")
    wanted = f"connect/{disk.identity}"
    assert "type its serial number: S1&lt;b&gt;" in visitor.get("/wizard/disk").text
    for typed in ("", "S2"):
        answer = visitor.post("/wizard/disk", {"choice": wanted, f"typed-{wanted}": typed})
        assert answer.status_code == 422
        assert "This is not the serial number of the disk." in answer.text
    assert visitor.get("/wizard/summary").headers["Location"] == "/wizard/disk"
    good = visitor.post("/wizard/disk", {"choice": wanted, f"typed-{wanted}": "S1<b>"})
    assert good.headers["Location"] == "/wizard/summary"


def test_a_disk_that_was_pulled_meanwhile_is_said(visitor: Visitor, rack: Rack) -> None:
    disk = rack.add("S1")
    rack.disks.clear()
    answer = visitor.post("/wizard/disk", {"choice": f"connect/{disk.identity}"})
    assert answer.status_code == 422
    assert "This disk is not there any more." in answer.text


def test_a_disk_that_can_not_be_had_does_not_hold_the_box_up(
    box: WebBox, visitor: Visitor, rack: Rack
) -> None:
    disk = rack.add("S1")
    visitor.post("/wizard/disk", {"choice": f"connect/{disk.identity}"})
    rack.disks.clear()
    done = apply(box, visitor)
    assert "Your box works" in done
    assert "This disk is not there any more." in done
    assert "There is no mailbox disk: the box relays mail" in done
    assert box.settings()["mail.enabled"] is True


def test_a_disk_made_ready_before_a_power_cut_is_not_made_again(
    box: WebBox, visitor: Visitor, rack: Rack
) -> None:
    disk = rack.add("S1")
    visitor.post("/wizard/disk", {"choice": f"connect/{disk.identity}"})
    state = maildisk.Verdict(state=maildisk.State.READY, say="The mailbox disk is ready.")
    maildisk.write(box.place.run, maildisk.document(state, volume="a", disks=[], job=None))
    assert "Your box works" in apply(box, visitor)
    assert rack.done == []
