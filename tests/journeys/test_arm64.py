"""The arm64 image under its own firmware. Long: built and booted by emulation."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.journeys.conftest import built_image
from tests.support.box import Box
from tests.support.machine import Hardware, missing_programs

pytestmark = [pytest.mark.soak, pytest.mark.timeout(7200)]


def test_the_arm64_image_boots_to_a_wizard_that_answers(root: Path, tmp_path: Path) -> None:
    if lacking := missing_programs("arm64"):
        pytest.fail(f"this host lacks {lacking}; run scripts/setup-host run", pytrace=False)
    image = built_image(root, "generic-arm64")
    with Box(tmp_path / "box", Hardware(arch="arm64")) as box:
        box.flash(image).power_on()
        page = box.wait_for_web(timeout_seconds=1200)
        assert page.status < 400
        assert box.claim_code()
        assert not box.answers_on(22, timeout_seconds=3)
        assert box.wait_until_settled(timeout_seconds=1200) == "running"
        assert box.failed_units() == []
        box.wait_for_slots()
        box.cut_power()
        box.power_on()
        box.wait_for_web(timeout_seconds=1200)
        assert box.wait_until_settled(timeout_seconds=1200) == "running"
        assert box.failed_units() == []
