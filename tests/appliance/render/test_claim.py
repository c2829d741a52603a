"""The claim's two files."""

import re
from pathlib import Path

import pytest

from appliance.render.claim import ClaimFiles, new_code


@pytest.fixture
def claim(tmp_path: Path) -> ClaimFiles:
    return ClaimFiles(tmp_path)


def test_a_code_can_be_read_from_a_screen_and_is_never_the_same() -> None:
    codes = {new_code() for _ in range(200)}
    assert len(codes) == 200
    assert all(re.fullmatch(r"[2-9A-HJKMNP-TV-Z]{4}-[2-9A-HJKMNP-TV-Z]{4}", c) for c in codes)


def test_a_code_is_made_once(claim: ClaimFiles) -> None:
    code = claim.ensure_code()
    assert claim.ensure_code() == code == claim.code()
    assert claim.code_file.stat().st_mode & 0o007 == 0


def test_a_code_that_a_preseed_brought_is_kept(claim: ClaimFiles) -> None:
    claim.code_file.write_text("MYOW-NCODE\n")
    assert claim.ensure_code() == "MYOW-NCODE"


def test_once_closed_there_is_no_code_any_more(claim: ClaimFiles) -> None:
    claim.ensure_code()
    claim.close()
    assert claim.is_claimed()
    assert claim.code() == ""
    assert claim.ensure_code() == ""


def test_a_code_left_by_a_power_cut_is_taken_away_at_the_next_start(claim: ClaimFiles) -> None:
    claim.ensure_code()
    code = claim.code_file.read_text()
    claim.close()
    claim.code_file.write_text(code)
    assert claim.ensure_code() == ""
    assert not claim.code_file.exists()
