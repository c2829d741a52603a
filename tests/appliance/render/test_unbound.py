"""unbound itself with the rendered file, asking a forwarder that serves private zones."""

import asyncio
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.dns.live import LiveResolver
from appliance.dns.resolver import MX, Answer, DnsError, NoSuchName
from appliance.render import unbound
from appliance.settings import schema
from tests.support.applied_box import facts_of
from tests.support.dns_server import DnsServer
from tests.support.ports import free_ports
from tests.support.wait import wait_until

pytestmark = pytest.mark.skipif(shutil.which("unbound") is None, reason="unbound is not installed")

ZONES = {
    "example.com": {"MX": ["10 mx.example.com."]},
    "mx.example.com": {"A": ["10.1.2.3"]},
    "office.test": {"A": ["192.168.7.7"]},
    "3.2.1.10.in-addr.arpa": {"PTR": ["mx.example.com."]},
    "localhost.office.example": {"A": ["127.0.0.1"]},
}


@pytest.fixture
def resolver(tmp_path: Path) -> Iterator[LiveResolver]:
    """A resolver that asks unbound, which asks a server that has ZONES and no signatures."""
    (port,) = free_ports(1)
    with DnsServer(ZONES) as forwarder:
        settings = schema.from_json({"box.dns_forwarders": [f"127.0.0.1@{forwarder.port}"]})
        text = unbound.render(settings, facts_of(tmp_path))[unbound.FILE].decode()
        text = text.replace("interface: 127.0.0.1", f"interface: 127.0.0.1@{port}")
        text = text.replace('username: "unbound"', 'username: ""')
        file = tmp_path / "unbound.conf"
        file.write_text(text)
        process = subprocess.Popen(["unbound", "-d", "-p", "-c", str(file)])
        try:
            resolver = LiveResolver("127.0.0.1", port, lifetime_seconds=10)
            wait_until(
                lambda: ask(resolver, "mx.example.com", "A"), what="unbound", ignore=(DnsError,)
            )
            yield resolver
        finally:
            process.terminate()
            process.wait(20)


def ask(resolver: LiveResolver, name: str, kind: str) -> Answer:
    return asyncio.run(resolver.query(name, kind))


def test_private_zones_of_a_forwarder_are_answered_without_signatures(
    resolver: LiveResolver,
) -> None:
    assert ask(resolver, "example.com", "MX").records == (MX(10, "mx.example.com"),)
    assert ask(resolver, "mx.example.com", "A").records == ("10.1.2.3",)
    assert ask(resolver, "office.test", "A").records == ("192.168.7.7",)
    assert ask(resolver, "localhost.office.example", "A").records == ("127.0.0.1",)


def test_the_reverse_names_of_private_addresses_are_asked_of_the_forwarder(
    resolver: LiveResolver,
) -> None:
    assert "mx.example.com" in str(ask(resolver, "3.2.1.10.in-addr.arpa", "PTR").records)


def test_a_name_that_is_not_there_is_not_there(resolver: LiveResolver) -> None:
    with pytest.raises(NoSuchName):
        ask(resolver, "nothing.example.com", "A")
