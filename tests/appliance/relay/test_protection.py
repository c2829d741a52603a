"""MTA-STS and DANE with real servers: SMTP with STARTTLS, policies by HTTPS."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from appliance.base.clock import FakeClock
from appliance.dns.resolver import FakeResolver
from appliance.relay import sts, targets
from appliance.relay.protection import Protection
from appliance.relay.reasons import DeliveryTrouble, Say
from appliance.relay.router import Kind, Route
from appliance.relay.smtp_out import Connection, Patience
from appliance.relay.worker import Outside
from tests.support.https_server import HttpsServer
from tests.support.relay_box import RelayBox
from tests.support.smtp_client import SmtpClient
from tests.support.smtp_sink import Plan, SmtpSink
from tests.support.tls import Authority
from tests.support.wait import wait_until

POLICY = b"version: STSv1\nmode: enforce\nmx: mx.example.org\nmax_age: 86400\n"
NAMES = {"MX": {"example.org": [(10, "mx.example.org")]}}
ADDRESSES = {"mx.example.org": ["127.0.0.1"], "mta-sts.example.org": ["127.0.0.1"]}
PUBLISHED = {"_mta-sts.example.org": ["v=STSv1; id=1;"]}
SIGNED = ("example.org", "mx.example.org", "_25._tcp.mx.example.org")


def sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def spki(certificate: x509.Certificate) -> bytes:
    return certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


class World:
    """A domain with its mail server and its policy server."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.authority = Authority(folder)
        self.https = HttpsServer(self.authority.server("mta-sts.example.org"))
        self.https.give(POLICY)
        self.sink = SmtpSink(tls=self.authority.server("mx.example.org"))
        self.leaf = self.authority.leaf
        self.clock = FakeClock()
        self.resolver = FakeResolver()

    def names(self, *, published: bool = True, **more: Any) -> None:
        """What the DNS holds."""
        records: dict[str, Any] = {"A": ADDRESSES, **NAMES}
        records["TXT"] = PUBLISHED if published else {}
        # TLSA are asked for by the port in use; the sink's is not 25.
        if tlsa := more.pop("tlsa", None):
            owner = f"_{self.sink.port}._tcp.mx.example.org"
            records["TLSA"] = {owner: tlsa}
            more.setdefault("authenticated", {*SIGNED, owner})
        self.resolver = FakeResolver(**records, **more)

    def protection(self) -> Protection:
        return Protection.open(
            self.folder / "memory",
            self.resolver,
            self.clock,
            https_port=self.https.port,
            cafile=str(self.authority.cafile),
        )

    async def connect(self, protection: Protection | None = None) -> Connection:
        """As a lane does."""
        protection = protection or self.protection()
        route = Route(Kind.MX, "example.org", self.sink.port)
        found = await targets.find(
            route, self.resolver, "box.example.com", is_own=lambda address: False
        )
        way = await protection.way(route)
        patience = Patience("box.example.com", 5, 5, str(self.authority.cafile))
        (target,) = protection.allowed(way, found)
        connection = await protection.connect(way, target, patience)
        await connection.quit()
        return connection

    def try_it(self) -> tuple[str, str]:
        """The TLS version that came about or the reason, and the result as counted."""
        protection = self.protection()

        async def attempt() -> str:
            try:
                return (await self.connect(protection)).tls_version
            except DeliveryTrouble as trouble:
                return f"for good: {trouble.say}" if trouble.permanent else trouble.say

        said = asyncio.run(attempt())
        counted = list(protection.results._days.values())
        results = [result for day in counted for result in day]
        return said, " ".join(f"{r.policy_type}:{r.failure}" for r in results)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    with world.https, world.sink:
        world.names()
        yield world


def other_certificate(world: World) -> None:
    world.sink.tls = world.authority.server("other.example")


def expired_certificate(world: World) -> None:
    world.sink.tls = world.authority.server("mx.example.org", expired=True)


def self_signed_certificate(world: World) -> None:
    (world.folder / "foreign").mkdir()
    world.sink.tls = Authority(world.folder / "foreign").server("mx.example.org")


def no_encryption(world: World) -> None:
    world.sink.plan = Plan(starttls=False)


def all_is_well(world: World) -> None:
    return


@pytest.mark.parametrize(
    ("server", "said", "counted"),
    [
        (all_is_well, "TLSv1.3", "sts:"),
        (other_certificate, Say.STS_UNMET, "sts:certificate-host-mismatch"),
        (expired_certificate, Say.STS_UNMET, "sts:certificate-expired"),
        (self_signed_certificate, Say.STS_UNMET, "sts:certificate-not-trusted"),
        (no_encryption, Say.STS_UNMET, "sts:starttls-not-supported"),
    ],
)
def test_a_policy_in_force_is_kept_or_the_mail_waits(
    world: World, server: Callable[[World], None], said: str, counted: str
) -> None:
    server(world)
    assert world.try_it() == (said, counted)


@pytest.mark.parametrize(
    ("server", "said", "counted"),
    [
        (all_is_well, "TLSv1.3", "sts:"),
        (expired_certificate, "TLSv1.3", "sts:certificate-expired"),
        (no_encryption, "", "sts:starttls-not-supported"),
    ],
)
def test_a_policy_on_trial_is_counted_and_the_mail_goes_out(
    world: World, server: Callable[[World], None], said: str, counted: str
) -> None:
    world.https.give(POLICY.replace(b"enforce", b"testing"))
    server(world)
    assert world.try_it() == (said, counted)


def test_a_server_that_the_policy_does_not_name_gets_nothing(world: World) -> None:
    world.https.give(POLICY.replace(b"mx.example.org", b"*.example.net"))
    assert world.try_it() == (Say.STS_NOT_NAMED, "sts:validation-failure")


def test_a_policy_of_none_asks_nothing(world: World) -> None:
    world.https.give(b"version: STSv1\nmode: none\nmax_age: 86400\n")
    expired_certificate(world)
    assert world.try_it() == ("TLSv1.3", "no-policy-found:")


def test_without_policies_what_both_can_is_used(world: World) -> None:
    world.names(published=False)
    expired_certificate(world)
    assert world.try_it() == ("TLSv1.3", "no-policy-found:")
    assert world.https.requests == []
    no_encryption(world)
    assert world.try_it() == ("", "no-policy-found:starttls-not-supported")


@pytest.mark.parametrize(
    ("answer", "failure"),
    [
        (b"HTTP/1.1 301 Moved\r\nLocation: https://evil.example/\r\n\r\n", "fetch-error"),
        (b"HTTP/1.1 404 Not Found\r\nContent-Type: text/plain\r\n\r\nno", "fetch-error"),
        (b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n" + POLICY, "policy-invalid"),
        (b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n<html>", "policy-invalid"),
        (b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n" + b"x" * 300_000, "invalid"),
        (b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n" + POLICY * 1500, "invalid"),
        (b"nonsense", "fetch-error"),
        (b"", "fetch-error"),
    ],
)
def test_what_is_no_policy_file_is_reported_and_not_followed(
    world: World, answer: bytes, failure: str
) -> None:
    world.https.answer = answer
    expired_certificate(world)
    said, counted = world.try_it()
    assert said == "TLSv1.3"
    assert counted.startswith("sts:sts-")
    assert counted.endswith(failure)


def test_a_policy_server_without_a_valid_certificate_is_not_believed(world: World) -> None:
    world.https._context = world.authority.server("other.example")
    assert world.try_it() == ("TLSv1.3", "sts:sts-webpki-invalid")


def run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(work)


def test_a_policy_is_fetched_once_and_again_when_its_id_changes(world: World) -> None:
    async def story() -> None:
        protection = world.protection()
        await asyncio.gather(*(protection.sts.find("example.org") for _ in range(5)))
        await protection.sts.find("example.org")
        assert len(world.https.requests) == 1
        world.names(published=False)
        protection.sts.resolver = FakeResolver(
            A=ADDRESSES, TXT={"_mta-sts.example.org": ["v=STSv1; id=2;"]}
        )
        world.https.give(POLICY.replace(b"enforce", b"testing"))
        found = await protection.sts.find("example.org")
        assert found.policy is not None
        assert found.policy.mode == "testing"
        assert len(world.https.requests) == 2

    run(story())


def test_a_known_policy_outlives_its_record_its_server_and_a_restart(world: World) -> None:
    async def story() -> None:
        await world.protection().sts.find("example.org")
        world.https.answer = b""
        again = world.protection()
        for resolver in (
            FakeResolver(A=ADDRESSES),
            FakeResolver(A=ADDRESSES, fail={"TXT _mta-sts.example.org"}),
            FakeResolver(A=ADDRESSES, TXT={"_mta-sts.example.org": ["v=STSv1; id=9;"]}),
        ):
            again.sts.resolver = resolver
            found = await again.sts.find("example.org")
            assert found.policy is not None
            assert found.policy.mode == "enforce"
        world.clock.advance(86_401)
        again.sts.resolver = FakeResolver(A=ADDRESSES)
        assert (await again.sts.find("example.org")).policy is None

    run(story())


def test_a_failed_fetch_is_not_repeated_at_once_and_a_policy_is_renewed_in_time(
    world: World,
) -> None:
    async def story() -> None:
        keeper = world.protection().sts
        world.https.answer = b""
        for _ in range(3):
            assert (await keeper.find("example.org")).failure
        assert len(world.https.requests) == 1
        world.clock.advance(sts.FAILED_FETCH_SECONDS + 1)
        world.https.give(POLICY)
        assert (await keeper.find("example.org")).policy is not None
        world.clock.advance(86_000)  # it would expire after 86400
        await keeper.refresh()
        world.clock.advance(1_000)
        keeper.resolver = FakeResolver(A=ADDRESSES)
        assert (await keeper.find("example.org")).policy is not None

    run(story())


def test_chunked_answers_are_read() -> None:
    raw = (
        b"HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n3\r\n you\r\n0\r\n\r\n"
    )
    assert sts.body_of(raw[:-4].replace(b"\r\n you", b"\r\nyou") + b"\r\n") == b"helloyou"


# -- DANE -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("record", "said", "counted"),
    [
        ("3 1 1 {leaf_key}", "TLSv1.3", "tlsa:"),
        ("3 0 1 {leaf}", "TLSv1.3", "tlsa:"),
        ("2 0 1 {authority}", "TLSv1.3", "tlsa:"),
        ("3 1 1 {other}", Say.DANE_UNMET, "tlsa:validation-failure"),
        ("2 1 1 {other}", Say.DANE_UNMET, "tlsa:validation-failure"),
        ("1 1 1 {leaf_key}", "TLSv1.3", "tlsa:"),  # unusable: encrypted, whoever it is
    ],
)
def test_signed_keys_say_who_gets_the_mail(
    world: World, record: str, said: str, counted: str
) -> None:
    authority = world.authority.certificate.public_bytes(Encoding.DER)
    text = record.format(
        leaf_key=sha(spki(world.leaf)),
        leaf=sha(world.leaf.public_bytes(Encoding.DER)),
        authority=sha(authority),
        other=sha(b"other"),
    )
    world.names(tlsa=[text], published=False)
    assert world.try_it() == (said, counted)


@pytest.mark.parametrize("record", ["3 1 1 {leaf_key}", "0 0 1 {leaf_key}"])
def test_with_any_signed_keys_nothing_goes_in_the_clear(world: World, record: str) -> None:
    world.names(tlsa=[record.format(leaf_key=sha(spki(world.leaf)))], published=False)
    no_encryption(world)
    assert world.try_it() == (Say.DANE_UNMET, "tlsa:starttls-not-supported")


def test_signed_keys_outweigh_a_policy_either_way(world: World) -> None:
    self_signed_certificate(world)  # the policy would refuse it
    world.names(tlsa=[f"3 1 1 {sha(spki(world.leaf))}"])
    assert world.try_it()[0] == Say.DANE_UNMET  # yet the key is another now
    world.sink.tls = world.authority.server("other.example")
    world.names(tlsa=[f"3 1 1 {sha(spki(world.authority.leaf))}"])
    assert world.try_it() == ("TLSv1.3", "tlsa:")


@pytest.mark.parametrize("unsigned", range(3))
def test_keys_count_only_where_all_answers_are_signed(world: World, unsigned: int) -> None:
    owner = f"_{world.sink.port}._tcp.mx.example.org"
    signed = ["example.org", "mx.example.org", owner]
    del signed[unsigned]
    world.names(tlsa=[f"3 1 1 {sha(b'other')}"], authenticated=set(signed), published=False)
    assert world.try_it() == ("TLSv1.3", "no-policy-found:")


def test_keys_that_cannot_be_looked_up_make_the_mail_wait(world: World) -> None:
    owner = f"_{world.sink.port}._tcp.mx.example.org"
    world.names(fail={f"TLSA {owner}"}, authenticated={*SIGNED, owner}, published=False)
    assert world.try_it()[0] == Say.DANE_TROUBLE


def test_dane_can_be_switched_off(world: World) -> None:
    world.names(tlsa=[f"3 1 1 {sha(b'other')}"], published=False)

    async def story() -> None:
        protection = world.protection()
        protection.use_dane = False
        assert (await world.connect(protection)).tls_version

    run(story())


def test_a_letter_waits_until_the_domain_keeps_its_own_policy(world: World, tmp_path: Path) -> None:
    outside = Outside(
        mx_port=world.sink.port,
        https_port=world.https.port,
        cafile=str(world.authority.cafile),
        is_own=lambda address: False,
    )
    settings = {"relay.trusted_networks": ["127.0.0.1/32"], "mail.relay_domains": []}
    no_encryption(world)
    with (
        RelayBox(tmp_path / "box", settings, resolver=world.resolver, outside=outside) as box,
        SmtpClient("127.0.0.1", box.port()) as client,
    ):
        body = b"Subject: x\r\n\r\nx\r\n"
        assert client.send_message("a@example.com", ["b@example.org"], body).code == 250
        wait_until(lambda: box.events("deferred"), what="a deferral", timeout_seconds=30)
        assert "MTA-STS" in box.events("deferred")[0]
        world.sink.plan = Plan()
        (got,) = world.sink.wait_for_messages(1, timeout_seconds=30)
        assert got.tls
