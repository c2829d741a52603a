"""The disks in a real browser: the wizard's page of them, their own, and its questions."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser

from appliance.base.control import serve
from hw.model import Bus, Why
from tests.browser.conftest import Checkout
from tests.browser.test_pages import Looker, set_up, window
from tests.support.disk_rack import Rack

pytestmark = [pytest.mark.full, pytest.mark.timeout(300)]


@pytest.fixture
def rack(checkout: Checkout, tmp_path: Path) -> Iterator[Rack]:
    """An empty disk, one with data on it, and one that can't be used."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    def serve_here(name: str, handlers: Mapping[str, Any]) -> None:
        work = serve(handlers, path=checkout.data / "run" / f"{name}.sock")
        asyncio.run_coroutine_threadsafe(work, loop).result(10)

    folder = tmp_path / "rack"
    folder.mkdir()
    found = Rack(checkout.data, checkout.data / "run", folder, serve_here)
    found.add("WD-1234", bay="1")
    found.add("ZL2-0815", content=b"somebody's data", bay="2")
    found.add("U1", bus=Bus.USB, refusal=Why("This disk is attached by USB.", "Use SATA."))
    yield found
    loop.call_soon_threadsafe(loop.stop)
    thread.join(10)


def test_the_pages_of_the_disks_are_accessible_and_fit(
    checkout: Checkout, rack: Rack, chromium: Browser, axe: str
) -> None:
    with window(chromium, checkout.url) as page:
        looker = Looker(page, axe)

        def seen(name: str) -> None:
            if name.endswith("-disk"):
                page.locator("[name=choice]").nth(1).check()
                looker.look(name)
                page.locator("[name=choice][value=later]").check()

        set_up(page, checkout.code, seen)
        page.goto("/disks/")
        looker.look("page-disks")
        page.goto(f"/disks/connect/{rack.disks[1].identity}")
        looker.look("page-disks-connect")
    assert looker.wrong == [], "\n".join(looker.wrong)
