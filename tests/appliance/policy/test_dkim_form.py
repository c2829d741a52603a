"""The canonical forms, beside those of another implementation."""

import hashlib

import pytest
from dkim import canonicalization
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.policy import dkim_form as form

ORACLES = {"simple": canonicalization.Simple, "relaxed": canonicalization.Relaxed}
BODIES = st.lists(
    st.sampled_from([b" ", b"\t", b"\r\n", b"\r\n\r\n", b"a", b"bc  d", b"=", b"  ", b"."])
).map(lambda parts: b"".join(parts) + b"\r\n")  # as SMTP brings them


def hashed(body: bytes, kind: str, limit: int | None = None, step: int = 65536) -> bytes:
    one = form.BodyHash(kind, limit)
    for at in range(0, len(body), step):
        one.update(body[at : at + step])
    return one.digest()


@settings(max_examples=30, deadline=None)
@given(body=BODIES, kind=st.sampled_from(sorted(ORACLES)), step=st.integers(1, 9))
def test_bodies_are_hashed_like_the_oracle_does_in_whatever_blocks(
    body: bytes, kind: str, step: int
) -> None:
    wanted = ORACLES[kind].canonicalize_body(body)
    if kind == "relaxed" and wanted == b"\r\n":
        wanted = b""  # RFC 6376 errata 1377 and §3.4.4: an empty body stays empty
    assert hashed(body, kind, step=step) == hashlib.sha256(wanted).digest()


@pytest.mark.parametrize(
    ("kind", "body", "canonical"),
    [
        ("simple", b"", b"\r\n"),
        ("relaxed", b"", b""),
        ("simple", b"\r\n\r\n", b"\r\n"),
        ("relaxed", b"\r\n \t\r\n", b""),
        ("simple", b" c \r\nd \t e\r\n\r\n\r\n", b" c \r\nd \t e\r\n"),
        ("relaxed", b" c \r\nd \t e\r\n\r\n\r\n", b" c\r\nd e\r\n"),  # RFC 6376 §3.4.5
        ("relaxed", b"no end", b"no end\r\n"),
        ("relaxed", b"blank at the end \t", b"blank at the end\r\n"),
    ],
)
def test_the_canonical_body(kind: str, body: bytes, canonical: bytes) -> None:
    assert hashed(body, kind) == hashlib.sha256(canonical).digest()


@settings(max_examples=30, deadline=None)
@given(
    value=st.lists(st.sampled_from([b" ", b"\t", b"\r\n ", b"\r\n\t", b"a", b"b;", b"="])).map(
        b"".join
    )
)
def test_relaxed_fields_are_those_of_the_oracle(value: bytes) -> None:
    raw = b"Subject:" + value + b"\r\n"
    [field] = form.fields_of(raw)
    [(name, wanted)] = canonicalization.Relaxed.canonicalize_headers([(b"Subject", raw[8:])])
    assert form.canonical_field(field, "relaxed") == name + b":" + wanted


def test_a_long_run_of_spaces_costs_linear_time() -> None:
    body = b" " * 3_000_000 + b"x\r\n"
    assert hashed(body, "relaxed") == hashlib.sha256(b" x\r\n").digest()
    assert hashed(b"\r\n" * 1_000_000, "relaxed", step=1000) == hashlib.sha256(b"").digest()


def test_limit_hashes_so_many_octets_and_counts_all() -> None:
    one = form.BodyHash("simple", 3)
    one.update(b"abcdef\r\n")
    assert one.digest() == hashlib.sha256(b"abc").digest()
    assert one.length == 8


def test_fields_keep_their_bytes_and_their_order() -> None:
    head = b"A: 1\r\nb : 2\r\n folded\r\nno field\r\nA:3\r\n"
    fields = form.fields_of(head)
    assert [(f.name, f.raw) for f in fields] == [
        ("a", b"A: 1\r\n"),
        ("b", b"b : 2\r\n folded\r\n"),
        ("a", b"A:3\r\n"),
    ]
    assert form.choose(fields, ["a", "a", "a", "b"]) == [fields[2], fields[0], fields[1]]


def test_base64_without_padding_is_read_and_other_letters_are_not() -> None:
    assert form.unbase64("QQ") == form.unbase64("Q Q\r\n ==") == b"A"
    for wrong in ("Q", "Q!Q=", "QQ==QQ==", "Q-Q="):
        with pytest.raises(form.FormError):
            form.unbase64(wrong)


def test_tag_lists() -> None:
    assert form.tags_of(" a=b;\r\n\tc = d e ;") == {"a": "b", "c": "d e"}
    assert form.tags_of("a=") == {"a": ""}
    for wrong in ("a=b;;c=d", "a", "a=b;a=c", "1a=b", "=b", "a=\x00"):
        with pytest.raises(form.FormError):
            form.tags_of(wrong)


@pytest.mark.parametrize(
    "value", [b" a=1; b=xyz; c=2", b"b= x\r\n\ty ;c=2", b"\r\n\tb = q", b"bh=1"]
)
def test_the_signature_is_taken_out_and_nothing_else(value: bytes) -> None:
    [field] = form.fields_of(b"DKIM-Signature:" + value + b"\r\n")
    emptied = form.without_signature(field)
    tags = form.tags_of(emptied.value.decode())
    assert tags == form.tags_of(value.decode()) | ({"b": ""} if "b" in tags else {})
