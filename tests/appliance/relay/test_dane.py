"""DANE end to end: zones that are really signed, unbound that validates, a server with TLS."""

import asyncio
import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from appliance.dns.live import LiveResolver
from appliance.relay.reasons import Say
from appliance.relay.worker import Outside
from tests.support.relay_box import RelayBox
from tests.support.signed_zones import SignedZones, Zone
from tests.support.smtp_client import SmtpClient
from tests.support.smtp_sink import Plan, SmtpSink
from tests.support.tls import Authority
from tests.support.wait import wait_until

pytestmark = pytest.mark.full

OTHER = hashlib.sha256(b"another server's key").hexdigest()
_PROOFS = {"RRSIG", "NSEC", "DNSKEY"}


def without_signatures(text: str) -> str:
    """As somebody on the way would pass a zone on, who wants to be believed."""
    return "\n".join(line for line in text.splitlines() if not _PROOFS & set(line.split()))


class World:
    """The zones of several domains; all of them have the one mail server `sink`."""

    def __init__(self, folder: Path) -> None:
        authority = Authority(folder)
        # A name that is not the server's, of an authority that nobody knows: only DANE vouches.
        self.sink = SmtpSink(tls=authority.server("whatever.invalid"))
        key = authority.leaf.public_key()
        spki = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        self.digest = hashlib.sha256(spki).hexdigest()
        self.resolver: LiveResolver

    def zones(self) -> list[Zone]:
        def records(digest: str) -> tuple[str, ...]:
            owner = f"_{self.sink.port}._tcp.mx"
            return "@ MX 10 mx", "mx A 127.0.0.1", f"{owner} TLSA 3 1 1 {digest}"

        good, wrong = records(self.digest), records(OTHER)
        return [
            Zone("good.example", good),
            Zone("wrong.example", wrong),
            # Somebody puts the key of this server in the place of another's.
            Zone("altered.example", wrong, after=lambda text: text.replace(OTHER, self.digest)),
            Zone("expired.example", good, has_expired=True),
            Zone("stripped.example", good, after=without_signatures),
            Zone("keyless.example", good[:2]),
            Zone("unsigned.example", wrong, is_signed=False),
        ]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("dane")
    world = World(folder)
    with world.sink, SignedZones(folder, world.zones()) as zones:
        world.resolver = LiveResolver("127.0.0.1", zones.port, lifetime_seconds=10)
        yield world


@pytest.fixture
def box(world: World, tmp_path: Path) -> Iterator[RelayBox]:
    world.sink.plan = Plan()
    world.sink.messages.clear()
    outside = Outside(mx_port=world.sink.port, is_own=lambda address: False)
    settings = {"relay.trusted_networks": ["127.0.0.1/32"], "mail.relay_domains": []}
    with RelayBox(tmp_path, settings, resolver=world.resolver, outside=outside) as box:
        yield box


def send(box: RelayBox, domain: str) -> None:
    with SmtpClient("127.0.0.1", box.port()) as client:
        body = b"Subject: x\r\n\r\nx\r\n"
        assert client.send_message("a@example.com", [f"b@{domain}"], body).code == 250


def results(box: RelayBox) -> str:
    """What the TLS reports will tell: policy and failure."""
    days = box.worker.protection.results._days.values()
    return " ".join(f"{one.policy_type}:{one.failure}" for day in days for one in day)


def test_the_signed_key_lets_the_mail_go_to_a_server_that_nobody_else_would_vouch_for(
    world: World, box: RelayBox
) -> None:
    send(box, "good.example")
    (got,) = world.sink.wait_for_messages(1, timeout_seconds=30)
    assert got.tls
    assert results(box) == "tlsa:"


def test_another_key_than_the_signed_one_makes_the_mail_wait(world: World, box: RelayBox) -> None:
    send(box, "wrong.example")
    wait_until(lambda: box.events("deferred"), what="a deferral", timeout_seconds=30)
    assert Say.DANE_UNMET in box.events("deferred")[0]
    assert world.sink.messages == []
    assert results(box) == "tlsa:validation-failure"


@pytest.mark.parametrize("domain", ["good.example", "wrong.example"])
def test_a_signed_key_and_no_encryption_make_the_mail_wait(
    world: World, box: RelayBox, domain: str
) -> None:
    world.sink.plan = Plan(starttls=False)
    send(box, domain)
    wait_until(lambda: box.events("deferred"), what="a deferral", timeout_seconds=30)
    assert Say.DANE_UNMET in box.events("deferred")[0]
    assert world.sink.messages == []


@pytest.mark.parametrize(
    ("domain", "say"),
    [
        ("altered.example", Say.DANE_TROUBLE),
        ("expired.example", Say.NAME_TROUBLE),
        ("stripped.example", Say.NAME_TROUBLE),
    ],
)
def test_what_bears_no_valid_signature_makes_the_mail_wait_and_does_not_expose_it(
    world: World, box: RelayBox, domain: str, say: str
) -> None:
    send(box, domain)
    wait_until(lambda: box.events("deferred"), what="a deferral", timeout_seconds=30)
    assert say in box.events("deferred")[0]
    assert world.sink.messages == []


@pytest.mark.parametrize("domain", ["unsigned.example", "keyless.example"])
@pytest.mark.parametrize("encrypted", [True, False])
def test_where_no_key_is_signed_the_mail_goes_as_both_sides_can(
    world: World, box: RelayBox, domain: str, encrypted: bool
) -> None:
    world.sink.plan = Plan(starttls=encrypted)
    send(box, domain)
    (got,) = world.sink.wait_for_messages(1, timeout_seconds=30)
    assert got.tls is encrypted
    assert results(box).startswith("no-policy-found:")


def test_without_dane_another_key_would_hold_nothing_up(world: World, box: RelayBox) -> None:
    box.take({"outbound.dane": "off"})
    send(box, "wrong.example")
    assert world.sink.wait_for_messages(1, timeout_seconds=30)


def test_the_validator_tells_the_zones_apart(world: World) -> None:
    def is_signed(domain: str) -> bool:
        return asyncio.run(world.resolver.query(domain, "MX")).authenticated

    assert is_signed("good.example")
    assert not is_signed("unsigned.example")
