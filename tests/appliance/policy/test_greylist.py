"""Greylisting's decision: pure, by the clock that is handed in."""

from __future__ import annotations

import pytest

from appliance.mail.address import parse
from appliance.mail.from_field import FromField
from appliance.policy.dkim import DkimResult
from appliance.policy.greylist import Seen, Windows, decide, origin_of, signers
from appliance.policy.spf import SpfResult
from appliance.policy.verdict import Facts, Port

WINDOWS = Windows(delay=180, window=1000, memory=10_000)


@pytest.mark.parametrize(
    ("seen", "now", "wait"),
    [
        (None, 100, 180),
        (Seen(100, 100), 101, 179),
        (Seen(100, 100), 279, 1),
        (Seen(100, 100), 280, 0),
        (Seen(100, 100), 1100, 0),
        (Seen(100, 100), 1101, 180),  # too late: it is the first try again
        (Seen(100, 100, 1), 10_100, 0),
        (Seen(100, 100, 1), 10_101, 180),  # forgotten
        (Seen(5000, 5000), 100, 180),  # the clock was set back
        (Seen(100, 5000, 3), 4000, 180),
    ],
)
def test_it_passes_after_the_delay_and_within_the_window(
    seen: Seen | None, now: float, wait: int
) -> None:
    found, after = decide(seen, now, WINDOWS)
    assert found == wait
    assert after.last <= now


def test_trying_early_does_not_start_the_wait_anew() -> None:
    _, seen = decide(None, 0, WINDOWS)
    for now in (10, 50, 179):
        wait, seen = decide(seen, now, WINDOWS)
        assert wait
    assert decide(seen, 180, WINDOWS)[0] == 0


@pytest.mark.parametrize(
    ("client", "spf", "name"),
    [
        ("198.51.100.7", None, "198.51.100.0/24"),
        ("198.51.100.7", SpfResult("fail", "big.example", "mailfrom", ""), "198.51.100.0/24"),
        ("198.51.100.7", SpfResult("pass", "big.example", "mailfrom", ""), "spf big.example"),
        ("2001:db8:1:2:3::4", None, "2001:db8:1:2::/64"),
    ],
)
def test_the_origin_is_what_spf_authorises_else_the_network(
    client: str, spf: SpfResult | None, name: str
) -> None:
    facts = Facts(client=client, port=Port.SMTP, trusted=False, spf=spf)
    assert origin_of(facts).name == name


@pytest.mark.parametrize(
    ("mail_from", "author", "result", "signer", "counts"),
    [
        ("a@big.example", "", "pass", "big.example", True),
        ("a@bounce.big.example", "", "pass", "mail.big.example", True),
        ("bounce@service.example", "a@big.example", "pass", "big.example", True),
        ("bounce@service.example", "a@big.example", "pass", "other.example", False),
        ("a@big.example", "", "fail", "big.example", False),
        ("a@big.example", "", "temperror", "big.example", False),
        ("a@a.co.uk", "", "pass", "b.co.uk", False),
        ("a@a.co.uk", "", "pass", "co.uk", False),
        ("a@big.example", "", "pass", "example", False),
        ("", "", "pass", "big.example", False),
    ],
)
def test_a_signature_counts_that_holds_and_belongs_to_the_sender_or_the_author(
    mail_from: str, author: str, result: str, signer: str, counts: bool
) -> None:
    facts = Facts(
        client="198.51.100.7",
        port=Port.SMTP,
        trusted=False,
        mail_from=parse(mail_from) if mail_from else None,
        author=FromField((parse(author),)) if author else None,
        dkim=(DkimResult(result, signer), DkimResult("pass", "elsewhere.example")),
    )
    assert signers(facts) == ((signer,) if counts else ())
