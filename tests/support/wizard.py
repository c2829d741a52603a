"""A person's way through the pages: the wizard step by step, signing in, the queue."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
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

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
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
        self.page.fill("[name=code]", code)
        self._press("form:has([name=code]) [type=submit]")

    def answer(self, step: str, answers: Answers) -> None:
        """Fill in the page of `step`, which is shown, and go on."""
        assert self.step == step, f"shown is {self.path}, wanted {step}"
        fill: Callable[[Answers], None] = getattr(self, f"_fill_{step}")
        fill(answers)
        self._press("button[name=do][value=next]")

    def go_through(self, answers: Answers, *, claim_code: str) -> None:
        """From the first page to the last, the box set up at the end."""
        self.claim(claim_code)
        for step in STEPS[:-1]:
            self.answer(step, answers)
        self.apply()

    def apply(self) -> None:
        assert self.step == "summary", f"shown is {self.path}"
        self._press("form[action$='/apply'] [type=submit]")
        self.wait_until_done()

    def wait_until_done(self) -> None:
        self.page.wait_for_url("**/wizard/done", timeout=APPLY_LIMIT_MS)

    def _press(self, selector: str) -> None:
        """Press a button that leads to another page, and wait for that."""
        with self.page.expect_navigation(timeout=PAGE_LIMIT_MS):
            self.page.locator(selector).first.click()

    def _fill_language(self, answers: Answers) -> None:
        field = self.page.locator("[name='box.language']")
        if field.first.get_attribute("type") == "radio":
            self.page.check(f"[name='box.language'][value={answers.language}]")
        else:
            field.select_option(answers.language)
        self.page.select_option("[name='box.time_zone']", answers.time_zone)

    def _fill_administrator(self, answers: Answers) -> None:
        self.page.fill("[name=name]", answers.administrator)
        self.page.fill("[name=password]", answers.password)
        self.page.fill("[name=again]", answers.password)

    def _fill_domain(self, answers: Answers) -> None:
        self.page.fill("[name='mail.main_domain']", answers.main_domain)

    def _fill_hostname(self, answers: Answers) -> None:
        self.page.fill("[name='mail.hostname']", answers.hostname)

    def _fill_incoming(self, answers: Answers) -> None:
        if self.page.locator("[name=relay-0-domain]").count() == 0:
            self._press("button[name=do][value=add]")
        self.page.fill("[name=relay-0-domain]", answers.relay_domain)
        self.page.fill("[name=relay-0-target]", answers.next_hop)

    def _fill_outgoing(self, answers: Answers) -> None:
        self.page.check("[name='outbound.mode'][value=direct]")

    def _fill_dns(self, answers: Answers) -> None:
        """Nothing to fill in: the records are shown as text."""

    # --- afterwards -------------------------------------------------------

    def sign_in(self, answers: Answers) -> None:
        self.open("/")
        self.page.fill("[name=name]", answers.administrator)
        self.page.fill("[name=password]", answers.password)
        self._press("form:has([name=password]) [type=submit]")
        expect(self.page.locator("[name=password]")).to_have_count(0)

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
