"""How connections to other domains were protected, counted by day (RFC 8460).

Counting is in memory; `store` writes now and then. What a domain may be told about a day is
`report`: the JSON of RFC 8460 §4.4. Bounded: beyond so many rows a day nothing new is counted.
"""

import json
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from appliance.base.database import Database

MAX_ROWS_PER_DAY = 20_000
KEEP_DAYS = 3
_SCHEMA = """
CREATE TABLE IF NOT EXISTS tls_results (
    day TEXT NOT NULL,
    result TEXT NOT NULL,
    sessions INTEGER NOT NULL,
    PRIMARY KEY (day, result)
)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsResult:
    """What one connection came to. `failure` is a result type of RFC 8460 §4.3, or empty."""

    domain: str
    policy_type: str  # sts, tlsa, no-policy-found
    policy: tuple[str, ...] = ()  # its text, line by line
    policy_mx: tuple[str, ...] = ()
    mx: str = ""  # the server's name
    address: str = ""
    failure: str = ""
    detail: str = ""


class TlsResults:
    """The counts. Raises sqlite3.Error when opened on a disk that fails."""

    def __init__(self, path: Path, *, max_rows: int = MAX_ROWS_PER_DAY) -> None:
        self._database = Database(path, _SCHEMA, durable=False)
        self._max_rows = max_rows
        self._days: dict[str, Counter[TlsResult]] = {}
        for row in self._database.read().execute("SELECT day, result, sessions FROM tls_results"):
            self._days.setdefault(row["day"], Counter())[_read(row["result"])] = row["sessions"]

    def note(self, result: TlsResult, now: datetime) -> None:
        """Count one connection."""
        day = self._days.setdefault(_day(now), Counter())
        if result in day or len(day) < self._max_rows:
            day[result] += 1

    def snapshot(self, now: datetime) -> list[tuple[str, str, int]]:
        """The rows for `store`, without days that are too old."""
        oldest = _day(now - timedelta(days=KEEP_DAYS))
        for day in [day for day in self._days if day < oldest]:
            del self._days[day]
        return [
            (day, json.dumps(_plain(result)), sessions)
            for day, counts in self._days.items()
            for result, sessions in counts.items()
        ]

    def store(self, rows: list[tuple[str, str, int]]) -> None:
        """Write a snapshot in place of what was there; for a thread. Raises sqlite3.Error."""
        with self._database.transaction() as db:
            db.execute("DELETE FROM tls_results")
            db.executemany("INSERT INTO tls_results VALUES (?, ?, ?)", rows)

    def domains(self, day: date) -> list[str]:
        """Whom there is something to tell about that day."""
        return sorted({result.domain for result in self._days.get(day.isoformat(), ())})

    def report(self, day: date, domain: str, *, organization: str, contact: str) -> dict[str, Any]:
        """The report for `domain` (RFC 8460 §4.4). `contact` is a mail address."""
        counts = self._days.get(day.isoformat(), Counter())
        policies: dict[tuple[str, tuple[str, ...]], list[tuple[TlsResult, int]]] = {}
        for result, sessions in sorted(counts.items(), key=lambda item: repr(item[0])):
            if result.domain == domain:
                rows = policies.setdefault((result.policy_type, result.policy), [])
                rows.append((result, sessions))
        start = datetime(day.year, day.month, day.day, tzinfo=UTC)
        end = start + timedelta(days=1, seconds=-1)
        return {
            "organization-name": organization,
            "date-range": {"start-datetime": _stamp(start), "end-datetime": _stamp(end)},
            "contact-info": contact,
            "report-id": f"{day.isoformat()}_{domain}",
            "policies": [_policy(domain, rows) for rows in policies.values()],
        }


def _policy(domain: str, rows: list[tuple[TlsResult, int]]) -> dict[str, Any]:
    first = rows[0][0]
    policy: dict[str, Any] = {"policy-type": first.policy_type, "policy-domain": domain}
    if first.policy:
        policy["policy-string"] = list(first.policy)
    if first.policy_mx:
        policy["mx-host"] = list(first.policy_mx)
    failures = [_failure(result, sessions) for result, sessions in rows if result.failure]
    good = sum(sessions for result, sessions in rows if not result.failure)
    bad = sum(sessions for result, sessions in rows if result.failure)
    found: dict[str, Any] = {
        "policy": policy,
        "summary": {"total-successful-session-count": good, "total-failure-session-count": bad},
    }
    return found | ({"failure-details": failures} if failures else {})


def _failure(result: TlsResult, sessions: int) -> dict[str, Any]:
    found: dict[str, Any] = {"result-type": result.failure, "failed-session-count": sessions}
    for name, value in (
        ("receiving-mx-hostname", result.mx),
        ("receiving-ip", result.address),
        ("failure-reason-code", result.detail),
    ):
        if value:
            found[name] = value
    return found


def _plain(result: TlsResult) -> dict[str, Any]:
    return {name: getattr(result, name) for name in TlsResult.__slots__}


def _read(text: str) -> TlsResult:
    raw: dict[str, Any] = json.loads(text)
    return TlsResult(**{k: _frozen(v) for k, v in raw.items()})


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _day(now: datetime) -> str:
    return now.astimezone(UTC).date().isoformat()


def _stamp(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")
