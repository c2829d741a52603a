"""The disks: which there are, which one holds the mailboxes, and what may be done with each.

The work is done by the disks daemon, through the steward; the page shows how far it is. What
destroys wants the disk's serial number typed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from flask import Blueprint, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from appliance.base.finding import Finding, PennypostError, Refused, Result
from appliance.web import visit
from appliance.web.disk_words import STEPS
from appliance.web.i18n import N_, _
from appliance.web.services import services

pages = Blueprint("disks", __name__, url_prefix="/disks")
LIST_SECONDS = 130.0
BUSES: Mapping[str, str] = {
    "sata": N_("SATA"),
    "sas": N_("SAS"),
    "usb": N_("USB"),
    "nvme": N_("NVMe"),
    "mmc": N_("SD card or eMMC"),
    "virtual": N_("virtual"),
    "other": N_("unknown"),
}
WORKS: Mapping[str, str] = {
    "connect": N_("Use this disk for the mailboxes"),
    "take": N_("Bring its mailboxes in"),
    "replace": N_("Move the mail to this disk"),
    "mirror": N_("Keep the mail on this disk too"),
    "detach": N_("Detach the mailbox disk"),
    "grow": N_("Use all of the disk"),
}
MEANS: Mapping[str, str] = {
    "connect": N_("It gets a new, empty file system. Nothing that is on it now remains."),
    "take": N_("Its file system is checked, then its mailboxes are open. They stay as they are."),
    "replace": N_(
        "Everything is copied and compared while the mailboxes stay open; then the old disk can "
        "be pulled. A power cut does no harm: the copying goes on."
    ),
    "mirror": N_(
        "From then on each letter lies on both disks. When one fails, the other one goes on."
    ),
    "detach": N_(
        "The mailboxes are closed until the disk is brought in again; new mail waits in the queue."
    ),
    "grow": N_("The file system fills the disk. The mailboxes stay open meanwhile."),
}
RESULTS: Mapping[str, Result] = {
    "ready": Result.OK,
    "none": Result.UNKNOWN,
    "checking": Result.WARN,
    "formatting": Result.WARN,
    "copying": Result.WARN,
    "full": Result.BAD,
    "missing": Result.BAD,
    "readonly": Result.BAD,
    "failing": Result.BAD,
}


@dataclass(frozen=True, slots=True)
class Shown:
    """A disk with what may be done with it."""

    raw: Mapping[str, Any]
    works: tuple[str, ...]
    name: str

    @property
    def identity(self) -> str:
        return str(self.raw["identity"])


def works_of(disk: Mapping[str, Any], state: Mapping[str, Any]) -> tuple[str, ...]:
    """What the page offers; whether it may be is judged again when it is asked for."""
    if not disk["eligible"] or state.get("job"):
        return ()
    if state.get("volume"):
        return ("replace", "mirror") if len(state.get("disks", ())) < 2 else ("replace",)
    is_ready = disk["marker"] and disk["stage"] == "ready"
    return ("take", "connect") if is_ready else ("connect",)


def shown(disk: Mapping[str, Any], state: Mapping[str, Any]) -> Shown:
    """A disk as the pages show it."""
    name = " ".join(filter(None, (disk["vendor"], disk["model"]))) or _("Disk without a name")
    return Shown(raw=disk, works=works_of(disk, state), name=name)


def _finding(state: Mapping[str, Any]) -> Finding:
    return Finding(
        check="disks.state",
        result=RESULTS.get(str(state.get("state")), Result.UNKNOWN),
        say=str(state.get("say", "")),
        means=str(state.get("means", "")),
        fix=str(state.get("fix", "")),
    )


@pages.get("/")
def page() -> str:
    try:
        state = services().steward.ask("disk.status")
        disks = services().steward.ask("disk.list", timeout_seconds=LIST_SECONDS)
    except PennypostError as error:
        return render_template("disks/page.html", trouble=error.finding, state=None, disks=())
    return render_template(
        "disks/page.html",
        trouble=None,
        state=state,
        finding_shown=_finding(state),
        disks=[shown(disk, state) for disk in disks],
        buses=BUSES,
        works=WORKS,
        steps=STEPS,
    )


def _disk(identity: str) -> Shown:
    state = services().steward.ask("disk.status")
    for disk in services().steward.ask("disk.list", timeout_seconds=LIST_SECONDS):
        if identity and disk["identity"] == identity:
            return shown(disk, state)
    raise Refused.because(
        "disk.identity", "This disk is not there any more.", "Look at the list again."
    )


@pages.get("/<any(connect,take,replace,mirror):work>/<identity>")
def ask(work: str, identity: str) -> str:
    return _question(work, _disk(identity))


@pages.get("/<any(detach,grow):work>")
def ask_plain(work: str) -> str:
    return _question(work, None)


def _question(work: str, disk: Shown | None, finding: Finding | None = None) -> str:
    return render_template(
        "disks/work.html",
        work=work,
        title_text=_(WORKS[work]),
        means=_(MEANS[work]),
        disk=disk,
        buses=BUSES,
        erases=disk is not None and work != "take" and not disk.raw["is_blank"],
        foreign=disk is not None and work == "take" and not disk.raw["own"],
        finding_shown=finding,
    )


@pages.post("/<any(connect,take,replace,mirror):work>/<identity>")
def do(work: str, identity: str) -> Response | tuple[str, int]:
    asked: dict[str, Any] = {"disk": identity}
    if work == "take":
        asked["agreed"] = request.form.get("agreed") == "on"
    else:
        asked["typed"] = request.form.get("typed", "").strip()[:100]
    return _carry_out(work, asked, lambda f: _question(work, _disk(identity), f))


@pages.post("/<any(detach,grow):work>")
def do_plain(work: str) -> Response | tuple[str, int]:
    return _carry_out(work, {}, lambda f: _question(work, None, f))


def _carry_out(work: str, asked: dict[str, Any], again: Any) -> Response | tuple[str, int]:
    """Begin it; the overview shows how far it is."""
    try:
        services().steward.ask(
            f"disk.{work}", {**asked, "wait": False}, timeout_seconds=LIST_SECONDS
        )
    except Refused as refused:
        return again(refused.finding), 422
    visit.say_next(_("It has begun. This page shows how far it is."))
    return redirect(url_for("disks.page"), 303)


@pages.post("/cancel")
def cancel() -> Response:
    try:
        services().steward.ask("disk.cancel")
        visit.say_next(_("It is called off."))
    except Refused as refused:
        f = refused.finding
        visit.say_next(_(f.say), result=Result.BAD, fix=_(f.fix))
    return redirect(url_for("disks.page"), 303)
