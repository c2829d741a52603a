"""Every page in a real browser: axe finds nothing, nothing scrolls sideways, in both themes.

Screenshots are left in build/screens/ for a person to look at.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, Page, ViewportSize

from tests.browser.conftest import SCREENS, Checkout, settle, sideways, violations
from tests.support.smtp_client import SmtpClient
from tests.support.smtp_sink import Plan, SmtpSink
from tests.support.wait import wait_until

pytestmark = [pytest.mark.full, pytest.mark.timeout(900)]

PASSWORD = "correct-horse-battery-4711"
SIZES = (ViewportSize(width=390, height=844), ViewportSize(width=1280, height=900))
NARROWEST = ViewportSize(width=320, height=640)
AFTER = (
    "/",
    "/queue/",
    "/trace/",
    "/queue/?search=nobody-has-this",
    "/queue/delete?which=all",
    "/people/",
    "/settings/",
    "/settings/mail",
    "/settings/outgoing",
    "/settings/filter",
    "/settings/senders/",
    "/settings/limits",
    "/settings/content",
    "/settings/sending",
    "/settings/copies",
    "/settings/network",
    "/settings/signatures/",
    "/people/accounts/",
    "/disks/",
    "/aliases/",
    "/settings/times",
    "/settings/box",
    "/settings/history",
    "/settings/scheme/",
    "/settings/scheme/try",
    "/dns/",
    "/manual/",
    "/manual/queue",
    "/manual/settings-mail",
    "/more",
    "/style",
    "/no-such-page",
)


class Looker:
    """Looks at a page in all sizes and themes and remembers what is wrong."""

    def __init__(self, page: Page, axe: str) -> None:
        self.page = page
        self._axe = axe
        self.wrong: list[str] = []

    def look(self, name: str) -> None:
        settle(self.page)
        SCREENS.mkdir(parents=True, exist_ok=True)
        for scheme in ("light", "dark"):
            self.page.emulate_media(color_scheme=scheme)
            for size in SIZES:
                self._show_whole(size)
                where = f"{name} {scheme} {size['width']}"
                self.wrong += [f"{where}: {v}" for v in violations(self.page, self._axe)]
                self._fits(where)
                file = SCREENS / f"{name}-{size['width']}-{scheme}.png"
                self.page.screenshot(path=file)
        self.page.set_viewport_size(NARROWEST)
        self._fits(f"{name} 320")
        self.page.set_viewport_size(SIZES[1])

    def _show_whole(self, size: ViewportSize) -> None:
        """A window as high as the page, so that the bar at the bottom covers nothing of it."""
        self.page.set_viewport_size(size)
        height = self.page.evaluate("() => document.documentElement.scrollHeight")
        whole = ViewportSize(width=size["width"], height=max(size["height"], height))
        self.page.set_viewport_size(whole)

    def _fits(self, where: str) -> None:
        if (by := sideways(self.page)) > 0:
            self.wrong.append(f"{where}: scrolls sideways by {by} px")


@contextmanager
def window(chromium: Browser, url: str, *, script: bool = True) -> Iterator[Page]:
    """A window whose script faults and policy violations fail the test."""
    context = chromium.new_context(
        base_url=url, locale="en-GB", java_script_enabled=script, reduced_motion="reduce"
    )
    context.set_default_timeout(30_000)
    page = context.new_page()
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on(
        "console",
        lambda message: faults.append(message.text) if "Policy" in message.text else None,
    )
    yield page
    context.close()
    assert faults == []


def forward(page: Page) -> None:
    with page.expect_navigation():
        page.click(".actions button.primary")


def fill_language(page: Page) -> None:
    page.select_option("[name='box.time_zone']", "Europe/Berlin")


def fill_administrator(page: Page) -> None:
    page.fill("[name=name]", "anna")
    page.fill("[name=password]", PASSWORD)
    page.fill("[name=again]", PASSWORD)


def fill_incoming(page: Page) -> None:
    page.fill("[name=relay-0-domain]", "example.com")
    page.fill("[name=relay-0-target]", "10.20.30.40")
    page.locator("summary", has_text="Paste").click()
    page.fill("[name=relay-paste]", "example.org | mail.example.org:2525")


STEPS: dict[str, Callable[[Page], object]] = {
    "language": fill_language,
    "administrator": fill_administrator,
    "domain": lambda page: page.fill("[name='mail.main_domain']", "box.invalid"),
    "hostname": lambda page: page.fill("[name='mail.hostname']", "mail.example.com"),
    "incoming": fill_incoming,
    "outgoing": lambda page: page.check("[value=direct]"),
    "dns": lambda page: None,
    "disk": lambda page: None,
}


def set_up(page: Page, code: str, seen: Callable[[str], object] = lambda name: None) -> None:
    """The whole wizard; `seen` is called on each page before it is sent."""
    page.goto("/")
    seen("wizard-0-claim")
    page.fill("[name=code]", code)
    forward(page)
    for number, (step, fill) in enumerate(STEPS.items(), 1):
        page.wait_for_url(f"**/wizard/{step}")
        fill(page)
        seen(f"wizard-{number}-{step}")
        forward(page)
    page.wait_for_url("**/wizard/summary")
    seen("wizard-9-summary")
    forward(page)
    page.wait_for_url("**/wizard/done", timeout=120_000)
    seen("wizard-10-done")


def send_letter(port: int, sender: str, recipient: str, subject: str) -> None:
    with SmtpClient("127.0.0.1", port) as client:
        client.hello()
        client.command(f"MAIL FROM:<{sender}>")
        assert client.command(f"RCPT TO:<{recipient}>").code == 250
        client.command("DATA")
        client.send(f"From: {sender}\r\nSubject: {subject}\r\n\r\nHello.\r\n.\r\n".encode())
        assert client.read_answer().code == 250


LETTERS = (
    ("newsletter@shop.example.net", "anna@example.com", "Your order has been sent"),
    ("j.smith@example.net", "office@example.org", "Minutes of Monday"),
    ("no-reply@bank.example", "r.johnson@example.com", "Statement for October"),
)


def test_every_page_is_accessible_and_fits(checkout: Checkout, chromium: Browser, axe: str) -> None:
    with SmtpSink() as next_hop, window(chromium, checkout.url) as page:
        next_hop.plan = Plan(recipient="451 4.7.1 Greylisted, try again in 300 seconds")
        looker = Looker(page, axe)
        set_up(page, checkout.code, looker.look)
        lead_to(page, next_hop.address)
        for sender, recipient, subject in LETTERS:
            send_letter(checkout.smtp, sender, recipient, subject)
        wait_until(lambda: tried(page) >= len(LETTERS), what="the letters to be tried")
        for path in AFTER:
            page.goto(path)
            looker.look("page" + (re.sub(r"[^a-z]+", "-", path).rstrip("-") or "-home"))
        page.goto("/queue/")
        page.locator("tbody th a").first.click()
        page.wait_for_url("**/queue/letter/**")
        looker.look("page-letter")
        look_at_entries(page, looker)
        page.goto("/people/")
        page.fill("[name=label]", "monitoring")
        page.locator("form[action='/people/tokens'] button").click()
        page.wait_for_url("**/people/tokens")
        looker.look("page-token")
        page.goto("/settings/mail")
        page.fill("[name='mail.hostname']", "not a name")
        page.locator("form.card button.primary").click()
        page.wait_for_load_state()
        looker.look("page-settings-mail-error")
        page.goto("/")
        page.locator("header button", has_text="Sign out").click()
        page.wait_for_url("**/sign-in")
        looker.look("page-sign-in")
    assert looker.wrong == [], "\n".join(looker.wrong)


def look_at_entries(page: Page, looker: Looker) -> None:
    """Pages whose form is as important as their answer."""
    page.goto("/aliases/edit")
    page.fill("[name=alias]", "office@example.com")
    page.fill("[name=targets]", "anna@example.com\nr.johnson@example.com\nsomebody@example.net")
    page.fill("[name=comment]", "All who answer the telephone")
    looker.look("page-alias-edit")
    page.locator("form.card button.primary").click()
    page.wait_for_url("**/aliases/**")
    page.goto("/aliases/")
    looker.look("page-aliases-one")
    page.goto("/trace/?whom=example.com")
    looker.look("page-trace-found")
    page.goto("/settings/scheme/try")
    page.fill("[name=ip]", "192.0.2.7")
    page.fill("[name=sender]", "somebody@example.net")
    page.fill("[name=recipients]", "office@example.com nobody@example.edu")
    page.locator("form button.primary").click()
    page.wait_for_selector("#answer-heading")
    looker.look("page-scheme-answer")


def lead_to(page: Page, address: str) -> None:
    """Change the servers of both relay domains, as a person does."""
    page.goto("/settings/mail")
    for number in (0, 1):
        page.fill(f"[name=relay-{number}-target]", address)
    page.locator("form.card button.primary").click()
    page.wait_for_selector("text=Saved and in use.")


def tried(page: Page) -> int:
    page.goto("/queue/")
    return page.locator("tbody td code").count()


def test_the_whole_wizard_works_without_a_script(checkout: Checkout, chromium: Browser) -> None:
    with window(chromium, checkout.url, script=False) as page:
        set_up(page, checkout.code)
        page.goto("/dns/?look=1")
        assert "in order" in page.inner_text("main")


def test_the_wizard_can_be_walked_by_keyboard_alone(checkout: Checkout, chromium: Browser) -> None:
    with window(chromium, checkout.url) as page:
        page.goto("/")
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.textContent") == "To the content"
        page.keyboard.press("Enter")
        page.keyboard.press("Tab")
        page.keyboard.type(checkout.code)
        with page.expect_navigation():
            page.keyboard.press("Enter")
        assert page.url.endswith("/wizard/language")
        page.locator("[name='box.language'][value=en]").focus()
        with page.expect_navigation():
            page.keyboard.press("Enter")
        assert page.url.endswith("/wizard/administrator")
        page.locator("[name=name]").focus()
        for text in ("anna", PASSWORD, PASSWORD):
            page.keyboard.type(text)
            page.keyboard.press("Tab")
        page.locator("[name=again]").focus()
        with page.expect_navigation():
            page.keyboard.press("Enter")
        assert page.url.endswith("/wizard/domain")


PASSWORDS = (
    "", "short", "aaaaaaaaaaaaaaa", "password1234", "Passwort-2026", "abcdefghijklm",
    "qwertzuiop12", "correct horse battery", PASSWORD, "Tr0ub4dor&3", "anna-anna-anna",
    "Zwölf Boxkämpfer jagen", "x" * 201, "1234567890", "9876543210abc", "ÄÖÜ äöü ß 12",
)  # fmt: skip


def test_the_meter_judges_as_the_box_does(checkout: Checkout, chromium: Browser) -> None:
    from appliance.accounts.passwords import strength

    with window(chromium, checkout.url) as page:
        page.goto("/")
        for password in PASSWORDS:
            shown = page.evaluate("([p, n]) => pennypostStrength(p, n)", [password, "anna"])
            assert shown == strength(password, name="anna").score, password
