"""SPF: the examples of RFC 7208, its limits, its errors."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.dns.resolver import FakeResolver, reverse_name
from appliance.policy import spf
from appliance.policy.spf import SpfResult

# The zone of RFC 7208 appendix A.
PTR = {
    "192.0.2.10": "example.com",
    "192.0.2.11": "example.com",
    "192.0.2.65": "amy.example.com",
    "192.0.2.66": "bob.example.com",
    "192.0.2.129": "mail-a.example.com",
    "192.0.2.130": "mail-b.example.com",
    "192.0.2.140": "mail-c.example.org",
    "10.0.0.4": "bob.example.com",
}
ZONE: dict[str, Mapping[str, Sequence[Any]]] = {
    "MX": {
        "example.com": [(10, "mail-a.example.com"), (20, "mail-b.example.com")],
        "example.org": [(10, "mail-c.example.org")],
    },
    "A": {
        "example.com": ["192.0.2.10", "192.0.2.11"],
        "amy.example.com": ["192.0.2.65"],
        "bob.example.com": ["192.0.2.66"],
        "mail-a.example.com": ["192.0.2.129"],
        "mail-b.example.com": ["192.0.2.130"],
        "mail-c.example.org": ["192.0.2.140"],
        "mary.mobile-users._spf.example.com": ["127.0.0.2"],
        "15.15.168.192.joel.remote-users._spf.example.com": ["127.0.0.2"],
    },
    "CNAME": {"www.example.com": ["example.com"]},
    "PTR": {reverse_name(address): [name] for address, name in PTR.items()},
}


def check(
    record: str | Sequence[str],
    client: str = "192.0.2.1",
    mail_from: str = "strong-bad@example.com",
    *,
    helo: str = "mail.example.net",
    budget_seconds: float = 5.0,
    fail: Sequence[str] = (),
    silent: Sequence[str] = (),
    more: Mapping[str, Mapping[str, Sequence[Any]]] | None = None,
) -> SpfResult:
    """Check against RFC 7208's zone, with `record` (and `more`) at example.com."""
    records = [record] if isinstance(record, str) else list(record)
    zones = {rdtype: dict(names) for rdtype, names in ZONE.items()}
    for rdtype, names in (more or {}).items():
        zones.setdefault(rdtype, {}).update(names)
    zones.setdefault("TXT", {}).setdefault("example.com", records)
    resolver = FakeResolver(fail=fail, silent=silent, **zones)
    result = asyncio.run(
        spf.check(
            resolver,
            client=client,
            helo=helo,
            mail_from=mail_from,
            receiver="mx.example.net",
            budget_seconds=budget_seconds,
        )
    )
    assert len(resolver.asked) == result.queries <= spf.MAX_QUERIES
    return result


@pytest.mark.parametrize(
    ("record", "passing", "failing"),
    [
        ("v=spf1 +all", ["192.0.2.1", "2001:db8::1"], []),
        ("v=spf1 a -all", ["192.0.2.10", "192.0.2.11"], ["192.0.2.12"]),
        ("v=spf1 a:example.org -all", [], ["192.0.2.10", "192.0.2.140"]),
        ("v=spf1 mx -all", ["192.0.2.129", "192.0.2.130"], ["192.0.2.10"]),
        ("v=spf1 mx:example.org -all", ["192.0.2.140"], ["192.0.2.129"]),
        ("v=spf1 mx mx:example.org -all", ["192.0.2.129", "192.0.2.140"], ["192.0.2.10"]),
        ("v=spf1 mx/30 mx:example.org/30 -all", ["192.0.2.131", "192.0.2.143"], ["192.0.2.132"]),
        ("v=spf1 ptr -all", ["192.0.2.10", "192.0.2.65"], ["192.0.2.140", "10.0.0.4"]),
        ("v=spf1 ip4:192.0.2.128/28 -all", ["192.0.2.129"], ["192.0.2.65"]),
        ("v=spf1 a:www.example.com -all", ["192.0.2.10"], ["192.0.2.65"]),
    ],
)
def test_the_simple_examples_of_appendix_a(
    record: str, passing: list[str], failing: list[str]
) -> None:
    assert [check(record, client).result for client in passing] == ["pass"] * len(passing)
    assert [check(record, client).result for client in failing] == ["fail"] * len(failing)


@pytest.mark.parametrize(
    ("record", "more", "client", "sender", "result"),
    [
        (
            "v=spf1 include:example.net include:example.org -all",
            {"example.net": ["v=spf1 -all"], "example.org": ["v=spf1 mx -all"]},
            "192.0.2.140",
            "x@example.com",
            "pass",
        ),
        (
            "v=spf1 redirect=example.org",
            {"example.org": ["v=spf1 mx -all"]},
            "192.0.2.129",
            "x@example.com",
            "fail",
        ),
        (
            "v=spf1 mx include:mobile-users._spf.%{d} include:remote-users._spf.%{d} -all",
            {
                "mobile-users._spf.example.com": ["v=spf1 exists:%{l1r+}.%{d}"],
                "remote-users._spf.example.com": ["v=spf1 exists:%{ir}.%{l1r+}.%{d}"],
            },
            "192.0.2.1",
            "mary+lists@example.com",
            "pass",
        ),
        (
            "v=spf1 mx include:mobile-users._spf.%{d} include:remote-users._spf.%{d} -all",
            {
                "mobile-users._spf.example.com": ["v=spf1 exists:%{l1r+}.%{d}"],
                "remote-users._spf.example.com": ["v=spf1 exists:%{ir}.%{l1r+}.%{d}"],
            },
            "192.168.15.15",
            "joel@example.com",
            "pass",
        ),
        (
            "v=spf1 -include:ip4._spf.%{d} -include:ptr._spf.%{d} +all",
            {
                "ip4._spf.example.com": ["v=spf1 -ip4:192.0.2.0/24 +all"],
                "ptr._spf.example.com": ["v=spf1 -ptr:example.com +all"],
            },
            "10.0.0.4",
            "x@example.com",
            "fail",
        ),
    ],
    ids=["include", "redirect", "mobile", "remote", "both requirements"],
)
def test_the_records_that_lead_to_others_of_appendix_a(
    record: str, more: Mapping[str, Sequence[str]], client: str, sender: str, result: str
) -> None:
    zone = {"TXT": {**more, "example.com": [record]}}
    assert check("", client, sender, more=zone).result == result


@pytest.mark.parametrize(
    ("record", "result"),
    [
        ("v=spf1", "neutral"),
        ("v=spf1 ?all", "neutral"),
        ("v=spf1 ~all", "softfail"),
        ("V=SPF1 -ALL", "fail"),
        ("v=spf10 -all", "none"),
        ("v=spf1\t-all", "none"),
        ("spf1 -all", "none"),
        ("v=spf1 -all moo", "permerror"),
        ("v=spf1 ip4:192.0.2.1 ip4:300.1.1.1", "permerror"),  # read whole before it is judged
        ("v=spf1 -all é", "permerror"),
        ("v=spf1 include:nothing.example -all", "permerror"),
        ("v=spf1 redirect=nothing.example", "permerror"),
        ("v=spf1 redirect=nothing.example -all", "fail"),  # never reached
        ("v=spf1 include:example.com", "permerror"),  # for ever
        ("v=spf1 redirect=example.com", "permerror"),
        ("v=spf1 exists:www.example.com", "pass"),
        ("v=spf1 custom=%{i} ~all", "softfail"),
        ("v=spf1 custom=%{q} ~all", "permerror"),
    ],
)
def test_each_form_of_record_has_its_result(record: str, result: str) -> None:
    assert check(record).result == result


def test_two_records_are_an_error_and_other_texts_are_not_records() -> None:
    assert check(["v=spf1 -all", "v=spf1 +all"]).result == "permerror"
    assert check(["v=spf1 -all", "v=spf2.0/pra +all", "é"]).result == "fail"


@pytest.mark.parametrize(
    ("mail_from", "helo", "domain"),
    [
        ("", "mail.example.com", "mail.example.com"),
        ("@example.com", "x", "example.com"),
        ("a@b@example.com", "x", "example.com"),
        ("x@BÜCHER.example", "x", "xn--bcher-kva.example"),
        ("x@xn--bcher-kva.example", "x", "xn--bcher-kva.example"),
    ],
)
def test_the_domain_asked_is_the_senders_or_of_a_bounce_the_helo_name(
    mail_from: str, helo: str, domain: str
) -> None:
    more = {"TXT": {domain: ["v=spf1 exists:%{l}.%{o} -all"]}}
    more |= {"A": {f"postmaster.{domain}": ["127.0.0.2"]}}
    result = check("v=spf1 -all", mail_from=mail_from, helo=helo, more=more)
    assert result.domain == domain
    assert result.identity == ("mailfrom" if mail_from else "helo")
    is_postmaster = not mail_from.partition("@")[0]
    assert result.result == ("pass" if is_postmaster else "fail")


@pytest.mark.parametrize(
    "mail_from",
    ["x@[192.0.2.1]", "x@localhost", "x@a..example.com", f"x@{'a' * 64}.example.com", "x@a\0b.com"],
)
def test_what_is_no_domain_has_no_policy_and_costs_no_query(mail_from: str) -> None:
    result = check("v=spf1 -all", mail_from=mail_from)
    assert (result.result, result.queries) == ("none", 0)
    assert check("v=spf1 -all", mail_from="", helo="[192.0.2.1]").result == "none"


def test_an_ipv4_client_behind_an_ipv6_socket_is_an_ipv4_client() -> None:
    assert check("v=spf1 ip4:192.0.2.1 -all", "::ffff:192.0.2.1").result == "pass"
    assert check("v=spf1 ip6:::ffff:0:0/96 -all", "::ffff:192.0.2.1").result == "fail"


def test_an_ipv6_client_is_looked_for_in_ipv6_records() -> None:
    more = {"AAAA": {"example.com": ["2001:db8::10"]}}
    assert check("v=spf1 a -all", "2001:db8::10", more=more).result == "pass"
    assert check("v=spf1 a/24//120 -all", "2001:db8::ff", more=more).result == "pass"
    assert check("v=spf1 a/24 -all", "2001:db8::ff", more=more).result == "fail"


def test_ten_terms_that_ask_are_allowed_and_eleven_are_not() -> None:
    assert check("v=spf1" + " a" * 10 + " ip4:192.0.2.1").result == "pass"
    assert check("v=spf1" + " a" * 11 + " ip4:192.0.2.1").result == "permerror"


def test_two_empty_lookups_are_allowed_and_three_are_not() -> None:
    gone = [f" a:gone{number}.example.com" for number in range(3)]
    assert check("v=spf1" + "".join(gone[:2]) + " -all").result == "fail"
    assert check("v=spf1" + "".join(gone) + " -all").result == "permerror"


def _exchangers(owner: str, count: int) -> dict[str, Mapping[str, Sequence[Any]]]:
    hosts = [f"mx{number}.example.com" for number in range(count)]
    return {"MX": {owner: [(10, host) for host in hosts]}, "A": {h: ["192.0.2.200"] for h in hosts}}


def test_ten_exchangers_are_allowed_and_eleven_are_not() -> None:
    assert check("v=spf1 mx -all", more=_exchangers("example.com", 10)).result == "fail"
    assert check("v=spf1 mx -all", more=_exchangers("example.com", 11)).result == "permerror"


def test_all_terms_together_may_ask_no_more_than_the_cap() -> None:
    result = check("v=spf1 mx mx mx mx -all", more=_exchangers("example.com", 10))
    assert (result.result, result.queries) == ("permerror", spf.MAX_QUERIES)


def test_a_client_cannot_undo_a_fail_with_many_names_of_its_own() -> None:
    names = [f"n{number}.example.net" for number in range(40)]
    more = {"PTR": {reverse_name("192.0.2.1"): names}}
    result = check("v=spf1 ptr -all", more=more)
    assert (result.result, result.queries) == ("fail", 12)


@pytest.mark.parametrize(
    ("failing", "record", "result"),
    [
        ("TXT example.com", "v=spf1 -all", "temperror"),
        ("A example.com", "v=spf1 a -all", "temperror"),
        ("MX example.com", "v=spf1 mx -all", "temperror"),
        ("TXT example.org", "v=spf1 include:example.org -all", "temperror"),
        ("PTR 1.2.0.192.in-addr.arpa", "v=spf1 ptr -all", "fail"),  # RFC 7208 §5.5
        ("TXT why.example.com", "v=spf1 -all exp=why.%{d}", "fail"),  # RFC 7208 §6.2
    ],
)
def test_a_failed_lookup_is_never_taken_for_an_answer(
    failing: str, record: str, result: str
) -> None:
    assert check(record, fail=[failing]).result == result
    if result == "temperror" or "exp=" in record:
        silent = check(record, silent=[failing], budget_seconds=0.05)
        assert silent.result == result


def test_the_time_of_one_check_is_bounded() -> None:
    started = time.monotonic()
    assert check("v=spf1 a -all", silent=["A example.com"], budget_seconds=0.05).queries == 2
    assert time.monotonic() - started < 2


def test_the_explanation_is_expanded_shown_in_the_log_and_kept_harmless() -> None:
    more = {"TXT": {"why.example.com": ["%{i} is no mail server of %{d} (ask %{r})%_\x07é"]}}
    assert check("v=spf1 -all exp=why.%{d}", more=more).explanation == ""
    more = {"TXT": {"why.example.com": ["%{i} is no server of %{d}, %{L}, says %{r}"]}}
    result = check("v=spf1 -all exp=why.%{d}", mail_from='"a\r\nb"@example.com', more=more)
    assert result.explanation == (
        "192.0.2.1 is no server of example.com, %22a%0D%0Ab%22, says mx.example.net"
    )
    assert result.explanation in result.why
    more = {"TXT": {"why.example.com": ["%{l}" * 3000]}}
    result = check("v=spf1 -all exp=why.%{d}", mail_from="x\r\n@example.com", more=more)
    assert len(result.explanation) == 512
    assert "\r" not in result.explanation


def test_the_explanation_of_an_included_record_is_not_asked_for() -> None:
    more = {
        "TXT": {
            "example.org": ["v=spf1 -all exp=theirs.example.org"],
            "theirs.example.org": ["theirs"],
            "ours.example.com": ["ours"],
        }
    }
    ours = check("v=spf1 include:example.org -all exp=ours.example.com", more=more)
    assert ours.explanation == "ours"
    assert check("v=spf1 redirect=example.org", more=more).explanation == "theirs"


def test_a_local_part_that_the_dns_cannot_hold_matches_nothing() -> None:
    more = {"A": {"jürgen.example.com": ["127.0.0.2"]}}
    record = "v=spf1 exists:%{l}.%{d} -all"
    assert check(record, mail_from="jürgen@example.com", more=more).result == "fail"


def test_a_pass_names_the_domain_that_vouches_and_the_mechanism() -> None:
    result = check("v=spf1 ip4:192.0.2.0/24 -all", mail_from="x@Example.COM")
    assert (result.result, result.domain) == ("pass", "example.com")
    assert result.mechanism == "ip4:192.0.2.0/24"
    assert "ip4:192.0.2.0/24" in result.why


MACROS = [
    "%{s}",
    "%{l}",
    "%{h}",
    "%{p}",
    "%{D1r-}",
    "%%",
    "%{c}",
    " ",
    "-all",
    "mx:",
    "a:",
    "=",
    ".",
]
WORDS = ["none", "neutral", "pass", "fail", "softfail", "temperror", "permerror"]


@settings(max_examples=60, deadline=None)
@given(
    record=st.lists(st.one_of(st.sampled_from(MACROS), st.text(max_size=9)), max_size=12),
    client=st.one_of(st.sampled_from(["192.0.2.1", "2001:db8::1"]), st.text(max_size=12)),
    helo=st.text(max_size=40),
    sender=st.one_of(st.just(""), st.text(max_size=40), st.text(max_size=9).map("{}@a.b".format)),
)
def test_whatever_strangers_write_the_check_ends_in_a_word(
    record: list[str], client: str, helo: str, sender: str
) -> None:
    text = "v=spf1 " + "".join(record)
    more = {"TXT": {name: [text] for name in ("a.b", "example.com", sender.rpartition("@")[2])}}
    result = check(text, client, sender, helo=helo, more=more)
    assert result.result in WORDS
    assert all(" " <= character <= "~" for character in result.explanation)
    text = " ".join(["v=spf1", "-all exp=example.com", *record])
    assert check(text, client, f"{sender}@a.b", helo=helo, more=more).result in WORDS


def test_a_record_of_the_greatest_length_in_every_include_is_judged_at_once() -> None:
    long = "v=spf1 " + "ip4:1.2.3.4 " * 670
    names = [f"i{number}.example.com" for number in range(10)]
    more = {"TXT": {name: [long] for name in names}}
    started = time.process_time()
    result = check("v=spf1 " + " ".join(f"include:{name}" for name in names) + " -all", more=more)
    assert result.result == "fail"
    assert time.process_time() - started < 1
