"""MTA-STS policies, as RFC 8461 writes them."""

from __future__ import annotations

import pytest

from appliance.policy import mta_sts
from appliance.policy.mta_sts import BadPolicy

GOOD = (
    b"version: STSv1\r\nmode: enforce\r\nmx: mx1.example.org\r\nmx: *.example.net\r\n"
    b"max_age: 604800\r\n"
)


def test_the_example_of_the_rfc_is_read() -> None:
    policy = mta_sts.parse(GOOD)
    assert (policy.mode, policy.max_age_seconds) == ("enforce", 604800)
    assert policy.mx == ("mx1.example.org", "*.example.net")
    assert policy.text[0] == "version: STSv1"


@pytest.mark.parametrize(
    ("host", "covered"),
    [
        ("mx1.example.org", True),
        ("MX1.Example.ORG.", True),
        ("mx2.example.org", False),
        ("a.example.net", True),
        ("a.b.example.net", False),  # the star is one label
        ("example.net", False),
        ("evilexample.net", False),
    ],
)
def test_a_pattern_covers_names_as_certificates_do(host: str, covered: bool) -> None:
    assert mta_sts.covers(mta_sts.parse(GOOD), host) is covered


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"version: STSv2\nmode: enforce\nmx: a.b\nmax_age: 1\n",
        b"version: STSv1\nmode: strict\nmx: a.b\nmax_age: 1\n",
        b"version: STSv1\nmode: enforce\nmax_age: 1\n",
        b"version: STSv1\nmode: enforce\nmx: a.b\n",
        b"version: STSv1\nmode: enforce\nmx: a.b\nmax_age: -1\n",
        b"version: STSv1\nmode: enforce\nmx: a*.b\nmax_age: 1\n",
        b"version: STSv1\nmode: enforce\nmx: *\nmax_age: 1\n",
        b"version: STSv1\nmode: enforce\nmx: \xff\nmax_age: 1\n",
        b"<html>not found</html>",
        GOOD + b"x: " + b"y" * 70_000,
    ],
)
def test_what_is_no_policy_is_refused(body: bytes) -> None:
    with pytest.raises(BadPolicy):
        mta_sts.parse(body)


def test_a_policy_of_none_needs_no_servers_and_age_has_a_limit() -> None:
    policy = mta_sts.parse(b"version: STSv1\nmode: none\nmax_age: 9999999999\n")
    assert policy.mode == "none"
    assert policy.max_age_seconds == mta_sts.MAX_AGE_SECONDS


@pytest.mark.parametrize(
    ("records", "found"),
    [
        (["v=STSv1; id=20160831085700Z;"], "20160831085700Z"),
        (["v=STSv1;id=1", "v=spf1 -all"], "1"),
        (["v=STSv1; id=1;", "v=STSv1; id=2;"], ""),
        (["v=STSv1; id=;"], ""),
        (["v=STSv1"], ""),
        (["v=STSv11; id=1;"], ""),
        ([], ""),
    ],
)
def test_the_id_stands_in_the_only_record(records: list[str], found: str) -> None:
    assert mta_sts.record_id(records) == found
