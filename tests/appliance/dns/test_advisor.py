"""The records to publish, and what is said of what resolves."""

import asyncio

from appliance.base.finding import Result
from appliance.dns.advisor import Record, Seen, look, wanted
from appliance.dns.resolver import FakeResolver
from appliance.settings import schema
from appliance.settings.schema import Settings

SETTINGS = schema.from_json(
    {
        "mail.hostname": "mail.example.com",
        "mail.main_domain": "box.invalid",
        "mail.relay_domains": ["example.com|10.0.0.1", "example.org|10.0.0.1"],
    }
)
ADDRESS = "192.0.2.7"


def _seen(settings: Settings = SETTINGS, **zones: object) -> dict[str, Seen]:
    resolver = FakeResolver(**zones)  # type: ignore[arg-type]
    seen = asyncio.run(look(wanted(settings, [ADDRESS]), resolver))
    return {f"{item.record.type} {item.record.name}": item for item in seen}


def test_the_records_of_a_relay_are_written_out() -> None:
    lines = [(r.type, r.name, r.short, r.value) for r in wanted(SETTINGS, [ADDRESS])]
    assert lines == [
        ("A", "mail.example.com", "mail", "192.0.2.7"),
        ("MX", "example.com", "@", "10 mail.example.com."),
        ("MX", "example.org", "@", "10 mail.example.com."),
        ("PTR", "7.2.0.192.in-addr.arpa", "@", "mail.example.com."),
        ("TXT", "example.com", "@", "v=spf1 mx -all"),
        ("TXT", "example.org", "@", "v=spf1 mx -all"),
    ]


def test_an_invented_domain_asks_for_no_records() -> None:
    assert not [r for r in wanted(SETTINGS, [ADDRESS]) if r.name.endswith(".invalid")]


def test_without_a_known_address_no_value_is_invented() -> None:
    record = wanted(SETTINGS)[0]
    assert (record.type, record.value) == ("A", "(the public address of your line)")


def test_a_smarthost_is_in_the_spf_record() -> None:
    settings = schema.from_json(
        {"outbound.mode": "smarthost", "outbound.smarthost_host": "smtp.isp.example"}, SETTINGS
    )
    spf = next(r.value for r in wanted(settings) if r.type == "TXT")
    assert spf == "v=spf1 mx a:smtp.isp.example -all"


def test_all_in_place_is_all_well() -> None:
    seen = _seen(
        A={"mail.example.com": [ADDRESS]},
        MX={
            "example.com": [(10, "mail.example.com")],
            "example.org": [(5, "other.example"), (20, "MAIL.example.com")],
        },
        PTR={"7.2.0.192.in-addr.arpa": ["mail.example.com"]},
        TXT={
            "example.com": ["google-site-verification=x", "v=spf1 mx include:_spf.isp.test -all"],
            "example.org": ["v=spf1 mx -all"],
        },
    )
    assert {item.finding.result for item in seen.values()} == {Result.OK}


def test_a_missing_record_says_who_enters_it() -> None:
    seen = _seen()
    assert seen["MX example.com"].finding.result is Result.BAD
    assert "registrar" in seen["MX example.com"].finding.fix
    assert "Internet provider" in seen["PTR 7.2.0.192.in-addr.arpa"].finding.fix


def test_a_timeout_is_not_known_yet_and_never_wrong() -> None:
    seen = _seen(fail={"MX example.com"})
    assert seen["MX example.com"].finding.result is Result.UNKNOWN
    assert seen["MX example.org"].finding.result is Result.BAD


def test_two_spf_records_are_one_too_many() -> None:
    seen = _seen(TXT={"example.com": ["v=spf1 mx -all", "v=spf1 a -all"]})
    assert "2 SPF records" in seen["TXT example.com"].finding.say


def test_a_wrong_mx_shows_what_is_there() -> None:
    seen = _seen(MX={"example.com": [(10, "old.example.net")]})
    assert "else: “10 old.example.net”." in seen["MX example.com"].finding.say


def test_a_long_text_is_shown_as_quoted_strings() -> None:
    record = Record(type="TXT", name="x.test", zone="x.test", value="v" * 300, why="")
    assert record.quoted == f'"{"v" * 255}" "{"v" * 45}"'
