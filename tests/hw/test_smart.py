"""Health in a sentence. The shapes are those that smartctl 7.4 prints for QEMU's disks; the
failing ones are the same with the values that a failing disk gives."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from hw.smart import SILENT, parse, read, read_wear, wear


def sata(**raws: int) -> dict[str, Any]:
    """A SATA disk; `raws` are attributes by number: `a5=100`."""
    table = [
        {"id": number, "raw": {"value": value, "string": str(value)}}
        for number, value in ((5, 0), (9, 4711), (190, 31), (197, 0), (198, 0))
    ]
    for name, value in raws.items():
        next(row for row in table if row["id"] == int(name[1:]))["raw"] = {"value": value}
    return {
        "smartctl": {"exit_status": 0},
        "device": {"name": "/dev/sda", "type": "sat", "protocol": "ATA"},
        "smart_status": {"passed": True},
        "ata_smart_attributes": {"revision": 1, "table": table},
        "power_on_time": {"hours": 4711},
        "temperature": {"current": 31},
    }


SCSI: dict[str, Any] = {
    "smartctl": {"exit_status": 2},
    "device": {"name": "/dev/sdd", "type": "scsi", "protocol": "SCSI"},
    "serial_number": "PPSAS0",
    "rotation_rate": 0,
}


def failing(**more: Any) -> dict[str, Any]:
    return copy.deepcopy(sata()) | more


def test_a_disk_that_is_well_says_so() -> None:
    health = parse(sata())
    assert (health.result, health.say) == ("ok", "This disk is well.")
    assert (health.temperature_celsius, health.hours) == (31, 4711)
    assert parse(sata(a5=3)).say == "This disk is well. It has replaced 3 worn-out places."


def test_a_scsi_disk_that_tells_nothing_is_unknown_not_broken() -> None:
    assert parse(SCSI) == SILENT


def test_a_scsi_disk_that_tells_is_heard() -> None:
    health = parse(SCSI | {"smart_status": {"passed": True}, "scsi_grown_defect_list": 200})
    assert health.result == "warn"
    assert parse(SCSI | {"smart_status": {"passed": False}}).result == "bad"


@pytest.mark.parametrize(
    ("raw", "result", "words"),
    [
        (failing(smart_status={"passed": False}), "bad", "about to fail"),
        (failing(smartctl={"exit_status": 8}), "bad", "about to fail"),
        (sata(a197=1), "bad", "cannot read 1 place any more"),
        (sata(a198=24), "bad", "cannot read 24 places"),
        (sata(a5=51), "warn", "replaced 51"),
        (failing(smartctl={"exit_status": 16}), "warn", "worn-out part"),
        (failing(temperature={"current": 63}), "warn", "hot: 63 °C"),
        (
            failing(
                ata_smart_self_test_log={
                    "standard": {"table": [{"status": {"value": 121, "passed": False}}]}
                }
            ),
            "bad",
            "self-test",
        ),
    ],
)
def test_what_is_wrong_is_one_sentence_with_its_remedy(
    raw: dict[str, Any], result: str, words: str
) -> None:
    health = parse(raw)
    assert health.result == result
    assert words in health.say
    assert health.fix


def test_old_errors_in_a_log_do_not_make_a_disk_ill() -> None:
    assert parse(failing(smartctl={"exit_status": 64 + 128})).result == "ok"


@pytest.mark.parametrize(
    "odd",
    [
        None,
        [],
        {},
        {"smart_status": True},
        {"smart_status": {"passed": "yes"}, "temperature": {"current": "hot"}},
        {"ata_smart_attributes": {"table": [1, {"id": 5}, {"id": 5, "raw": 7}]}},
        {"ata_smart_self_test_log": {"standard": {"table": [None]}}},
        {"smartctl": {"exit_status": True}},
    ],
)
def test_an_odd_answer_is_unknown(odd: Any) -> None:
    assert parse(odd).result == "unknown"


def test_a_disk_that_is_not_there_is_unknown() -> None:
    assert read("/dev/there-is-none") == SILENT


def test_a_raw_value_that_hides_other_things_is_cut_to_its_count() -> None:
    assert parse(sata(a197=0x0005_0000_0000)).result == "ok"


@pytest.mark.parametrize(
    ("life_time", "pre_eol", "result", "words"),
    [
        ("0x02 0x01", "0x01", "ok", "up to 20 %"),
        ("0x09 0x02", "0x01", "warn", "up to 90 %"),
        ("0x01 0x01", "0x02", "warn", "up to 10 %"),
        ("0x0b 0x01", "0x01", "bad", "worn out"),
        ("0x01 0x01", "0x03", "bad", "worn out"),
        ("", "", "unknown", "tells nothing"),
        ("0x00 0x00", "0x00", "unknown", "tells nothing"),
        ("nonsense", "0xff", "unknown", "tells nothing"),
    ],
)
def test_the_wear_of_the_system_medium(
    life_time: str, pre_eol: str, result: str, words: str
) -> None:
    health = wear(life_time, pre_eol)
    assert health.result == result
    assert words in health.say


def test_wear_is_read_from_sysfs(tmp_path: Path) -> None:
    (tmp_path / "device").mkdir()
    assert read_wear(tmp_path).result == "unknown"
    (tmp_path / "device" / "life_time").write_text("0x03 0x01\n")
    (tmp_path / "device" / "pre_eol_info").write_text("0x01\n")
    assert "up to 30 %" in read_wear(tmp_path).say
