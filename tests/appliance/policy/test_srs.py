"""Rewritten senders come back, and only ours do."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.mail.address import Address, parse
from appliance.policy import srs

NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
SECRET = b"a secret of the box"
OURS = "box.example"
DOMAINS = ("example.com", "Mail.EXAMPLE.com", "[192.0.2.1]", "[IPv6:2001:db8::1]", "a.b.c.example")

locals_plain = st.from_regex(
    r"[A-Za-z0-9!#$%&'*+\-/=?^_`{|}~]{1,20}(\.[A-Za-z0-9=+\-]{1,9})?", fullmatch=True
)
locals_quoted = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20).map(
    lambda text: '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
)
senders = st.builds(
    lambda local, domain: parse(f"{local}@{domain}"),
    locals_plain | locals_quoted | st.just("jürgen"),
    st.sampled_from(DOMAINS),
)


def forwarded(sender: Address, now: datetime = NOW) -> Address:
    return srs.forward(sender, domain=OURS, secret=SECRET, now=now)


def reversed_(address: Address, now: datetime = NOW, secret: bytes = SECRET) -> Address | None:
    return srs.reverse(address, domains={OURS}, secret=secret, now=now)


def is_forwarded_once(sender: Address) -> bool:
    return not sender.local.lstrip('"').upper().startswith(("SRS0", "SRS1"))


@settings(max_examples=20)
@given(senders.filter(is_forwarded_once))
def test_what_goes_comes_back(sender: Address) -> None:
    address = forwarded(sender)
    assert address.domain_key == OURS
    assert parse(str(address)) == address
    assert reversed_(address) == sender


@settings(max_examples=20)
@given(senders, st.data())
def test_a_changed_address_is_nobodys(sender: Address, data: st.DataObject) -> None:
    local = forwarded(sender).local
    at = data.draw(st.integers(5, len(local) - 1))
    letter = data.draw(st.sampled_from("aZ3=.x"))
    changed = local[:at] + letter + local[at + 1 :]
    if changed.lower() != local.lower():
        assert reversed_(Address(changed, OURS, OURS)) is None


@settings(max_examples=20)
@given(st.text(max_size=60))
def test_nonsense_is_nobodys(text: str) -> None:
    for front in ("", "SRS0=", "SRS1=", "SRS0", '"SRS0='):
        assert reversed_(Address(front + text, OURS, OURS)) is None


def test_an_address_of_the_usual_kind() -> None:
    local = forwarded(parse("anna@example.com")).local
    assert local.startswith("SRS0=")
    assert local.endswith("=example.com=anna")
    assert len(local) <= 64


def test_a_server_that_changes_the_case_does_no_harm() -> None:
    sender = parse("Anna@example.com")
    address = forwarded(sender)
    for local in (address.local.upper(), address.local.lower()):
        back = reversed_(Address(local, OURS, OURS))
        assert back is not None
        assert str(back).lower() == "anna@example.com"


@pytest.mark.parametrize(
    ("days", "lives"), [(0, True), (21, True), (22, False), (900, False), (-1, True), (-2, False)]
)
def test_an_address_dies_after_three_weeks(days: int, lives: bool) -> None:
    address = forwarded(parse("anna@example.com"))
    assert (reversed_(address, NOW + timedelta(days=days)) is not None) == lives


def test_another_secret_or_another_domain_is_not_ours() -> None:
    address = forwarded(parse("anna@example.com"))
    assert reversed_(address, secret=b"another") is None
    assert srs.reverse(address, domains={"other.example"}, secret=SECRET, now=NOW) is None
    assert reversed_(parse("anna@box.example")) is None


def test_a_forward_of_a_forward_goes_back_to_the_first_forwarder() -> None:
    first = srs.forward(parse("anna@example.com"), domain="one.example", secret=b"1", now=NOW)
    second = srs.forward(first, domain="two.example", secret=b"2", now=NOW)
    third = srs.forward(second, domain="three.example", secret=b"3", now=NOW)
    assert second.local.startswith("SRS1=")
    assert third.local.count("SRS") == 1
    assert len(third.local) == len(second.local)
    back = srs.reverse(third, domains={"three.example"}, secret=b"3", now=NOW)
    assert back == first
    assert back is not None
    home = srs.reverse(back, domains={"one.example"}, secret=b"1", now=NOW)
    assert home == parse("anna@example.com")
    assert srs.reverse(third, domains={"three.example"}, secret=b"2", now=NOW) is None


def test_long_addresses_are_taken_back() -> None:
    sender = parse("x" * 64 + "@a-rather-long-domain.example.com")
    assert reversed_(parse(str(forwarded(sender)))) == sender


def test_what_looks_like_one() -> None:
    assert srs.is_srs(forwarded(parse("anna@example.com")))
    assert srs.is_srs(forwarded(parse('"a b"@example.com')))
    assert not srs.is_srs(parse("srs@example.com"))
