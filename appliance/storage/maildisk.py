"""The state of the mailbox disk: one word and one sentence, for everybody who asks.

RUN/maildisk.json is world-readable. `usable` is what the relay and Dovecot go by: whether mail can
be put on the disk and read from it just now. `judge` is pure.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from appliance.base.files import replace_file
from appliance.storage.plan import Job, Kind, Record
from appliance.storage.volume import Mounted

FILE_NAME = "maildisk.json"
MIB = 1 << 20
FULL_SHARE, FULL_BYTES = 0.02, 256 * MIB  # whichever is less


class State(StrEnum):
    NONE = "none"
    READY = "ready"
    MISSING = "missing"
    READ_ONLY = "readonly"
    FULL = "full"
    FAILING = "failing"
    CHECKING = "checking"
    FORMATTING = "formatting"
    COPYING = "copying"


WAITS = "Mail waits in the queue, and people see that their mailboxes are away for a while."


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """What was seen of the disk at one moment."""

    record: Record
    job: Job | None = None
    is_at_work: bool = False  # the job is being carried out
    is_away: bool = False  # let go on purpose, for a step of the job
    is_checking: bool = False
    mounted: Mounted | None = None
    is_present: bool = False  # one of its disks is in the list of disks
    answers: bool = True  # it could be read just now
    size_bytes: int = 0
    free_bytes: int = 0
    missing_halves: int = 0
    trouble: str = ""  # why the last try to mount it failed
    fix: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What everybody is told."""

    state: State
    say: str
    means: str = ""
    fix: str = ""
    usable: bool = False


def judge(seen: Observed) -> Verdict:
    """The state, its sentence and its remedy. The first that holds wins."""
    if seen.job and seen.is_at_work and (told := _of_job(seen.job, seen)):
        return told
    if not seen.record.has_disk:
        if seen.job:
            return Verdict(
                state=State.MISSING,
                say="A disk was being set up for the mailboxes, and it is not there.",
                fix="Put it back; the work goes on by itself. Or give it up on the page.",
            )
        return Verdict(state=State.NONE, say="No disk for mailboxes is connected.")
    if seen.is_checking:
        return Verdict(state=State.CHECKING, say="The mailbox disk is being checked.", means=WAITS)
    return _of_mounted(seen, seen.mounted) if seen.mounted else _of_absent(seen)


def _of_job(job: Job, seen: Observed) -> Verdict | None:
    usable = seen.mounted is not None and not seen.is_away
    if job.kind is Kind.CONNECT:
        return Verdict(state=State.FORMATTING, say="The disk is being made ready for mailboxes.")
    if job.kind in (Kind.MIRROR, Kind.REPLACE):
        return Verdict(
            state=State.COPYING,
            say="The mail is being copied to the new disk.",
            means="The mailboxes stay open meanwhile." if usable else WAITS,
            fix="Do not pull either of the disks.",
            usable=usable,
        )
    if job.kind is Kind.TAKE:
        return Verdict(state=State.CHECKING, say="The mailbox disk is being checked.")
    if job.kind is Kind.DETACH:
        return Verdict(state=State.CHECKING, say="The mailbox disk is being detached.")
    return None


def _of_absent(seen: Observed) -> Verdict:
    if not seen.is_present:
        return Verdict(
            state=State.MISSING,
            say="The mailbox disk is not there.",
            means=WAITS,
            fix="Put it back, or check its cable. It comes into use by itself.",
        )
    return Verdict(
        state=State.FAILING,
        say=seen.trouble or "The mailbox disk does not work.",
        means=WAITS,
        fix=seen.fix or "Check its cable. If it stays, replace the disk.",
    )


def _of_mounted(seen: Observed, mounted: Mounted) -> Verdict:
    if not seen.answers:
        gone = State.FAILING if seen.is_present else State.MISSING
        return Verdict(
            state=gone,
            say="The mailbox disk does not answer: it was pulled, or it is broken.",
            means=WAITS,
            fix="Put it back, or check its cable. It comes into use by itself.",
        )
    if mounted.is_read_only:
        return Verdict(
            state=State.READ_ONLY,
            say="The mailbox disk cannot be written to after a fault.",
            means=WAITS,
            fix="It is checked again by itself. If it stays, replace the disk.",
        )
    if is_full(seen.free_bytes, seen.size_bytes):
        return Verdict(
            state=State.FULL,
            say="The mailbox disk is full.",
            means="New mail waits in the queue; mailboxes can be read.",
            fix="Delete mail, lower the quotas, or replace the disk by a larger one.",
        )
    if seen.missing_halves and len(seen.record.members) > 1:
        return Verdict(
            state=State.READY,
            say="One of the two mailbox disks is missing or broken.",
            means="The other one has all mail; the mailboxes are open.",
            fix="Put it back, or replace it by another one.",
            usable=True,
        )
    return Verdict(state=State.READY, say="The mailbox disk is ready.", usable=True)


def is_full(free_bytes: int, size_bytes: int) -> bool:
    """Whether new mail has to wait."""
    return size_bytes > 0 and free_bytes < min(FULL_BYTES, size_bytes * FULL_SHARE)


def document(verdict: Verdict, **more: Any) -> Mapping[str, Any]:
    """What RUN/maildisk.json holds."""
    return {**asdict(verdict), "state": str(verdict.state), **more}


def write(run: Path, content: Mapping[str, Any]) -> None:
    """Put the state where everybody may read it. RUN is memory: nothing is worn by it."""
    data = json.dumps(content, ensure_ascii=False, indent=1).encode() + b"\n"
    replace_file(run / FILE_NAME, data, mode=0o644)


def read(run: Path) -> Mapping[str, Any]:
    """The state that was written last; "none" when nobody looks after disks here."""
    try:
        raw = json.loads((run / FILE_NAME).read_bytes())
    except (OSError, ValueError):
        raw = None
    if isinstance(raw, dict):
        return raw
    return document(Verdict(state=State.NONE, say="No disk for mailboxes is connected."))
