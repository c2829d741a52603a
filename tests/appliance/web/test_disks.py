"""The page of the disks, over the real steward and keeper; the disks are plain files."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from appliance.storage.plan import Step
from hw.model import Bus, Why
from tests.support.disk_rack import Rack
from tests.support.web_box import Visitor, WebBox


@pytest.fixture
def rack(box: WebBox, owner: Visitor, tmp_path: Path) -> Rack:
    folder = tmp_path / "rack"
    folder.mkdir()
    return Rack(box.place.data, box.place.run, folder, box._serve)


def test_each_disk_is_shown_with_its_bus_and_a_refused_one_with_its_reason(
    owner: Visitor, rack: Rack
) -> None:
    rack.add("S1", bay="2")
    rack.add("U1", bus=Bus.USB, refusal=Why("This disk is attached by USB; no.", "Use SATA."))
    page = owner.get("/disks/").text
    assert "No disk for mailboxes is connected." in page
    assert "S1" in page
    assert "There is nothing on this disk." in page
    assert "This disk is attached by USB; no." in page
    assert page.count("/disks/connect/") == 1


def test_an_empty_disk_is_connected_after_one_question(owner: Visitor, rack: Rack) -> None:
    disk = rack.add("S1")
    where = f"/disks/connect/{disk.identity}"
    page = owner.get(where).text
    assert "new, empty file system" in page
    assert 'name="typed"' not in page
    assert owner.post(where, {}).status_code == 303
    assert rack.first_step() is Step.WIPE


def test_what_is_on_a_disk_is_shown_and_only_its_serial_number_erases_it(
    owner: Visitor, rack: Rack
) -> None:
    disk = rack.add("S1<b>", content=b"somebody's data")
    where = f"/disks/connect/{disk.identity}"
    page = owner.get(where).text
    assert "Everything on this disk will be lost." in page
    assert "Data of a kind that the box does not know." in page
    assert "type its serial number: S1&lt;b&gt;" in page
    for typed in ("", "S2"):
        answer = owner.post(where, {"typed": typed})
        assert answer.status_code == 422
        assert "serial number" in answer.text
    assert rack.done == []
    assert owner.post(where, {"typed": "S1<b>"}).status_code == 303
    assert rack.first_step() is Step.WIPE


def test_hostile_names_and_labels_are_only_text(owner: Visitor, rack: Rack) -> None:
    labels = ("$(reboot)", "<script>x", "../../etc", "a\x1b[2J")
    for number, label in enumerate(labels):
        disk = rack.add(f"S{number}", model=f"<script>{number}", bay="<i>")
        subprocess.run(["mke2fs", "-qF", "-t", "ext4", "-L", label, disk.device], check=True)
    page = owner.get("/disks/").text
    assert page.count("a Linux file system with the name") == len(labels)
    assert "&lt;script&gt;x" in page
    assert "<script>x" not in page
    assert "<script>0" not in page
    assert "\x1b" not in page


def test_a_disk_that_is_gone_is_said(owner: Visitor, rack: Rack) -> None:
    answer = owner.post("/disks/connect/serial-M_none", {}, page="/disks/")
    assert "This disk is not there any more." in answer.text


def test_without_the_daemon_the_page_says_so(owner: Visitor) -> None:
    assert "disks does not answer" in owner.get("/disks/").text
