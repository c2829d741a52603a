"""What the box tells a person, and the errors that carry it.

PennypostError            anything that reaches a person; holds a Finding
├── Refused               the request was understood and is not carried out
├── Unreachable           a daemon does not answer on its control socket
└── CommandFailed         a program we started failed (base/run.py)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum


class Result(StrEnum):
    """How a check came out. UNKNOWN is not a fault: it says that we could not look."""

    OK = "ok"
    WARN = "warn"
    BAD = "bad"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One sentence of what is, one of what it means for mail, one of what to do.

    `check` is a stable machine name such as `settings.mail.hostname`; for a
    refused field it is `settings.` and the field's name.
    """

    check: str
    result: Result
    say: str
    means: str = ""
    fix: str = ""

    def to_json(self) -> dict[str, str]:
        return {key: str(value) for key, value in asdict(self).items()}

    @classmethod
    def from_json(cls, raw: Mapping[str, object]) -> Finding:
        """Read a finding that a daemon sent; unknown keys are ignored."""
        return cls(
            check=str(raw.get("check", "")),
            result=Result(str(raw.get("result", "bad"))),
            say=str(raw.get("say", "")),
            means=str(raw.get("means", "")),
            fix=str(raw.get("fix", "")),
        )


class PennypostError(Exception):
    """An error that a person may read."""

    def __init__(self, finding: Finding) -> None:
        super().__init__(finding.say)
        self.finding = finding


class Refused(PennypostError):
    """The request was understood and is not carried out; nothing was changed."""

    @classmethod
    def because(cls, check: str, say: str, fix: str = "", means: str = "") -> Refused:
        return cls(Finding(check=check, result=Result.BAD, say=say, means=means, fix=fix))


class Unreachable(PennypostError):
    """A daemon does not answer on its control socket."""
