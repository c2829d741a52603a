"""The text of DMARC records (RFC 7489 §6.3, §6.4, RFC 9989 §4.7)."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.policy import dmarc_record
from appliance.policy.dmarc_record import POLICIES, Record

PIECES = [
    *("v=DMARC1", ";", " ", "p=", "sp=", "np=", "none", "quarantine", "reject", "pct=", "50"),
    *("rua=", "mailto:a@b.example", ",", "adkim=", "aspf=", "r", "s", "t=", "psd=", "y", "n"),
    *("=", "é", "\0", "\n", "9" * 5000, "fo=1", ":"),
]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("v=DMARC1; p=none", True),
        ("v=DMARC1;p=none;", True),
        ("v = DMARC1 ; p = none", True),
        ("V=DMARC1; p=none", True),
        ("v=DMARC1", True),
        ("v=dmarc1; p=none", False),
        (" v=DMARC1; p=none", False),
        ("v=DMARC1 p=none", False),
        ("v=DMARC12; p=none", False),
        ("p=none; v=DMARC1", False),
        ("v=spf1 -all", False),
        ("", False),
    ],
)
def test_the_version_comes_first_and_is_exact(text: str, wanted: bool) -> None:
    assert dmarc_record.is_dmarc(text) is wanted


@pytest.mark.parametrize(
    ("tags", "record"),
    [
        ("p=reject", Record(p="reject")),
        ("P=Reject", Record(p="reject")),
        ("p = reject ; sp\t=\tnone", Record(p="reject", sp="none")),
        ("p=none;np=reject", Record(p="none", np="reject")),
        ("p=reject; adkim=s; aspf=S", Record(p="reject", strict_dkim=True, strict_spf=True)),
        ("p=reject; adkim=x; aspf=", Record(p="reject")),
        ("p=reject; pct=0", Record(p="reject", percent=0)),
        ("p=reject; pct=101", Record(p="reject")),
        ("p=reject; pct=-1", Record(p="reject")),
        ("p=reject; pct=5%", Record(p="reject")),
        ("p=reject; t=y; psd=n", Record(p="reject", testing=True, psd="n")),
        ("p=reject; t=x; psd=x", Record(p="reject")),
        ("p=reject; unknown=1; nonsense; =; ;;", Record(p="reject")),
        ("sp=reject; p=none", Record(p="none", sp="reject")),  # RFC 9989: in any order
        ("", None),
        ("p=", None),
        ("p=maybe", None),
        ("p=none; p=reject", None),
        ("p=reject; sp=maybe", None),
        ("p=reject; np=maybe", None),
        ("rua=mailto:a@b.example", Record(p="none")),
        ("p=maybe; rua=mailto:a@b.example", Record(p="none")),
        ("p=reject; sp=maybe; rua=x, mailto:a@b.example", Record(p="none")),
        ("p=maybe; rua=a@b.example", None),
    ],
)
def test_each_tag_says_what_it_may_and_nothing_else(tags: str, record: Record | None) -> None:
    assert dmarc_record.parse(f"v=DMARC1; {tags}") == record


def test_softened_is_one_step() -> None:
    assert [dmarc_record.softened(policy) for policy in POLICIES] == ["none", "none", "quarantine"]


@settings(max_examples=40, deadline=None)
@given(
    st.one_of(st.text(max_size=200), st.lists(st.sampled_from(PIECES), max_size=30).map("".join))
)
def test_any_text_is_read_or_says_nothing(text: str) -> None:
    for record in (dmarc_record.parse(text), dmarc_record.parse(f"v=DMARC1; p=reject; {text}")):
        assert record is None or (record.p in POLICIES and 0 <= record.percent <= 100)


@pytest.mark.parametrize("piece", [";", "=", "p=none;", "v ", " ", "rua=a:b,", ",", "\t;"])
def test_a_record_of_the_greatest_length_is_read_at_once(piece: str) -> None:
    text = ("v=DMARC1; rua=" + piece * 65_535)[:65_535]
    started = time.process_time()
    dmarc_record.is_dmarc(text)
    dmarc_record.parse(text)
    dmarc_record.is_dmarc("v" + " " * 65_000)
    assert time.process_time() - started < 0.5
