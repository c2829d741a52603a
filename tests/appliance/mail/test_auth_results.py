"""One field out, whatever goes in; and nobody else speaks in our name."""

import re

import authres
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.mail import auth_results
from appliance.mail.message import count_fields

OURS = "mail.example.com"
ANYTHING = st.text(max_size=40) | st.binary(max_size=40)
NAMES = st.sampled_from(["reason", "smtp.mailfrom", "header.d", "not a name", "policy.x-y"])


def test_a_field_of_the_usual_kind() -> None:
    made = auth_results.field(
        OURS,
        [
            ("spf", "pass", {"smtp.mailfrom": "anna@example.com"}),
            ("dkim", "fail", {"reason": 'the "body" changed', "header.d": "example.com"}),
            ("iprev", "none", {"policy.iprev": "2001:db8::1"}),
        ],
    )
    assert made == (
        b"Authentication-Results: mail.example.com;\r\n"
        b"\tspf=pass smtp.mailfrom=anna@example.com;\r\n"
        b'\tdkim=fail reason="the \\"body\\" changed" header.d=example.com;\r\n'
        b'\tiprev=none policy.iprev="2001:db8::1"\r\n'
    )


def test_another_reader_reads_what_we_write() -> None:
    made = auth_results.field(
        OURS,
        [
            ("spf", "pass", {"smtp.mailfrom": "anna@example.com"}),
            ("dkim", "fail", {"reason": "a reason; (bad)", "header.d": "example.com"}),
        ],
    )
    read = authres.AuthenticationResultsHeader.parse(made.decode().strip())
    assert read.authserv_id == OURS
    assert [(r.method, r.result) for r in read.results] == [("spf", "pass"), ("dkim", "fail")]
    assert read.results[1].reason == "a reason; (bad)"
    assert read.results[1].properties[0].value == "example.com"


def test_without_results_it_says_none() -> None:
    assert auth_results.field(OURS, []) == b"Authentication-Results: mail.example.com; none\r\n"


@settings(max_examples=20)
@given(
    authserv_id=st.text(max_size=30),
    results=st.lists(
        st.tuples(
            st.sampled_from(["spf", "dkim"]) | st.text(max_size=9),
            st.sampled_from(["pass", "fail"]) | st.text(max_size=9),
            st.dictionaries(NAMES | st.text(max_size=9), ANYTHING, max_size=4),
        ),
        max_size=4,
    ),
)
def test_any_input_makes_exactly_one_field(authserv_id: str, results: list) -> None:  # type: ignore[type-arg]
    made = auth_results.field(authserv_id, results)
    assert count_fields(made) == 1
    assert made.endswith(b"\r\n")
    assert re.fullmatch(rb"(?:[\t -~]+\r\n)+", made)
    lines = made.split(b"\r\n")[1:-1]
    assert all(line[:1] == b"\t" and line.strip() for line in lines)
    assert max(map(len, made.split(b"\r\n"))) < 998
    # Outside quotes there are as many results as went in, and no comment is opened.
    bare = re.sub(rb'"(?:[^"\\]|\\.)*"', b"", made)
    assert bare.count(b";") == max(1, len(results))
    assert not re.search(rb'["()\\]', bare)


FORGED = [
    b"Authentication-Results: mail.example.com; dkim=pass",
    b"authentication-RESULTS: MAIL.Example.COM; dkim=pass",
    b"Authentication-Results : mail.example.com; dkim=pass",
    b"Authentication-Results:mail.example.com;dkim=pass",
    b"Authentication-Results: mail.example.com 1; dkim=pass",
    b"Authentication-Results: mail.example.com  99 ; dkim=pass",
    b"Authentication-Results: mail.example.com.; dkim=pass",
    b"Authentication-Results:\r\n mail.example.com;\r\n\tdkim=pass",
    b"Authentication-Results:\r\n\tmail.example.com\r\n\t1;\r\n\tdkim=pass",
    b"Authentication-Results: (a comment) mail.example.com; dkim=pass",
    b"Authentication-Results: (a (nested) one; here) mail.example.com; dkim=pass",
    b"Authentication-Results: (\\) tricky) mail.example.com; dkim=pass",
    b"Authentication-Results: mail.example.com (c) 1 (d); dkim=pass",
    b"Authentication-Results: mail(c).example.com; dkim=pass",
    b'Authentication-Results: "mail.example.com"; dkim=pass',
    b'Authentication-Results: "mail\\.example.com"; dkim=pass',
    b'Authentication-Results: "mail".example.com; dkim=pass',
    b"Authentication-Results: mail.example.com dkim=pass",
    b"Authentication-Results: mail.example.com",
    b"Authentication-Results: mail.example.com; none",
    b"Authentication-Results: ; mail.example.com; dkim=pass",
    b"Authentication-Results: (open mail.example.com; dkim=pass",
    b'Authentication-Results: "open mail.example.com; dkim=pass',
    b"Authentication-Results: mail .example.com; dkim=pass",
    b"Authentication-Results: mail.example.com x; dkim=pass",
    b"Authentication-Results: mail.exam\r\n ple.com; dkim=pass",
]
HONEST = [
    b"Authentication-Results: mx.example.org; dkim=pass",
    b"Authentication-Results: mail.example.com.evil.example; dkim=pass",
    b"Authentication-Results: notmail.example.com; dkim=pass",
    b"Authentication-Results: mx.example.org; dkim=pass header.d=mail.example.com",
    b"Authentication-Results: mx.example.org (for mail.example.com); dkim=pass",
    b"ARC-Authentication-Results: i=1; mail.example.com; dkim=pass",
    b"X-Authentication-Results: mail.example.com; dkim=pass",
    b"Subject: Authentication-Results: mail.example.com; dkim=pass",
]


@pytest.mark.parametrize("field", FORGED)
def test_our_name_is_taken_away(field: bytes) -> None:
    head = b"From: a@example.org\r\n" + field + b"\r\nTo: b@example.com\r\n"
    kept = auth_results.without_forged(head, OURS)
    assert kept == b"From: a@example.org\r\nTo: b@example.com\r\n"


@pytest.mark.parametrize("field", HONEST)
def test_others_are_left_alone(field: bytes) -> None:
    head = b"From: a@example.org\r\n" + field + b"\r\nTo: b@example.com\r\n"
    assert auth_results.without_forged(head, OURS) == head


def test_a_field_whose_name_is_folded_is_found() -> None:
    head = b"Authentication-Results\r\n : mail.example.com; dkim=pass\r\nTo: b\r\n"
    assert auth_results.without_forged(head, OURS) == b"To: b\r\n"


def test_international_names_are_the_same_in_both_forms() -> None:
    head = "Authentication-Results: Müller.example; dkim=pass\r\n".encode()
    assert auth_results.without_forged(head, "xn--mller-kva.example") == b""


@settings(max_examples=30)
@given(
    st.lists(
        st.sampled_from(
            [
                b"Authentication-Results: ",
                b"mail.example.com",
                b"\r\n",
                b" ",
                b";",
                b"(",
                b'"',
                b"x: y",
                b"\\",
            ]
        )
    ).map(b"".join)
)
def test_whatever_the_head_nothing_else_is_lost(head: bytes) -> None:
    kept = auth_results.without_forged(head, OURS)
    assert auth_results.without_forged(kept, OURS) == kept
    assert kept.count(b"x: y") == head.count(b"x: y") or b"authentication-results" in head.lower()


def test_what_we_write_we_take_away_again() -> None:
    made = auth_results.field(OURS, [("dkim", "pass", {"header.d": "example.com"})])
    assert auth_results.without_forged(made + b"To: b\r\n", OURS) == b"To: b\r\n"
