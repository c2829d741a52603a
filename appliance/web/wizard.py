"""The first-boot wizard: claim, nine pages, apply with live progress, done (H2, H6).

Each submit is saved at once, so that one can leave, come back, reload, go back and pull the
plug anywhere. Nothing is applied before the last page.
"""

from __future__ import annotations

import zoneinfo
from functools import cache
from typing import Any

from flask import Blueprint, abort, make_response, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from appliance.base.finding import Finding, Result
from appliance.storage import maildisk
from appliance.web import disks, dns_guide, mail_disk, manual, visit, wizard_disk, wizard_steps
from appliance.web.applying import State
from appliance.web.claim import Outcome
from appliance.web.i18n import LANGUAGES, _
from appliance.web.services import services
from appliance.web.wizard_disk import Offer
from appliance.web.wizard_steps import BY_NAME, STEPS, Reading, Step
from appliance.web.words import duration

pages = Blueprint("wizard", __name__, url_prefix="/wizard")
# Once claimed, a step belongs to the claiming session alone.
_OPEN_TO_ALL = frozenset({"wizard.start", "wizard.claim", "wizard.help_page"})


@pages.before_request
def only_the_claimer() -> Response | None:
    """Others see who is setting the box up; after it, the wizard is gone."""
    if services().claim.closed():
        if request.endpoint == "wizard.done" and visit.current().user:
            return None
        if visit.is_claimer():
            # Between "closed" and "done" lies a moment, or a power cut.
            running = services().applying.progress().state is State.RUNNING
            return None if running and request.endpoint == "wizard.progress" else _hand_over()
        return redirect(url_for("home.page"), 303)
    if request.endpoint in _OPEN_TO_ALL or visit.is_claimer():
        return None
    return redirect(url_for("wizard.claim"), 303)


def _hand_over() -> Response:
    """The box is set up: who did it is now signed in as the administrator that they made."""
    s = services()
    names = s.accounts.administrators()
    if not names:
        abort(403)
    s.draft.clear()
    s.claim.release()
    visit.sign_in(names[0])
    s.throttle.forgive(names[0], visit.current().peer)
    return redirect(url_for("wizard.done"), 303)


@pages.get("/")
def start() -> Response:
    """Where this visitor belongs."""
    if not visit.is_claimer():
        return redirect(url_for("wizard.claim"), 303)
    return redirect(_place(), 303)


def _place() -> str:
    if services().applying.progress().state is not State.NOT_BEGUN:
        return url_for("wizard.progress")
    step = wizard_steps.first_open(services().draft.answers())
    return url_for("wizard.show_step", name=step.name)


@pages.get("/help")
def help_page() -> str:
    return render_template("wizard/help.html", page=manual.page("wizard"))


# -- claim ----------------------------------------------------------------------------


@pages.route("/claim", methods=["GET", "POST"])
def claim() -> Response | tuple[str, int]:
    if visit.is_claimer():
        return redirect(_place(), 303)
    if request.method == "GET":
        return _claim_page(), 200
    take_over = request.form.get("take_over") == "yes"
    session = visit.ensure_session()
    who = {"session": session.id_hash, "peer": visit.current().peer}
    claim = services().claim
    if press := request.form.get("press"):
        outcome = claim.try_press(**who, take_over=press == "take-over")
    else:
        typed = request.form.get("code", "")[:100]
        outcome = claim.try_code(typed, **who, take_over=take_over)
    if outcome is Outcome.CLAIMED:
        _answer_what_is_known()
        return redirect(_place(), 303)
    if outcome is Outcome.CLOSED:
        return redirect(url_for("home.page"), 303)
    status = {Outcome.PAUSED: 429, Outcome.TAKEN: 409, Outcome.NO_CODE: 503}.get(outcome, 422)
    return _claim_page(outcome, typed=request.form.get("code", "")[:100]), status


def _answer_what_is_known() -> None:
    """After a reset of the password the other answers stand in the settings."""
    s = services()
    if not s.draft.answers():
        s.draft.save("claim", wizard_steps.answered_before(s.view().settings))


def _claim_page(outcome: Outcome | None = None, typed: str = "") -> str:
    claim = services().claim
    pause = claim.pause_seconds()
    error = ""
    if outcome is Outcome.WRONG:
        error = _(
            "This is not the code of this box. %(left)s more tries, then there is a pause of 15 "
            "minutes.",
            left=claim.tries_left(),
        )
    return render_template(
        "wizard/claim.html",
        holder=claim.holder(),
        pause=duration(pause) if pause else "",
        has_code=claim.has_code(),
        wrong=error,
        not_pressed=outcome is Outcome.NOT_PRESSED,
        preseed=services().view().facts.get("preseed", {}),
        kept=bool(services().view().settings.mail.hostname),
        typed=typed if outcome is Outcome.WRONG else "",
        languages=LANGUAGES,
    )


# -- the steps ------------------------------------------------------------------------


@pages.get("/<any(language,administrator,domain,hostname,incoming,outgoing,dns,disk,summary):name>")
def show_step(name: str) -> Response | str:
    step = BY_NAME[name]
    s = services()
    answers = s.draft.answers()
    if s.applying.progress().state not in (State.NOT_BEGUN, State.FAILED):
        return redirect(url_for("wizard.progress"), 303)
    if not wizard_steps.reachable(step, answers):
        return redirect(_place(), 303)
    typed = s.draft.typed(name)
    if name == "disk":
        return _page(step, answers, wizard_disk.show(answers, typed), wizard_disk.look())
    return _page(step, answers, wizard_steps.show(step, answers, typed))


@pages.post("/<any(language,administrator,domain,hostname,incoming,outgoing,dns,disk):name>")
def answer_step(name: str) -> Response | tuple[str, int]:
    step = BY_NAME[name]
    s = services()
    answers = s.draft.answers()
    if s.applying.progress().state in (State.RUNNING, State.DONE):
        return redirect(url_for("wizard.progress"), 303)
    if not wizard_steps.reachable(step, answers):
        return redirect(_place(), 303)
    offer = wizard_disk.look() if name == "disk" else None
    if offer is not None:
        reading = wizard_disk.read(request.form, offer)
    else:
        reading = wizard_steps.read(step, request.form, answers)
    do = request.form.get("do", "next")
    stay = do == "add" or do.startswith("remove-")
    if reading.good and not stay:
        s.draft.save(name, reading.answers)
        s.applying.forget()
    else:
        s.draft.keep_typed(name, reading.typed)
    if stay:
        return redirect(url_for("wizard.show_step", name=name), 303)
    if do == "back":
        return redirect(_before(step), 303)
    if not reading.good:
        return _page(step, answers, reading, offer), 422
    response = make_response(redirect(_after(step), 303))
    if name == "language":
        response.set_cookie(
            "language",
            reading.answers["box.language"],
            max_age=365 * 86400,
            samesite="Lax",
            httponly=True,
            secure=visit.current().secure,
        )
    return response


def _before(step: Step) -> str:
    at = STEPS.index(step)
    return url_for("wizard.show_step", name=STEPS[max(0, at - 1)].name)


def _after(step: Step) -> str:
    """The next page, or straight back to the summary when one came from there."""
    if (
        request.form.get("then") == "summary"
        and not wizard_steps.first_open(services().draft.answers()).needs
    ):
        return url_for("wizard.show_step", name="summary")
    return url_for("wizard.show_step", name=STEPS[STEPS.index(step) + 1].name)


def _page(step: Step, answers: dict[str, Any], reading: Reading, offer: Offer | None = None) -> str:
    more: dict[str, Any] = {"offer": offer, "buses": disks.BUSES} if offer is not None else {}
    if step.name == "language":
        more["zones"] = time_zones()
    if step.name in ("dns", "summary"):
        settings = wizard_steps.settings_of(answers)
        facts = services().view().facts
        more["settings"] = settings
        look = bool(request.args.get("look")) and step.name == "dns"
        more["guide"] = dns_guide.guide(settings, facts, look=look)
        more["doubts"] = wizard_steps.doubts(answers)
        more["blocked"] = any(f.result is Result.BAD for f in more["doubts"])
    return render_template(
        f"wizard/{step.name}.html",
        step=step,
        number=STEPS.index(step) + 1,
        steps=STEPS,
        reading=reading,
        answers=answers,
        so_far=wizard_steps.so_far(answers),
        then=request.args.get("then") or request.form.get("then", ""),
        **more,
    )


@cache
def time_zones() -> dict[str, list[tuple[str, str]]]:
    """Time zones by continent: (value, city)."""
    found: dict[str, list[tuple[str, str]]] = {}
    for name in sorted(zoneinfo.available_timezones()):
        area, slash, city = name.partition("/")
        if slash and area in _AREAS:
            found.setdefault(area, []).append((name, city.replace("_", " ")))
    return found


_AREAS = frozenset(
    (
        "Africa",
        "America",
        "Antarctica",
        "Arctic",
        "Asia",
        "Atlantic",
        "Australia",
        "Europe",
        "Indian",
        "Pacific",
    )
)


# -- apply ----------------------------------------------------------------------------


@pages.post("/apply")
def apply() -> Response:
    s = services()
    answers = s.draft.answers()
    if s.applying.progress().state is State.INTERRUPTED or (
        not wizard_steps.first_open(answers).needs
        and not any(f.result is Result.BAD for f in wizard_steps.doubts(answers))
    ):
        s.applying.start()
        return redirect(url_for("wizard.progress"), 303)
    return redirect(_place(), 303)


@pages.get("/progress")
def progress() -> Response | str:
    s = services()
    now = s.applying.progress()
    if now.state is State.NOT_BEGUN:
        return redirect(_place(), 303)
    step = _step_to_mend(now.finding)
    return render_template("wizard/progress.html", progress=now, mend=step, steps=STEPS)


def _step_to_mend(finding: Finding | None) -> Step | None:
    """The page on which the setting stands that the finding names."""
    check = finding.check.removeprefix("settings.") if finding else ""
    for step in STEPS:
        if (
            step.needs
            and check
            and (check == step.needs or (step.name == "outgoing" and check.startswith("outbound.")))
        ):
            return step
    return None


@pages.get("/done")
def done() -> str:
    view = services().view()
    guide = dns_guide.guide(view.settings, view.facts, look=bool(request.args.get("look")))
    return render_template(
        "wizard/done.html",
        settings=view.settings,
        guide=guide,
        trouble=services().applying.progress().finding,
        mail_disk=mail_disk.of(maildisk.read(services().config.run)).calm,
    )
