"""Counts of protected connections, and the report that RFC 8460 makes of them."""

from __future__ import annotations

import dataclasses
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

from appliance.memory.tls_results import TlsResult, TlsResults

NOW = datetime(2026, 3, 4, 12, tzinfo=UTC)
GOOD = TlsResult(
    domain="example.org", policy_type="sts", policy=("version: STSv1",), policy_mx=("mx.example",)
)
BAD = dataclasses.replace(GOOD, mx="mx.example", address="192.0.2.1", failure="certificate-expired")


def test_a_report_counts_sessions_by_policy(tmp_path: Path) -> None:
    results = TlsResults(tmp_path / "tls.db")
    for _ in range(5):
        results.note(GOOD, NOW)
    results.note(BAD, NOW)
    results.note(TlsResult(domain="other.example", policy_type="no-policy-found"), NOW)
    results.store(results.snapshot(NOW))
    again = TlsResults(tmp_path / "tls.db")
    assert again.domains(NOW.date()) == ["example.org", "other.example"]
    report = again.report(
        NOW.date(), "example.org", organization="box.example", contact="p@box.example"
    )
    assert json.loads(json.dumps(report)) == {
        "organization-name": "box.example",
        "date-range": {
            "start-datetime": "2026-03-04T00:00:00Z",
            "end-datetime": "2026-03-04T23:59:59Z",
        },
        "contact-info": "p@box.example",
        "report-id": "2026-03-04_example.org",
        "policies": [
            {
                "policy": {
                    "policy-type": "sts",
                    "policy-domain": "example.org",
                    "policy-string": ["version: STSv1"],
                    "mx-host": ["mx.example"],
                },
                "summary": {
                    "total-successful-session-count": 5,
                    "total-failure-session-count": 1,
                },
                "failure-details": [
                    {
                        "result-type": "certificate-expired",
                        "failed-session-count": 1,
                        "receiving-mx-hostname": "mx.example",
                        "receiving-ip": "192.0.2.1",
                    }
                ],
            }
        ],
    }


def test_counts_are_bounded_and_old_days_go(tmp_path: Path) -> None:
    results = TlsResults(tmp_path / "tls.db", max_rows=3)
    for number in range(10):
        result = TlsResult(domain=f"d{number}.example", policy_type="sts")
        results.note(result, NOW)
        results.note(result, NOW)
    assert len(results.domains(NOW.date())) == 3
    results.store(results.snapshot(NOW + timedelta(days=5)))
    assert TlsResults(tmp_path / "tls.db").domains(NOW.date()) == []
