"""rspamd fetches nothing, and asks the DNS only what the manual says it asks."""

import urllib.request

import pytest

from tests.support.rspamd import Rspamd
from tests.support.wait import wait_until

pytestmark = pytest.mark.full

MESSAGE = (
    b"Received: from first.example ([198.51.100.7]) by second.example; "
    b"Tue, 24 Nov 2026 10:00:00 +0000\r\n"
    b"From: Ann <ann@sender.example>\r\nTo: bob@example.org\r\nReply-To: x@reply.example\r\n"
    b"Subject: Minutes\r\nDate: Tue, 24 Nov 2026 10:00:00 +0000\r\nMessage-ID: <1@mid.example>\r\n"
    b"MIME-Version: 1.0\r\nContent-Type: text/html\r\n\r\n"
    b'<a href="http://linked.example/there?x">http://shown.example/</a> write to z@body.example\r\n'
)
FIELDS = {
    "IP": "203.0.113.9",
    "Helo": "helo.example",
    "From": "ann@sender.example",
    "Rcpt": "bob@example.org",
}
OF_THE_SENDER = {"sender.example", "_dmarc.sender.example", "helo.example"}
REVERSE = "9.113.0.203.in-addr.arpa"
LISTS = ("multi.surbl.org", "multi.uribl.com", "dbl.spamhaus.org", "uribl.spameatingmonkey.net")
CANARY = "map.canary.example"


def with_canary(text: str) -> str:
    """A map of the test's own, on a server: once it is asked for, all others have been."""
    file = "${CONFDIR}/maps.d/mid.inc"
    assert f'"{file}"' in text
    return text.replace(f'"{file}"', f'"http://{CANARY}/mid.inc", "fallback+file://{file}"')


def with_stock_files(text: str) -> str:
    """As if the modules' own files were read."""
    names = ("mid", "mime_types", "phishing", "rbl")
    return text + "".join(f'.include "$CONFDIR/modules.d/{name}.conf"\n' for name in names)


def asked(rspamd: Rspamd, last: str) -> set[str]:
    """The names that were asked for while a message was scanned and maps were fetched."""
    request = urllib.request.Request(f"http://{rspamd.address}/checkv2", MESSAGE, FIELDS)
    with urllib.request.urlopen(request, timeout=60) as answer:
        assert answer.status == 200
    wait_until(
        lambda: last in {name for name, _ in rspamd.dns.questions}, what=last, timeout_seconds=60
    )
    return {name for name, _ in rspamd.dns.questions}


def test_without_lists_nothing_is_asked_but_the_sender_s_own_records() -> None:
    with Rspamd({"content.ask_lists": False}, with_canary) as rspamd:
        assert asked(rspamd, CANARY) - {CANARY} <= OF_THE_SENDER | {REVERSE}


def test_with_lists_four_of_them_learn_domains_and_nothing_else_is_asked() -> None:
    with Rspamd({"content.ask_lists": True}, with_canary) as rspamd:
        others = asked(rspamd, CANARY) - OF_THE_SENDER - {REVERSE, CANARY}
        assert {f"linked.example.{one}" for one in LISTS} <= others
        for name in others:
            assert name.endswith(LISTS)
            # What has no dot is the word with which rspamd tries whether the list answers.
            plain = name.removesuffix(next(one for one in LISTS if name.endswith(one)))
            domains = ("linked.example.", "shown.example.", "body.example.", "reply.example.")
            assert plain.count(".") == 1 or plain in domains


def test_the_stock_files_would_have_maps_fetched_and_links_told_to_rspamd_s_own_lists() -> None:
    with Rspamd({"content.ask_lists": False}, with_stock_files) as rspamd:
        names = asked(rspamd, "maps.rspamd.com")
        assert any(name.endswith(".phishtank.rspamd.com") for name in names)
