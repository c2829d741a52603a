"""CLAIM.TXT follows the claim."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.upkeep import claim_text


@pytest.fixture
def claim(tmp_path: Path) -> Path:
    folder = tmp_path / "claim"
    folder.mkdir()
    return folder


def follow(claim: Path, partition: Path) -> bool:
    return claim_text.bring_about(claim_text.wanted(claim), partition, partition.parent / "lock")


def test_the_code_can_be_read_in_any_pc(claim: Path, tmp_path: Path) -> None:
    esp = tmp_path / "esp"
    esp.mkdir()
    (claim / "code").write_text("K7RM-2QXA\n")
    assert follow(claim, esp)
    text = (esp / "CLAIM.TXT").read_bytes()
    assert b"Claim code: K7RM-2QXA\r\n" in text
    assert text.count(b"\n") == text.count(b"\r\n")


def test_nothing_is_written_when_nothing_changed(claim: Path, tmp_path: Path) -> None:
    esp = tmp_path / "esp"
    esp.mkdir()
    (claim / "code").write_text("K7RM-2QXA\n")
    follow(claim, esp)
    assert not follow(claim, esp)


def test_a_claimed_box_shows_no_code(claim: Path, tmp_path: Path) -> None:
    esp = tmp_path / "esp"
    esp.mkdir()
    (claim / "code").write_text("K7RM-2QXA\n")
    follow(claim, esp)
    (claim / "claimed").touch()
    assert follow(claim, esp)
    assert not list(esp.iterdir())
    assert not follow(claim, esp)
