"""What may be done with a disk, and that a power cut anywhere leaves something that goes on."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from appliance.base.finding import Refused
from appliance.storage.jobs import Cancelled, Told, carry_out
from appliance.storage.marker import Key, Marker, Read, Stage
from appliance.storage.plan import Job, Kind, Look, Record, Step, Wish, job_of, plan, resume
from appliance.storage.record import Book
from hw.model import Bus, Disk, Why

KEY = Key(b"k" * 32)
OLD_VOLUME = "11111111-0000-4000-8000-000000000000"
NEW_VOLUME = "22222222-0000-4000-8000-000000000000"
GIB = 1 << 30


def disk(name: str, **more: object) -> Disk:
    known = {"size_bytes": 8 * GIB, "serial": f"SERIAL-{name}"}
    return Disk(device=f"/dev/{name}", identity=f"wwn-{name}", bus=Bus.SATA, **(known | more))  # type: ignore[arg-type]


def blank(name: str = "new", **more: object) -> Look:
    return Look(disk=disk(name, **more), is_blank=True)


def full(name: str = "new") -> Look:
    return Look(disk=disk(name, content=("Partition 1: a Windows file system.",)))


def marked(
    name: str = "old", *, own: bool = True, stage: Stage = Stage.READY, volume: str = OLD_VOLUME
) -> Look:
    made = Marker(box=KEY.box, volume=volume, created="2026-11-01T00:00:00+00:00", stage=stage)
    return Look(disk=disk(name, marker=volume), read=Read(marker=made, own=own), has_layout=True)


NOTHING = Record()
HAS_OLD = Record(volume=OLD_VOLUME, members=("wwn-old",), attached=True)


def refused(wish: Wish, looks: list[Look], record: Record = NOTHING) -> str:
    with pytest.raises(Refused) as caught:
        plan(wish, looks, record)
    return caught.value.finding.check


def test_an_empty_disk_is_connected_without_questions() -> None:
    steps = plan(Wish(kind=Kind.CONNECT, disk="wwn-new"), [blank()], NOTHING)
    assert steps == (
        Step.WIPE, Step.TABLE, Step.FORMAT, Step.READY, Step.REMEMBER, Step.MOUNT,
    )  # fmt: skip


def test_a_disk_with_something_on_it_wants_its_serial_number_typed() -> None:
    wish = Wish(kind=Kind.CONNECT, disk="wwn-new")
    with pytest.raises(Refused) as caught:
        plan(wish, [full()], NOTHING)
    assert "a Windows file system" in caught.value.finding.say
    assert "SERIAL-new" in caught.value.finding.fix
    assert refused(replace(wish, typed="SERIAL-old"), [full()]) == "disk.serial"
    assert plan(replace(wish, typed=" SERIAL-new "), [full()], NOTHING)
    nameless = replace(full(), disk=disk("new", serial="", content=("x",)))
    assert refused(replace(wish, typed=" "), [nameless]) == "disk.serial"


def test_a_mailbox_disk_is_erased_only_with_its_serial_number_too() -> None:
    wish = Wish(kind=Kind.CONNECT, disk="wwn-old")
    assert refused(wish, [marked()]) == "disk.content"
    assert refused(wish, [marked(own=False, stage=Stage.FORMATTING)]) == "disk.content"
    assert plan(wish, [marked(stage=Stage.FORMATTING)], NOTHING), "begun by this box, never used"


def test_a_marker_left_on_a_disk_that_is_used_otherwise_allows_nothing() -> None:
    reused = replace(marked(stage=Stage.FORMATTING), has_layout=False)
    assert refused(Wish(kind=Kind.CONNECT, disk="wwn-old"), [reused]) == "disk.content"
    assert refused(Wish(kind=Kind.TAKE, disk="wwn-old"), [replace(marked(), has_layout=False)])


def test_what_may_not_be_used_is_refused_for_its_own_reason() -> None:
    usb = blank(refusal=Why("This disk is attached by USB; ...", "Attach it by SATA."))
    for kind in (Kind.CONNECT, Kind.TAKE):
        with pytest.raises(Refused) as caught:
            plan(Wish(kind=kind, disk="wwn-new"), [usb], NOTHING)
        assert caught.value.finding.say.startswith("This disk is attached by USB")


def test_a_disk_that_is_gone_or_that_two_claim_to_be_is_refused() -> None:
    wish = Wish(kind=Kind.CONNECT, disk="wwn-new")
    assert refused(wish, []) == "disk.identity"
    assert refused(wish, [blank(), blank()]) == "disk.identity"


def test_a_second_mailbox_disk_is_not_connected_over_the_first() -> None:
    assert refused(Wish(kind=Kind.CONNECT, disk="wwn-new"), [blank()], HAS_OLD) == "disk.connect"
    assert refused(Wish(kind=Kind.TAKE, disk="wwn-old"), [marked()], HAS_OLD) == "disk.take"


def test_a_pennypost_disk_is_taken_and_another_box_s_only_when_agreed() -> None:
    wish = Wish(kind=Kind.TAKE, disk="wwn-old")
    steps = (Step.CHECK, Step.SIGN, Step.REMEMBER, Step.MOUNT)
    assert plan(wish, [marked()], NOTHING) == steps
    assert refused(wish, [marked(own=False)]) == "disk.agree"
    assert plan(replace(wish, agreed=True), [marked(own=False)], NOTHING) == steps
    assert refused(Wish(kind=Kind.TAKE, disk="wwn-new"), [full()]) == "disk.take"
    assert refused(wish, [marked(stage=Stage.COPYING)]) == "disk.take"


def test_nothing_is_detached_or_grown_where_there_is_nothing() -> None:
    assert refused(Wish(kind=Kind.DETACH), []) == "disk.detach"
    assert refused(Wish(kind=Kind.GROW), []) == "disk.grow"
    assert plan(Wish(kind=Kind.DETACH), [], HAS_OLD) == (
        Step.UNMOUNT, Step.FORGET, Step.RELEASE,
    )  # fmt: skip


def test_a_disk_is_replaced_by_a_mirror_of_a_while() -> None:
    wish = Wish(kind=Kind.REPLACE, disk="wwn-new")
    steps = plan(wish, [marked(), blank()], HAS_OLD)
    assert steps.index(Step.COPY) < steps.index(Step.VERIFY) < steps.index(Step.REMEMBER)
    assert steps.index(Step.REMEMBER) < steps.index(Step.DROP) < steps.index(Step.RETIRE)
    assert Step.PLAIN in steps
    assert refused(wish, [blank()], HAS_OLD) == "disk.replace", "nothing to copy from"
    small = blank(size_bytes=GIB)
    assert refused(wish, [marked(), small], HAS_OLD) == "disk.replace"
    assert refused(wish, [marked(), full()], HAS_OLD) == "disk.content"
    assert refused(replace(wish, disk="wwn-old"), [marked()], HAS_OLD) == "disk.replace"
    assert refused(replace(wish, old="wwn-x"), [marked(), blank()], HAS_OLD) == "disk.replace"


def test_two_disks_and_not_three() -> None:
    both = Record(volume=OLD_VOLUME, members=("wwn-old", "wwn-two"), attached=True)
    looks = [marked(), marked("two"), blank()]
    wish = Wish(kind=Kind.MIRROR, disk="wwn-new")
    assert Step.DROP not in plan(wish, [marked(), blank()], HAS_OLD)
    assert refused(wish, looks, both) == "disk.mirror"
    assert plan(wish, [marked(), blank()], both), "one of the two is gone"
    replacing = Wish(kind=Kind.REPLACE, disk="wwn-new")
    assert refused(replacing, looks, both) == "disk.replace", "which one?"
    steps = plan(replace(replacing, old="wwn-two"), looks, both)
    assert Step.PLAIN not in steps


@pytest.fixture
def memory() -> Iterator[Path]:
    """A folder in memory: hundreds of flushes, none of which is what is tested here."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        yield Path(folder)


# -- power cuts ---------------------------------------------------------------------------


class PowerCut(BaseException):
    """No handler may run: the power is gone."""


@dataclass
class Bench:
    """Steps on a model of the disks; the power goes in the middle of any step."""

    cut_at: int | None = None  # half way through the n-th step done in all
    done: list[Step] = field(default_factory=list)
    fails: Step | None = None
    gave_up: bool = False

    def do(self, step: Step, job: Job, record: Record, told: Told) -> None:
        told(0.5, "half")
        if self.cut_at is not None and len(self.done) == self.cut_at:
            self.cut_at = None
            raise PowerCut
        if step is self.fails:
            raise Refused.because("disk.test", "This step failed.")
        self.done.append(step)

    def give_up(self, job: Job, record: Record) -> None:
        self.gave_up = True


def cases() -> Iterator[tuple[Wish, list[Look], Record]]:
    yield Wish(kind=Kind.CONNECT, disk="wwn-new"), [blank()], NOTHING
    yield Wish(kind=Kind.TAKE, disk="wwn-old"), [marked()], NOTHING
    yield Wish(kind=Kind.DETACH), [marked()], HAS_OLD
    yield Wish(kind=Kind.MIRROR, disk="wwn-new"), [marked(), blank()], HAS_OLD
    yield Wish(kind=Kind.REPLACE, disk="wwn-new"), [marked(), blank()], HAS_OLD
    yield Wish(kind=Kind.GROW), [marked()], HAS_OLD


AFTERWARDS = {
    Kind.CONNECT: Record(volume=NEW_VOLUME, members=("wwn-new",), attached=True),
    Kind.TAKE: Record(volume=OLD_VOLUME, members=("wwn-old",), attached=True),
    Kind.DETACH: replace(HAS_OLD, attached=False),
    Kind.MIRROR: replace(HAS_OLD, members=("wwn-old", "wwn-new")),
    Kind.REPLACE: replace(HAS_OLD, members=("wwn-new",)),
    Kind.GROW: HAS_OLD,
}


@pytest.mark.parametrize("case", cases(), ids=lambda case: case[0].kind)
def test_a_power_cut_in_any_step_leaves_a_job_that_goes_on(
    case: tuple[Wish, list[Look], Record], memory: Path
) -> None:
    wish, looks, record = case
    steps = plan(wish, looks, record)
    for cut_at in range(len(steps)):
        path = memory / f"{cut_at}.json"
        book, bench = Book(path), Bench(cut_at=cut_at)
        book.keep(record=record, job=None)
        job = job_of(wish, looks, record, new_volume=NEW_VOLUME)
        with pytest.raises(PowerCut):
            carry_out(job, book, bench, lambda _: None)
        after = Book(path)  # the box starts again
        assert after.job is not None
        begun = [marked(look.disk.device[5:], volume=job.volume, stage=Stage.FORMATTING)
                 if look.is_blank and cut_at else look for look in looks]  # fmt: skip
        assert resume(after.job, begun) == steps[cut_at:]
        carry_out(after.job, after, bench, lambda _: None)
        assert tuple(bench.done) == steps
        assert (after.record, after.job) == (AFTERWARDS[wish.kind], None)
        assert Book(path).record == AFTERWARDS[wish.kind]


def test_two_cuts_in_a_row_are_survived_too(memory: Path) -> None:
    wish, looks, record = next(cases())
    steps = plan(wish, looks, record)
    for first, second in itertools.combinations_with_replacement(range(len(steps)), 2):
        book, bench = Book(memory / "book.json"), Bench(cut_at=first)
        book.keep(record=record, job=None)
        with pytest.raises(PowerCut):
            carry_out(
                job_of(wish, looks, record, new_volume=NEW_VOLUME), book, bench, lambda _: None
            )
        bench.cut_at = second
        again = Book(memory / "book.json")
        assert again.job is not None
        with pytest.raises(PowerCut):
            carry_out(again.job, again, bench, lambda _: None)
        last = Book(memory / "book.json")
        assert last.job is not None
        carry_out(last.job, last, bench, lambda _: None)
        assert tuple(bench.done) == steps


def test_before_the_first_step_nothing_is_kept_so_a_cut_leaves_the_old_state(
    memory: Path,
) -> None:
    book = Book(memory / "book.json")
    job_of(Wish(kind=Kind.CONNECT, disk="wwn-new"), [blank()], NOTHING, new_volume=NEW_VOLUME)
    assert Book(memory / "book.json").job is None
    assert book.record == NOTHING


def test_a_job_waits_for_its_disk_and_spares_one_that_holds_something_else() -> None:
    wish, looks, record = next(cases())
    job = job_of(wish, looks, record, new_volume=NEW_VOLUME).advanced()
    with pytest.raises(Refused, match="not there"):
        resume(job, [])
    with pytest.raises(Refused, match="something else"):
        resume(job, [full()])
    assert resume(job, [blank()])
    assert resume(job, [marked("new", volume=NEW_VOLUME, stage=Stage.FORMATTING)])


def test_a_step_that_fails_ends_the_job_and_changes_nothing_remembered(memory: Path) -> None:
    wish, looks, record = next(cases())
    book = Book(memory / "book.json")
    told: list[str] = []
    with pytest.raises(Refused):
        carry_out(
            job_of(wish, looks, record, new_volume=NEW_VOLUME),
            book,
            Bench(fails=Step.FORMAT),
            lambda step: told.append(f"{step['step']} {step['state']}"),
        )
    assert (book.job, book.record) == (None, NOTHING)
    assert told[-1] == "format failed"


def test_a_copy_can_be_called_off_and_formatting_can_not(memory: Path) -> None:
    wish = Wish(kind=Kind.REPLACE, disk="wwn-new")
    job = job_of(wish, [marked(), blank()], HAS_OLD, new_volume=NEW_VOLUME)
    book, bench = Book(memory / "book.json"), Bench()
    book.keep(record=HAS_OLD, job=None)
    with pytest.raises(Cancelled):
        carry_out(job, book, bench, lambda _: None, cancelled=lambda: True)
    assert bench.gave_up
    assert bench.done[-1] is Step.JOIN
    assert (book.job, book.record) == (None, HAS_OLD)


def test_a_book_that_cannot_be_read_is_said_not_guessed(memory: Path) -> None:
    path = memory / "book.json"
    for text in ("", "{}", '{"version": 9}', '{"version": 1, "record": {"volume": "x"}}'):
        path.write_text(text)
        with pytest.raises(Refused, match="cannot be read"):
            Book(path)
