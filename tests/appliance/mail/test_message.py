"""Finding one's way in message bytes."""

from __future__ import annotations

from appliance.mail.message import (
    count_fields,
    count_received,
    field_values,
    has_only_crlf,
    split_head,
)


def test_the_head_ends_at_the_first_empty_line() -> None:
    assert split_head(b"A: 1\r\nB: 2\r\n\r\nbody\r\n\r\nmore") == (
        b"A: 1\r\nB: 2\r\n",
        b"body\r\n\r\nmore",
    )
    assert split_head(b"\r\nbody") == (b"", b"body")
    assert split_head(b"A: 1\r\n") == (b"A: 1\r\n", b"")


def test_hops_are_counted_in_any_spelling_but_not_inside_a_folded_line() -> None:
    head = b"Received: a\r\nreceived : b\r\nRECEIVED:c\r\nX: d\r\n Received: e\r\n"
    assert count_received(head) == 3
    assert count_fields(head) == 4


def test_values_are_unfolded() -> None:
    assert field_values(b"Subject: a\r\n b\r\nTo: c\r\n", "subject") == ["a b"]


def test_a_newline_that_stands_alone_is_seen() -> None:
    assert has_only_crlf(b"a\r\nb\r\n")
    for block in (b"a\nb", b"a\rb", b"a\r\r\nb", b"\n\r"):
        assert not has_only_crlf(block)
