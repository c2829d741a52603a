"""The tests' own name server, asked by dnspython over both transports."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import dns.exception
import dns.flags
import dns.message
import dns.query
import dns.rcode
import pytest

from tests.support.dns_server import DnsServer

ZONES = {
    "example.com": {"MX": ["10 mx.example.com."]},
    "mx.example.com": {"A": ["192.0.2.1"]},
    "alias.example.com": {"CNAME": ["mx.example.com."]},
    "long.example.com": {"TXT": [f'"{i:03} {"x" * 200}"' for i in range(20)]},
}


@pytest.fixture
def server() -> Iterator[DnsServer]:
    with DnsServer(ZONES, failing=["bad.example.com"], silent=["mute.example.com"]) as running:
        yield running


@pytest.fixture(params=[dns.query.udp, dns.query.tcp], ids=["udp", "tcp"])
def ask(request: pytest.FixtureRequest, server: DnsServer) -> Callable[[str, str], Any]:
    def over(name: str, kind: str) -> Any:
        query = dns.message.make_query(name, kind)
        return request.param(query, server.host, port=server.port, timeout=0.5)

    return over


def test_it_answers_what_the_zone_says(ask: Callable[[str, str], Any]) -> None:
    assert ask("example.com", "MX").answer[0][0].to_text() == "10 mx.example.com."
    assert ask("Alias.example.com", "A").answer[-1][0].to_text() == "192.0.2.1"


def test_a_name_outside_the_zones_does_not_exist(ask: Callable[[str, str], Any]) -> None:
    assert ask("nowhere.example.net", "A").rcode() == dns.rcode.NXDOMAIN


def test_a_type_that_the_name_lacks_is_an_empty_answer(ask: Callable[[str, str], Any]) -> None:
    answer = ask("mx.example.com", "AAAA")
    assert (answer.rcode(), answer.answer) == (dns.rcode.NOERROR, [])


def test_failing_and_silent_names(ask: Callable[[str, str], Any]) -> None:
    assert ask("bad.example.com", "A").rcode() == dns.rcode.SERVFAIL
    with pytest.raises((dns.exception.Timeout, EOFError)):
        ask("mute.example.com", "A")


def test_a_long_answer_is_cut_on_udp_and_whole_on_tcp(server: DnsServer) -> None:
    query = dns.message.make_query("long.example.com", "TXT")
    short = dns.query.udp(query, server.host, port=server.port, timeout=0.5)
    assert short.flags & dns.flags.TC
    assert len(dns.query.tcp(query, server.host, port=server.port, timeout=0.5).answer[0]) == 20
