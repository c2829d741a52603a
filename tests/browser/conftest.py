"""Relay, steward and pages of this checkout on loopback, and Chromium with axe-core."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from tests.support.browser import browser as launched
from tests.support.checkout import ENVIRONMENT, ROOT
from tests.support.dns_server import DnsServer
from tests.support.ports import free_ports
from tests.support.wait import wait_until

AXE_VERSION = "4.14.1"
NPM = ROOT / "build" / "npm"
AXE = NPM / "node_modules" / "axe-core" / "axe.min.js"
SCREENS = ROOT / "build" / "screens"

# What the world says of the box of these tests: some right, some missing, some wrong.
ZONES = {
    # the senders of letters
    **{
        name: {"A": ["198.51.100.9"]}
        for name in ("shop.example.net", "example.net", "bank.example", "client.example")
    },
    "mail.example.com": {"A": ["198.51.100.7"]},
    "example.com": {"MX": ["10 mail.example.com."], "TXT": ['"v=spf1 include:old.example -all"']},
    "7.100.51.198.in-addr.arpa": {"PTR": ["mail.example.com."]},
    "example.org": {"MX": ["10 old.example.net."]},
}


@dataclass
class Checkout:
    """The three daemons, running."""

    data: Path
    smtp: int
    web: int
    process: subprocess.Popen[str]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.web}"

    @property
    def code(self) -> str:
        return (self.data / "claim" / "code").read_text().strip()


@pytest.fixture
def checkout(tmp_path: Path) -> Iterator[Checkout]:
    """What `scripts/dev` starts, on a folder of its own, not claimed yet."""
    smtp, submission, submissions, web = free_ports(4)
    with DnsServer(ZONES) as names:
        argv = [sys.executable, "-m", "appliance.dev", "--data", str(tmp_path / "box")]
        argv += ["--smtp", str(smtp), "--submission", str(submission)]
        argv += ["--submissions", str(submissions), "--web", str(web)]
        argv += ["--resolver", names.address]
        log = (tmp_path / "dev.log").open("w")
        process = subprocess.Popen(
            argv, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=log, text=True, cwd=ROOT
        )
        try:
            assert process.stdout is not None
            assert process.stdout.readline().strip() == "ready", (tmp_path / "dev.log").read_text()
            yield Checkout(tmp_path / "box", smtp, web, process)
        finally:
            process.terminate()
            process.wait(60)
            log.close()


@pytest.fixture(scope="module")  # Playwright runs once at a time: the journeys start their own
def chromium() -> Iterator[Browser]:
    with launched() as running:
        yield running


@pytest.fixture(scope="session")
def axe() -> str:
    """The source of axe-core; fetched once into build/, never committed."""
    if not AXE.is_file():
        argv = ["npm", "install", "--no-fund", "--no-audit", "--prefix", str(NPM)]
        subprocess.run([*argv, f"axe-core@{AXE_VERSION}"], check=True, stdout=subprocess.DEVNULL)
    return AXE.read_text()


def violations(page: Page, axe_source: str) -> list[str]:
    """What axe finds wrong with the page that is shown, one line each."""
    page.evaluate(axe_source)
    found: dict[str, Any] = page.evaluate(
        "async () => await axe.run(document, {runOnly: ['wcag2a', 'wcag2aa', 'wcag21a',"
        " 'wcag21aa', 'wcag22aa', 'best-practice']})"
    )
    return [
        f"{v['id']} ({v['impact']}): {node['html'][:160]} — "
        f"{json.dumps(node.get('any', [{}])[:1])[:300]}"
        for v in found["violations"]
        for node in v["nodes"]
    ]


def sideways(page: Page) -> int:
    """By how many pixels the page can be scrolled sideways; 0 when it fits."""
    answer: int = page.evaluate(
        "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"
    )
    return answer


def settle(page: Page) -> None:
    """Wait until what the script loads later is there."""
    wait_until(
        lambda: page.locator("[data-load]").count() == 0,
        what="what the page loads later",
        timeout_seconds=40,
        every_seconds=0.2,
    )
