"""A person's way through the pages: the wizard step by step, signing in, the queue."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

from playwright.sync_api import Browser, Page, ViewportSize, expect

from tests.support.browser import DESK

STEPS = (
    "language",
    "administrator",
    "domain",
    "hostname",
    "incoming",
    "outgoing",
    "dns",
    "disk",
    "summary",
)
APPLY_LIMIT_MS = 300_000
PAGE_LIMIT_MS = 90_000


@dataclass(frozen=True, slots=True)
class Answers:
    """What a person fills in."""

    relay_domain: str
    next_hop: str  # host or host:port
    language: str = "en"
    time_zone: str = "Europe/Berlin"
    administrator: str = "admin"
    password: str = "correct-horse-battery-4711"
    main_domain: str = "box.invalid"
    hostname: str = "mail.example.com"


class Visitor:
    """One person with one browser window and its cookies. Use as a context manager."""

    def __init__(self, browser: Browser, url: str, *, size: ViewportSize = DESK) -> None:
        self.url = url
        self.context = browser.new_context(
            viewport=size, ignore_https_errors=True, locale="en-GB", base_url=url
        )
        self.context.set_default_timeout(PAGE_LIMIT_MS)
        self.page: Page = self.context.new_page()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.context.close()

    # --- the wizard -------------------------------------------------------

    def moved_to(self, url: str) -> None:
        """The same person after the box has started again on other forwarded ports.

        Cookies do not know ports, so they stay.
        """
        self.url = url

    def open(self, path: str = "/") -> str:
        """Go to a page; the path one ended up at."""
        self.page.goto(self.url + path)
        return self.path

    @property
    def path(self) -> str:
        return re.sub(r"^https?://[^/]+", "", self.page.url).split("?")[0]

    @property
    def step(self) -> str:
        """The wizard's step that is shown, `claim`, `progress` and `done` included."""
        return self.path.removeprefix("/wizard/").strip("/")

    def claim(self, code: str) -> None:
        self.open("/")
        self.page.get_by_label("Code of the box").fill(code)
        self.press("Set up the box", "Go on here")

    def answer(self, step: str, answers: Answers) -> None:
        """Fill in the page of `step`, which is shown, and go on."""
        assert self.step == step, f"shown is {self.path}, wanted {step}"
        fill: Callable[[Answers], str | None] = getattr(self, f"_fill_{step}")
        self.press(fill(answers) or "Next")

    def go_through(self, answers: Answers, *, claim_code: str) -> None:
        """From the first page to the last, the box set up at the end."""
        self.claim(claim_code)
        for step in STEPS[:-1]:
            self.answer(step, answers)
        self.apply()

    def apply(self) -> None:
        """Put it all into force and wait until the box is set up."""
        assert self.step in ("summary", "progress"), f"shown is {self.path}"
        self.press("Apply", "Go on", "Apply again")
        self.wait_until_done()

    def wait_until_done(self) -> None:
        """The progress page tells of each step; at its end one goes on to the last page."""
        self.page.wait_for_function(
            """() => {
                const list = document.getElementById('progress');
                return location.pathname.endsWith('/done') || (list && !list.dataset.live);
            }""",
            timeout=APPLY_LIMIT_MS,
        )
        alert = self.page.get_by_role("alert")
        if alert.count():
            raise AssertionError(f"the box was not set up: {alert.first.inner_text()}")
        go_on = self.page.get_by_role("link", name="Go on")
        if go_on.count():
            go_on.click()
        self.page.wait_for_url("**/wizard/done", timeout=PAGE_LIMIT_MS)

    def press(self, *names: str) -> None:
        """Press the button (the first of `names` there is) and wait for the next page."""
        for name in names:
            button = self.page.get_by_role("button", name=name, exact=True)
            if button.count():
                with self.page.expect_navigation(timeout=PAGE_LIMIT_MS):
                    button.first.click()
                return
        text = self.page.locator("body").inner_text()
        raise AssertionError(f"no button {' or '.join(names)} on {self.path}: {text[:800]}")

    def _fill_language(self, answers: Answers) -> None:
        self.page.get_by_label({"en": "English", "de": "Deutsch"}[answers.language]).check()
        self.page.get_by_label("Time zone").select_option(answers.time_zone)

    def _fill_administrator(self, answers: Answers) -> None:
        self.page.get_by_label("User name").fill(answers.administrator)
        self.page.get_by_label("Password", exact=True).fill(answers.password)
        self.page.get_by_label("Password once more").fill(answers.password)

    def _fill_domain(self, answers: Answers) -> str | None:
        if answers.main_domain == "box.invalid":
            self.page.get_by_text("All our mailboxes are on another server").click()
            return "Take box.invalid"
        self.page.get_by_label("Main mail domain").fill(answers.main_domain)
        return None

    def _fill_hostname(self, answers: Answers) -> None:
        self.page.get_by_label("Host name of the mail server").fill(answers.hostname)

    def _fill_incoming(self, answers: Answers) -> None:
        row = self.page.get_by_role("group", name="Relay domain 1")
        row.get_by_label("Domain").fill(answers.relay_domain)
        row.get_by_label("Server that gets the mail").fill(answers.next_hop)

    def _fill_outgoing(self, answers: Answers) -> None:
        self.page.get_by_label("Straight to each receiver's server").check()

    def _fill_dns(self, answers: Answers) -> None:
        """Nothing to fill in: the records are shown as text."""

    def _fill_disk(self, answers: Answers) -> None:
        """Relay only, which stands chosen: a disk is connected later, where a test wants one."""

    # --- afterwards -------------------------------------------------------

    def sign_in(self, answers: Answers) -> None:
        self.open("/")
        self.page.get_by_label("User name").fill(answers.administrator)
        self.page.get_by_label("Password").fill(answers.password)
        self.press("Sign in")
        expect(self.page.get_by_label("Password")).to_have_count(0)

    def wait_for_queue_text(self, words: str, *, timeout_ms: int = 60_000) -> str:
        """Look at the queue page until it says `words`; its whole text."""
        self.open("/queue")
        body = self.page.locator("main")
        for _ in range(max(1, timeout_ms // 2000)):
            text = body.inner_text()
            if words in text:
                return text
            self.page.wait_for_timeout(2000)  # the page is one to reload, as a person does
            self.page.reload()
        expect(body).to_contain_text(words, timeout=1000)
        return body.inner_text()
