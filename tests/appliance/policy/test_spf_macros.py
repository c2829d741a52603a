"""Macro strings (RFC 7208 §7)."""

from __future__ import annotations

import pytest

from appliance.policy import spf_macros
from appliance.policy.spf_macros import MacroError

# RFC 7208 §7.4: strong-bad@email.example.com from 192.0.2.3.
VALUES = {
    "s": "strong-bad@email.example.com",
    "l": "strong-bad",
    "o": "email.example.com",
    "d": "email.example.com",
    "i": "192.0.2.3",
    "v": "in-addr",
    "h": "mail.example.com",
    "p": "mx.example.org",
}


@pytest.mark.parametrize(
    ("macro", "text"),
    [
        ("%{s}", "strong-bad@email.example.com"),
        ("%{o}", "email.example.com"),
        ("%{d}", "email.example.com"),
        ("%{d4}", "email.example.com"),
        ("%{d3}", "email.example.com"),
        ("%{d2}", "example.com"),
        ("%{d1}", "com"),
        ("%{dr}", "com.example.email"),
        ("%{d2r}", "example.email"),
        ("%{l}", "strong-bad"),
        ("%{l-}", "strong.bad"),
        ("%{lr}", "strong-bad"),
        ("%{lr-}", "bad.strong"),
        ("%{l1r-}", "strong"),
        ("%{ir}.%{v}._spf.%{d2}", "3.2.0.192.in-addr._spf.example.com"),
        ("%{lr-}.lp._spf.%{d2}", "bad.strong.lp._spf.example.com"),
        ("%{lr-}.lp.%{ir}.%{v}._spf.%{d2}", "bad.strong.lp.3.2.0.192.in-addr._spf.example.com"),
        ("%{ir}.%{v}.%{l1r-}.lp._spf.%{d2}", "3.2.0.192.in-addr.strong.lp._spf.example.com"),
        ("%{d2}.trusted-domains.example.net", "example.com.trusted-domains.example.net"),
        ("a%%b%_c%-d", "a%b c%20d"),
        ("%{S}", "strong-bad%40email.example.com"),
        ("%{D128}%{d99999999999}%{D002}", "email.example.comemail.example.comexample.com"),
        ("%{s1r@}", None),
    ],
)
def test_the_examples_of_the_standard_expand_as_it_says(macro: str, text: str | None) -> None:
    if text is None:
        with pytest.raises(MacroError):
            spf_macros.parse(macro)
    else:
        assert spf_macros.parse(macro).text(VALUES) == text


@pytest.mark.parametrize(
    "text",
    ["%", "%{", "%{d", "%{}", "%{dd}", "%{d0}", "%{x}", "%{c}", "%{t}", "%{r}", "%a", "a b", "é"],
)
def test_what_is_no_macro_string_is_refused(text: str) -> None:
    with pytest.raises(MacroError):
        spf_macros.parse(text)


@pytest.mark.parametrize(
    "text", ["example.com", "example.com.", "%{d}", "a.%{i}", "x.b-c", "a.%%", "a/b.com", "_a.x1"]
)
def test_a_domain_ends_in_a_top_label_or_a_macro(text: str) -> None:
    assert spf_macros.parse_domain_spec(text).tokens


@pytest.mark.parametrize(
    "text", ["", "com", "example.", "a.com..", "a.1", "a.com-", "%{d}com", "%%-", "a.-b", "."]
)
def test_other_endings_are_refused(text: str) -> None:
    with pytest.raises(MacroError):
        spf_macros.parse_domain_spec(text)


def test_a_long_name_keeps_its_right_end_and_a_long_text_its_left() -> None:
    long = spf_macros.parse("%{s}." * 4000 + "end.example")
    name = long.name(VALUES)
    assert len(name) <= 253
    assert name.endswith("@email.example.com.end.example")
    assert name.split(".")[0] in {"strong-bad@email", "example", "com"}
    assert len(long.text(VALUES)) == 512


def test_a_name_of_one_long_label_becomes_no_name() -> None:
    assert spf_macros.parse("a" * 300).name(VALUES) == ""
