"""Q2 to Q6 from the pages, against the real relay: hold, release, send now, delete one and all."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser, Page

from tests.browser.conftest import Checkout
from tests.browser.test_pages import LETTERS, lead_to, send_letter, set_up, tried, window
from tests.support.smtp_sink import Plan, SmtpSink
from tests.support.wait import wait_until

pytestmark = [pytest.mark.full, pytest.mark.timeout(600)]


def letters(page: Page) -> int:
    page.goto("/queue/")
    return page.locator("tbody tr").count()


def open_letter(page: Page, sender: str) -> None:
    page.goto("/queue/")
    page.get_by_role("link", name=sender).click()
    page.wait_for_url("**/queue/letter/**")


def press(page: Page, name: str) -> None:
    with page.expect_navigation():
        page.get_by_role("button", name=name, exact=True).first.click()


def test_letters_are_held_released_sent_and_deleted_as_the_pages_say(
    checkout: Checkout, chromium: Browser
) -> None:
    with SmtpSink() as next_hop, window(chromium, checkout.url) as page:
        next_hop.plan = Plan(recipient="451 4.7.1 Greylisted, try again in 300 seconds")
        set_up(page, checkout.code)
        lead_to(page, next_hop.address)
        for sender, recipient, subject in LETTERS:
            send_letter(checkout.smtp, sender, recipient, subject)
        wait_until(lambda: tried(page) >= len(LETTERS), what="the letters to be tried")
        next_hop.plan = Plan()

        open_letter(page, "j.smith@example.net")
        press(page, "Hold")
        page.goto("/queue/")
        press(page, "Send all now")
        wait_until(lambda: letters(page) == 1, what="all but the held letter to leave")
        assert sorted(m.mail_from for m in next_hop.messages) == [
            "newsletter@shop.example.net",
            "no-reply@bank.example",
        ]
        assert "held" in page.locator("tbody tr").inner_text()

        open_letter(page, "j.smith@example.net")
        press(page, "Release")
        wait_until(lambda: letters(page) == 0, what="the released letter to leave")
        assert len(next_hop.messages) == len(LETTERS)

        next_hop.plan = Plan(recipient="452 4.2.2 Mailbox is full")
        for sender, recipient, subject in LETTERS:
            send_letter(checkout.smtp, sender, recipient, subject)
        wait_until(lambda: tried(page) >= len(LETTERS), what="the letters to be tried")
        open_letter(page, "no-reply@bank.example")
        press(page, "Delete")
        press(page, "Delete for good")
        assert letters(page) == len(LETTERS) - 1

        page.get_by_role("link", name="Delete all", exact=True).click()
        page.wait_for_url("**/queue/delete**")
        press(page, "Delete for good")
        assert letters(page) == len(LETTERS) - 1, "nothing is deleted without the typed word"
        page.get_by_role("link", name="Delete all", exact=True).click()
        word = page.get_by_label("To go on, type:")
        label = page.locator("label", has_text="To go on, type:").inner_text()
        word.fill(label.split(":", 1)[1].strip())
        press(page, "Delete for good")
        assert letters(page) == 0
        assert len(next_hop.messages) == len(LETTERS), "what was deleted was not sent"
