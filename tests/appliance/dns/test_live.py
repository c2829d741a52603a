"""The real resolver against a real name server on loopback."""

import asyncio

import pytest

from appliance.dns.live import LiveResolver
from appliance.dns.resolver import (
    MX,
    Answer,
    FakeResolver,
    NoSuchName,
    Resolver,
    TemporaryDnsError,
    reverse_name,
)
from tests.support.dns_server import DnsServer

LONG = "v" * 300
ZONES = {
    "example.com": {
        "MX": ["10 mx.example.com.", "20 mx2.example.com."],
        "TXT": [f'"{LONG[:255]}" "{LONG[255:]}"'],
    },
    "null.example": {"MX": ["0 ."]},
    "mx.example.com": {"A": ["192.0.2.1"], "AAAA": ["2001:db8::1"]},
    "www.example.com": {"CNAME": ["mx.example.com."]},
    "1.2.0.192.in-addr.arpa": {"PTR": ["mx.example.com."]},
    "broken.example": {"A": ["192.0.2.9"]},
    "silent.example": {"A": ["192.0.2.9"]},
}


def _ask(name: str, rdtype: str) -> Answer:
    with DnsServer(ZONES, failing=["broken.example"], silent=["silent.example"]) as server:
        resolver: Resolver = LiveResolver("127.0.0.1", server.port, lifetime_seconds=1)
        return asyncio.run(resolver.query(name, rdtype))


@pytest.mark.parametrize(
    ("name", "rdtype", "records"),
    [
        ("example.com", "MX", {MX(10, "mx.example.com"), MX(20, "mx2.example.com")}),
        ("EXAMPLE.com.", "TXT", {LONG}),
        ("null.example", "MX", {MX(0, "")}),
        ("mx.example.com", "A", {"192.0.2.1"}),
        ("mx.example.com", "AAAA", {"2001:db8::1"}),
        ("www.example.com", "A", {"192.0.2.1"}),
        (reverse_name("192.0.2.1"), "PTR", {"mx.example.com"}),
        ("example.com", "AAAA", set()),
    ],
)
def test_records_come_as_plain_words(name: str, rdtype: str, records: set[object]) -> None:
    assert set(_ask(name, rdtype).records) == records


def test_a_name_that_does_not_exist_is_told_from_one_without_such_records() -> None:
    with pytest.raises(NoSuchName):
        _ask("nowhere.example", "A")


@pytest.mark.parametrize("name", ["broken.example", "silent.example"])
def test_a_failure_is_temporary_and_never_an_answer(name: str) -> None:
    with pytest.raises(TemporaryDnsError):
        _ask(name, "A")


@pytest.mark.parametrize(
    "name", ["a..b", "x" * 64 + ".example", "..", "é" * 300], ids=["gap", "label", "dots", "long"]
)
def test_a_name_that_cannot_be_does_not_exist(name: str) -> None:
    with pytest.raises((NoSuchName, TemporaryDnsError)):
        _ask(name, "MX")


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("127.0.0.1:5353", "127.0.0.1", 5353),
        ("127.0.0.1", "127.0.0.1", 53),
        ("[::1]:5353", "::1", 5353),
        ("::1", "::1", 53),
    ],
)
def test_a_resolver_is_named_as_people_type_it(text: str, host: str, port: int) -> None:
    resolver = LiveResolver.from_text(text)
    assert (resolver.address, resolver.port) == (host, port)


def test_the_fake_keeps_to_the_same_words() -> None:
    fake = FakeResolver(
        MX={"example.com": [(10, "mx.example.com")]},
        A={"mx.example.com": ["192.0.2.1"]},
        CNAME={"www.example.com": ["mx.example.com"]},
        fail={"TXT example.com"},
        authenticated={"example.com"},
    )

    async def ask() -> None:
        assert await fake.query("Example.com.", "MX") == Answer((MX(10, "mx.example.com"),), True)
        assert (await fake.query("www.example.com", "A")).records == ("192.0.2.1",)
        assert (await fake.query("mx.example.com", "AAAA")).records == ()
        with pytest.raises(NoSuchName):
            await fake.query("nowhere.example", "A")
        with pytest.raises(TemporaryDnsError):
            await fake.query("example.com", "TXT")

    asyncio.run(ask())


class Validating(DnsServer):
    """Says of every answer that it was authenticated."""

    def respond(self, wire: bytes, *, tcp: bool) -> bytes | None:
        answer = super().respond(wire, tcp=tcp)
        if answer is None:
            return None
        flags = int.from_bytes(answer[2:4]) | 0x0020  # AD
        return answer[:2] + flags.to_bytes(2) + answer[4:]


@pytest.mark.parametrize(("is_trusted", "believed"), [(None, True), (True, True), (False, False)])
def test_that_an_answer_is_authenticated_is_believed_of_the_own_name_server_only(
    is_trusted: bool | None, believed: bool
) -> None:
    digest = "ab" * 64  # dnspython writes long ones in pieces
    zones = {"_25._tcp.mx.example.com": {"TLSA": [f"3 1 2 {digest}"]}}
    with Validating(zones) as server:
        resolver = LiveResolver("127.0.0.1", server.port, is_trusted=is_trusted)
        answer = asyncio.run(resolver.query("_25._tcp.mx.example.com", "TLSA"))
    assert answer.authenticated is believed
    assert "".join(answer.records[0].split()) == f"312{digest}"
    assert not LiveResolver("192.0.2.53").is_trusted
    assert LiveResolver("::1").is_trusted
