"""Addresses: what is one, what is none, and that text survives."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.mail.address import Address, AddressError, domain_key, parse, parse_path

GOOD = [
    "a@b", "a.b.c@example.org", "o'neil+tag=1@example.org", '"a b"@example.org',
    r'"a\"b"@example.org', '"a@b"@example.org', '""@example.org', "a@[192.0.2.1]",
    "a@[IPv6:2001:db8::1]", "jürgen@bücher.example", "a" * 64 + "@example.org",
    "a@xn--bcher-kva.example", "!#$%&'*+-/=?^_`{|}~@example.org",
]  # fmt: skip
BAD = [
    "", "a", "@b", "a@", "a b@c", "a..b@c", ".a@b", "a.@b", "a@b..c", "a@-b", "a@b-", "a@b_c",
    "a@.b", "a@b.", "a@[1.2.3.4", "a@1.2.3.4]", "a@[1.2.3]", "a@[1.2.3.4.5]", "a@[IPv6:::g]",
    "a@[IPv6:fe80::1%eth0]", "a@b@c", '"a@b', 'a"b"@c', '"a"b@c', "a(c)@b", "a,b@c", "a@b,c@d",
    "a" * 65 + "@b", "a@" + "b" * 64, "a@" + "b." * 130 + "c", "a\0b@c", "a\r\n@b", "a@b\n",
    "a\x7f@b", "a\u202e@b", "a\u0085@b", "a@b\u2028", "a@b c", "a;b@c", "a:b@c", "<a@b>",
]  # fmt: skip


@pytest.mark.parametrize("text", GOOD)
def test_what_is_an_address_is_kept_to_the_letter(text: str) -> None:
    assert str(parse(text)) == text


@pytest.mark.parametrize("text", BAD)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(AddressError):
        parse(text)


def test_the_null_path_is_none() -> None:
    assert parse_path("") is None


def test_a_source_route_is_dropped_and_a_malformed_one_refused() -> None:
    assert parse_path("@a.example,@b.example:c@d.example") == Address("c", "d.example", "d.example")
    with pytest.raises(AddressError):
        parse_path("@a.example c@d.example")


def test_domains_compare_by_their_ascii_form_in_lower_case() -> None:
    assert parse("a@BÜCHER.example").domain_key == parse("a@xn--bcher-kva.EXAMPLE").domain_key
    assert domain_key("Example.ORG") == "example.org"
    assert parse("a@[IPv6:2001:DB8:0::1]").domain_key == "[ipv6:2001:db8::1]"


def test_an_international_domain_is_written_in_ascii_for_an_older_peer() -> None:
    assert parse("a@bücher.example").for_ascii_peer() == "a@xn--bcher-kva.example"


@given(st.text(max_size=80))
def test_any_text_is_an_address_or_a_clean_refusal(text: str) -> None:
    try:
        address = parse_path(text)
    except AddressError:
        return
    if address is not None:
        shown = str(address)
        assert not any(c in shown for c in "\r\n\0<> ") or shown.startswith('"')
        assert address.domain_key == address.domain_key.lower()


@given(st.from_regex(r"[a-z0-9.+-]{1,20}@[a-z0-9.-]{1,30}", fullmatch=True))
def test_reading_what_was_written_gives_the_same(text: str) -> None:
    try:
        address = parse(text)
    except AddressError:
        return
    assert parse(str(address)) == address
