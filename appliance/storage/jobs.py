"""Carries a job out, step by step, so that a power cut at any moment loses nothing of it."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Protocol

from appliance.base.clock import SystemClock
from appliance.base.finding import PennypostError, Refused
from appliance.storage.plan import CAN_BE_CANCELLED, Job, Kind, Record, Step
from appliance.storage.record import Book

Progress = Callable[[Mapping[str, Any]], None]
Told = Callable[[float, str], None]  # how much of a step is done (0 to 1), in words


class Hands(Protocol):
    """Whoever does the steps on real disks; each may be done again after a cut."""

    def do(self, step: Step, job: Job, record: Record, told: Told) -> None:
        """Raises PennypostError or OSError when the step fails."""
        ...

    def give_up(self, job: Job, record: Record) -> None:
        """After a copy was cancelled: let the new disk go, all mail stays where it was."""
        ...


class Cancelled(PennypostError):
    """Somebody called the job off where that is safe."""


def remembered(job: Job, record: Record) -> Record:
    """What the box remembers once the job is through its REMEMBER or FORGET."""
    if job.kind in (Kind.CONNECT, Kind.TAKE):
        return Record(volume=job.volume, members=(job.disk,), attached=True)
    others = tuple(name for name in record.members if name not in (job.old, job.disk))
    return replace(record, members=(*others, job.disk))


def carry_out(
    job: Job,
    book: Book,
    hands: Hands,
    progress: Progress,
    cancelled: Callable[[], bool] = lambda: False,
) -> None:
    """Do what is left of `job`. The book is written before the first step and after each.

    Raises what a step raises. The job is out of the book then: it was tried and failed, and
    whoever wishes it again begins anew; only a power cut leaves it there.
    """
    book.keep(record=book.record, job=job)
    while (step := job.step) is not None:
        began = SystemClock().monotonic()
        _tell(progress, job, "running", began)
        try:
            _one(step, job, book, hands, progress, cancelled, began)
        except BaseException as error:
            _tell(progress, job, "failed", began)
            if isinstance(error, Cancelled):
                hands.give_up(job, book.record)
            if isinstance(error, Exception):
                book.keep(record=book.record, job=None)
            raise
        _tell(progress, job, "done", began)
        record = book.record
        if step is Step.REMEMBER:
            record = remembered(job, record)
        elif step is Step.FORGET:
            record = replace(record, attached=False)
        job = job.advanced()
        book.keep(record=record, job=job if job.step else None)


def _one(
    step: Step,
    job: Job,
    book: Book,
    hands: Hands,
    progress: Progress,
    cancelled: Callable[[], bool],
    began: float,
) -> None:
    def told(share: float, say: str) -> None:
        _tell(progress, job, "running", began, share=share, say=say)
        if step in CAN_BE_CANCELLED and cancelled():
            raise Cancelled(
                Refused.because(
                    "disk.cancelled", "The copying was called off; the mail is where it was."
                ).finding
            )

    hands.do(step, job, book.record, told)


def _tell(
    progress: Progress, job: Job, state: str, began: float, share: float = 0.0, say: str = ""
) -> None:
    progress(
        {
            "job": str(job.kind),
            "step": str(job.step),
            "number": job.done + 1,
            "of": len(job.steps),
            "state": state,
            "seconds": round(SystemClock().monotonic() - began, 1),
            "share": round(share, 4),
            "say": say,
        }
    )
