"""What the DNS shows of our keys, and what is said of it."""

import asyncio

import pytest

from appliance.base.finding import Finding, Result
from appliance.dns import advisor, dkim_advice
from appliance.dns.resolver import FakeResolver

KEY = "MII" + "A1b2+/" * 60 + "AQAB"
VALUE = f"v=DKIM1; k=rsa; p={KEY}"
NAME = "pp1._domainkey.example.com"
[RECORD] = dkim_advice.records([{"selector": "pp1", "domain": "example.com", "record": VALUE}])


def found(*now: str, **zones: object) -> Finding:
    resolver = FakeResolver(TXT={NAME: list(now)} if now else {}, **zones)  # type: ignore[arg-type]
    [seen] = asyncio.run(advisor.look([RECORD], resolver))
    return seen.finding


def test_the_record_is_written_out_in_both_forms() -> None:
    assert (RECORD.name, RECORD.short) == (NAME, "pp1._domainkey")
    assert len(RECORD.value) > 255
    first, second = RECORD.quoted.split('" "')
    assert len(first) == 256  # with its quotation mark
    assert (first + second).strip('"') == VALUE


@pytest.mark.parametrize(
    "text",
    [VALUE, VALUE.replace("; ", ";"), VALUE + ";", f"p={KEY}", f"k=rsa;p={KEY}; n=a note",
     VALUE[:300] + " " + VALUE[300:]],
)  # fmt: skip
def test_what_means_the_same_is_in_order(text: str) -> None:
    assert found(text).result is Result.OK


@pytest.mark.parametrize(
    ("now", "words"),
    [
        ((), "no DKIM record"),
        ((VALUE, "v=spf1 -all"), "Several records"),
        ((VALUE, VALUE), "Several records"),
        ((VALUE[:255],), "cut off"),
        (("v=DKIM1; k=rsa; p=",), "withdrawn"),
        ((VALUE.replace("A1b2", "B1b2"),), "Another key"),
        (("v=spf1 mx -all",), "no DKIM record"),
        (('"' + VALUE[:250] + '" "' + VALUE[250:] + '"',), "quotation marks"),
        ((VALUE.replace(";", "\\;"),), "quotation marks"),
        ((VALUE.replace("k=rsa", "k=rsa; t=y"),), "testing"),
        ((VALUE.replace("k=rsa", "k=ed25519"),), "the rest"),
    ],
)
def test_what_differs_is_said(now: tuple[str, ...], words: str) -> None:
    finding = found(*now)
    assert finding.result in (Result.BAD, Result.WARN)
    assert words in finding.say
    assert finding.fix


def test_a_silent_name_server_is_not_known_yet() -> None:
    assert found(fail={f"TXT {NAME}"}).result is Result.UNKNOWN
