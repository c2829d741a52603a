"""The grammar of SPF records (RFC 7208 §12), and that nothing in one can hurt."""

from __future__ import annotations

import contextlib
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.policy import spf_record
from appliance.policy.spf_record import SpfSyntaxError

PIECES = [
    *("v=spf1", " ", "+", "-", "all", "include:", "a", "mx", "ptr", "ip4:", "ip6:", "exists:"),
    *("redirect=", "exp=", "/", "//", "24", "%{", "}", "d", "1", "r", "%%", "%", ".", "é", ":"),
    *("example.com", "192.0.2.1", "2001:db8::1", "\t", "\0", "x" * 70),
]


@pytest.mark.parametrize(
    "term",
    [
        *("all", "-ALL", "a", "a/24", "a//64", "a/24//64", "a:%{d}/0//0", "mx:a.example/24//64"),
        *("ptr", "ptr:example.com", "ip4:192.0.2.1/0", "ip6:::/0", "ip6:::ffff:192.0.2.1/96"),
        *("exists:%{ir}.sbl.example", "include:%{d2}", "A:a/b.example.com", "a:%{d/}"),
        *("redirect=a.example", "exp=%{l}.a.example", "x-y.z_1=", "unknown=%{c}"),
    ],
)
def test_terms_within_the_grammar_are_read(term: str) -> None:
    record = spf_record.parse(f"v=spf1 {term}  ")
    assert len(record.mechanisms) == ("=" not in term)


@pytest.mark.parametrize(
    "term",
    [
        *("all:x", "all/8", "all.", "include", "include:", "include:com", "include/24", "exists"),
        *("a:", "a/33", "a/024", "a/", "a//", "a//129", "a/24/64", "a///64", "a:com", "a:b.c/x"),
        *("ptr/24", "ptr:", "ip4", "ip4:", "ip4:1.2.3", "ip4:1.2.3.4/33", "ip4:1.2.3.4/"),
        *(
            "ip4:01.2.3.4",
            "ip4:1.2.3.4//32",
            "ip4:::1",
            "ip6:1.2.3.4",
            "ip6:::1%eth0",
            "ip6:::/129",
        ),
        *(
            "redirect=",
            "redirect=com",
            "exp=",
            "+redirect=a.example",
            "1a=b",
            "=",
            "a=%{z}",
            "a\tb",
        ),
        *("++all", "*all", "foo", "foo:bar.example", "redirect:a.example", "exp:a.example"),
    ],
)
def test_terms_outside_the_grammar_are_refused(term: str) -> None:
    with pytest.raises(SpfSyntaxError):
        spf_record.parse(f"v=spf1 {term}")


@pytest.mark.parametrize("name", ["redirect", "exp"])
def test_a_modifier_may_stand_once(name: str) -> None:
    with pytest.raises(SpfSyntaxError):
        spf_record.parse(f"v=spf1 {name}=a.example {name.upper()}=a.example")


@settings(max_examples=40, deadline=None)
@given(
    st.one_of(
        st.text(max_size=200),
        st.lists(st.sampled_from(PIECES), max_size=40).map("".join),
    )
)
def test_any_text_is_read_or_refused_in_words(text: str) -> None:
    with contextlib.suppress(SpfSyntaxError):
        spf_record.parse("v=spf1 " + text)
    with contextlib.suppress(SpfSyntaxError):
        spf_record.parse(text)


@pytest.mark.parametrize("piece", ["a:" + "/1" * 50, "%{d/}", "a.", "-a", " a", "%", "x=%%", "1."])
def test_the_longest_record_is_read_at_once(piece: str) -> None:
    text = ("v=spf1 a:" + piece * spf_record.MAX_RECORD_OCTETS)[: spf_record.MAX_RECORD_OCTETS]
    started = time.process_time()
    with contextlib.suppress(SpfSyntaxError):
        spf_record.parse(text)
    assert time.process_time() - started < 0.5
    with pytest.raises(SpfSyntaxError):
        spf_record.parse(text + " " * spf_record.MAX_RECORD_OCTETS)


def test_what_is_said_about_a_bad_term_is_visible_ascii() -> None:
    with pytest.raises(SpfSyntaxError) as caught:
        spf_record.parse("v=spf1 ip4:\r\n\x1b[2Jé")
    assert "\r" not in str(caught.value)
    assert "\x1b" not in str(caught.value)
