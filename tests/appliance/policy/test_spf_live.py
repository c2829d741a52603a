"""SPF and DMARC over the real resolver, against a real name server on loopback."""

from __future__ import annotations

import asyncio

from appliance.dns.live import LiveResolver
from appliance.dns.resolver import reverse_name
from appliance.policy import dmarc, psl, spf
from appliance.policy.spf import SpfResult
from tests.support.dns_server import DnsServer

ZONES = {
    "example.com": {"TXT": ['"v=spf1 include:_spf.%{d} exists:%{l}.%{ir}.ok." "%{d} ptr -all"']},
    "_spf.example.com": {"TXT": ['"v=spf1 mx:example.net/31"']},
    "example.net": {"MX": ["10 mx.example.net."], "TXT": ['"v=spf1 a:silent.example.com -all"']},
    "mx.example.net": {"A": ["192.0.2.10"], "AAAA": ["2001:db8::10"]},
    "mail.example.com": {"A": ["192.0.2.99"]},
    reverse_name("192.0.2.99"): {"PTR": ["mail.example.com."]},
    "mary.7.2.0.192.ok.example.com": {"A": ["127.0.0.2"]},
    "silent.example.com": {"A": ["192.0.2.1"]},
    "_dmarc.example.com": {"TXT": ['"v=DMARC1; p=reject;" " sp=quarantine"']},
}


def _spf(client: str, sender: str, budget_seconds: float = 5) -> SpfResult:
    with DnsServer(ZONES, silent=["silent.example.com"]) as server:
        resolver = LiveResolver("127.0.0.1", server.port, lifetime_seconds=5)
        return asyncio.run(
            spf.check(
                resolver,
                client=client,
                helo="mail.example.com",
                mail_from=sender,
                budget_seconds=budget_seconds,
            )
        )


def test_the_mechanisms_work_over_the_wire() -> None:
    for client, sender, result in (
        ("192.0.2.11", "x@example.com", "pass"),
        ("2001:db8::10", "x@example.com", "pass"),
        ("192.0.2.7", "mary@example.com", "pass"),
        ("192.0.2.7", "x@example.com", "fail"),
        ("192.0.2.99", "x@example.com", "pass"),
        ("192.0.2.7", '"odd (one); \\"@\\" \x01"@example.com', "fail"),
        ("192.0.2.7", "x@nowhere.example", "none"),
    ):
        assert _spf(client, sender).result == result, (client, sender)


def test_a_name_server_that_is_silent_makes_a_temporary_error_in_time() -> None:
    assert _spf("192.0.2.7", "x@example.net", budget_seconds=0.1).result == "temperror"


def test_a_dmarc_record_in_two_strings_is_one_text() -> None:
    with DnsServer(ZONES) as server:
        result = asyncio.run(
            dmarc.check(
                LiveResolver("127.0.0.1", server.port, lifetime_seconds=5),
                from_domains=["news.example.com"],
                spf=SpfResult("pass", "example.net", "mailfrom", ""),
                dkim=[],
                rules=psl.parse(["com"]),
            )
        )
    assert (result.result, result.disposition) == ("fail", "quarantine")
