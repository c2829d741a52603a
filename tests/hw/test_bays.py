"""Bays that only ledctl knows: what root is asked, and that nothing else passes."""

from pathlib import Path

import pytest

from appliance.base.finding import Refused
from hw import bays
from hw.bays import Mark, marks_of, orders

FAULT, LOCATE = Mark("sdb", "fault"), Mark("sdc", "locate")


@pytest.mark.parametrize(
    "line", ["/dev/sdb fault", "sdb=x fault", "sdb failure", "sdb", "vda fault", "sdb fault x", "ü"]
)
def test_only_disks_and_known_words_pass(line: str) -> None:
    assert marks_of(f"{line}\nsdb fault\n") == {FAULT}


def test_what_goes_is_told_before_what_comes() -> None:
    assert orders(frozenset({FAULT}), frozenset({LOCATE})) == [
        "normal=/dev/sdb",
        "locate=/dev/sdc",
    ]
    assert orders(frozenset(), frozenset({FAULT})) == ["failure=/dev/sdb"]


def test_a_machine_without_such_bays_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    asked = []

    def run(argv: tuple[str, ...], **_: object) -> None:
        asked.append(argv[-1])
        raise Refused.because("run", "ledctl: not supported")

    monkeypatch.setattr(bays, "run", run)
    monkeypatch.setattr(bays, "WISHES", tmp_path / "wishes")
    monkeypatch.setattr(bays, "LAST", tmp_path / "last")
    (tmp_path / "wishes").write_text("sdb fault\n")
    assert bays.main() == 0
    (tmp_path / "wishes").write_text("")
    assert bays.main() == 0
    assert asked == ["failure=/dev/sdb", "normal=/dev/sdb"]
    assert "not supported" in caplog.text
