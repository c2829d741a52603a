"""Chromium, driven by Playwright: what a person sees of the web pages."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, Page, ViewportSize, sync_playwright

PHONE = ViewportSize(width=390, height=844)
DESK = ViewportSize(width=1280, height=900)
_NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")


def executable() -> str | None:
    """Debian's Chromium; None lets Playwright look for one of its own."""
    return next((path for name in _NAMES if (path := shutil.which(name))), None)


@contextmanager
def browser() -> Iterator[Browser]:
    """A running headless browser. `--no-sandbox`: root in a container cannot have one."""
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=executable(), args=["--no-sandbox"])
        try:
            yield running
        finally:
            running.close()


@contextmanager
def page(running: Browser, *, size: ViewportSize = DESK) -> Iterator[Page]:
    """A fresh page with no cookies that accepts the box's own certificate.

    Anything the pages' scripts throw, and anything the content policy blocks,
    fails the test at the end.
    """
    context = running.new_context(viewport=size, ignore_https_errors=True, locale="en-GB")
    context.set_default_timeout(60_000)
    faults: list[str] = []
    opened = context.new_page()
    opened.on("pageerror", lambda error: faults.append(str(error)))
    opened.on(
        "console",
        lambda message: (
            faults.append(message.text)
            if message.type == "error" and "Content Security Policy" in message.text
            else None
        ),
    )
    try:
        yield opened
    finally:
        context.close()
    if faults:
        raise AssertionError("the page had script faults: " + "; ".join(faults))
