"""The mailbox disk on Home: one sentence, and an alarm where it is one (B4, G12)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from appliance.base.finding import Finding, Result
from appliance.web.disks import RESULTS
from appliance.web.i18n import N_


@dataclass(frozen=True, slots=True)
class MailDisk:
    """`calm` is what Home says in its place; `findings` what stands at its head."""

    calm: Finding
    findings: tuple[Finding, ...]
    free_bytes: int = 0
    size_bytes: int = 0
    note: str = ""  # what happened last, such as a cut of the power (B24)


def of(state: Mapping[str, Any]) -> MailDisk:
    """What the published state of the disk (RUN/maildisk.json) means for a person. Pure."""
    seen = _state(state)
    found = [_health(disk) for disk in state.get("disks", ()) if disk.get("health") in _WORSE]
    if seen.result in (Result.BAD, Result.WARN):
        found.insert(0, seen)
    return MailDisk(
        calm=seen,
        findings=tuple(found),
        free_bytes=int(state.get("free_bytes") or 0) if seen.result is Result.OK else 0,
        size_bytes=int(state.get("size_bytes") or 0),
        note=str(state.get("note", "")),
    )


def _state(state: Mapping[str, Any]) -> Finding:
    name = str(state.get("state", "none"))
    if name == "none":
        return Finding(
            check="disks.state",
            result=Result.UNKNOWN,
            say=N_("There is no mailbox disk: the box relays mail and keeps no mailboxes."),
            fix=N_("To keep mailboxes here, connect a disk by SATA or SAS."),
        )
    result = RESULTS.get(name, Result.UNKNOWN)
    if name == "ready" and state.get("missing_halves"):
        result = Result.WARN
    return Finding(
        check="disks.state",
        result=result,
        say=str(state.get("say", "")),
        means=str(state.get("means", "")),
        fix=str(state.get("fix", "")),
    )


_WORSE: Mapping[str, Result] = {"warn": Result.WARN, "bad": Result.BAD}


def _health(disk: Mapping[str, Any]) -> Finding:
    return Finding(
        check="disks.health",
        result=_WORSE[str(disk["health"])],
        say=str(disk.get("health_say", "")),
        means=str(disk.get("name", "")),
        fix=str(disk.get("health_fix", "")),
    )
