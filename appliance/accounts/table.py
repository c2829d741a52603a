"""Accounts as a table in CSV, to be filled in with any spreadsheet program. Pure.

    login,name,password,language,quota_mb,enabled
    anna,Anna Jones,,de,2000,yes

Only `login` is needed; columns may stand in any order, parted by commas, semicolons or tabs.
Without a password one is made. What is given out holds no passwords.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from appliance.accounts import passwords
from appliance.accounts.users import LANGUAGES, MAX_QUOTA_BYTES, full_name, login_name
from appliance.base.finding import Refused

COLUMNS = ("login", "name", "password", "language", "quota_mb", "enabled")
MAX_ROWS = 500
MAX_CHARACTERS = 200_000
_YES, _NO = ("yes", "ja", "true", "1", "on", ""), ("no", "nein", "false", "0", "off")
_MB = 1024 * 1024
# A spreadsheet takes what begins so for a formula.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One account to be made."""

    login: str
    name: str = ""
    password: str = field(default="", repr=False)
    language: str = ""
    quota_bytes: int = 0
    enabled: bool = True


def parse(text: str) -> tuple[Row, ...]:
    """The rows, all right or none: Refused names the line and what is wrong with it."""
    text = text.removeprefix("\ufeff")
    if len(text) > MAX_CHARACTERS:
        raise _wrong("The table is too large.", "Divide it into several.")
    lines = list(csv.reader(io.StringIO(text), delimiter=_sign_between(text)))
    if not lines:
        raise _wrong("The table is empty.", f"Its first line is: {','.join(COLUMNS)}")
    heads = [head.strip().casefold() for head in lines[0]]
    unknown = [head for head in heads if head not in COLUMNS]
    if unknown or "login" not in heads or len(set(heads)) != len(heads):
        raise _wrong(
            f"The first line does not name the columns: {', '.join(unknown or heads)[:80]}.",
            f"It has some of these, login among them: {','.join(COLUMNS)}",
        )
    rows = [
        _row(number, dict(zip(heads, line, strict=False)))
        for number, line in enumerate(lines[1:], start=2)
        if any(cell.strip() for cell in line)
    ]
    if len(rows) > MAX_ROWS:
        raise _wrong(f"The table has more than {MAX_ROWS} accounts.", "Divide it into several.")
    seen: set[str] = set()
    for row in rows:
        if row.login in seen:
            raise _wrong(f"{row.login} stands in the table twice.", "Take one of the two out.")
        seen.add(row.login)
    return tuple(rows)


def write(accounts: Iterable[Mapping[str, Any]]) -> str:
    """The table of accounts as the steward shows them, fit to be filled in and taken back."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    for account in accounts:
        quota = int(account.get("quota_bytes", 0))
        writer.writerow(
            (
                account["login"],
                _plain(str(account.get("name", ""))),
                "",
                account.get("language", ""),
                quota // _MB if quota else "",
                "yes" if account.get("enabled", True) else "no",
            )
        )
    return out.getvalue()


def _sign_between(text: str) -> str:
    first = text.partition("\n")[0]
    return max((",", ";", "\t"), key=first.count)


def _row(number: int, cells: Mapping[str, str]) -> Row:
    cell = {name: text.strip() for name, text in cells.items()}
    try:
        login = login_name(cell["login"])
        row = Row(
            login=login,
            name=full_name(cell.get("name", "").lstrip("'")),
            password=cells.get("password", ""),
            language=_language(cell.get("language", "")),
            quota_bytes=_quota(cell.get("quota_mb", "")),
            enabled=_switch(cell.get("enabled", "")),
        )
        if row.password:
            judged = passwords.strength(row.password, name=login)
            if not judged.acceptable:
                raise _wrong(f"The password is {judged.word}.", judged.advice)
    except Refused as refused:
        found = refused.finding
        raise _wrong(f"Line {number}: {found.say}", found.fix) from refused
    return row


def _language(text: str) -> str:
    if text.casefold() not in LANGUAGES:
        raise _wrong(f"“{text[:20]}” is no language here.", "Write en or de, or nothing.")
    return text.casefold()


def _quota(text: str) -> int:
    if not text:
        return 0
    if not text.isdecimal() or int(text) * _MB > MAX_QUOTA_BYTES:
        raise _wrong(f"“{text[:20]}” is no mailbox size.", "Write a number of megabytes.")
    return int(text) * _MB


def _switch(text: str) -> bool:
    if text.casefold() in _YES:
        return True
    if text.casefold() in _NO:
        return False
    raise _wrong(f"“{text[:20]}” is neither yes nor no.", "Write yes or no.")


def _plain(text: str) -> str:
    return f"'{text}" if text.startswith(_FORMULA) else text


def _wrong(say: str, fix: str) -> Refused:
    return Refused.because("account.table", say, fix)
