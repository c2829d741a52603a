"""Home: the true state of each service, the queue in figures, and what hurts mail, worst first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from flask import Blueprint, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from appliance.base.finding import Finding, PennypostError, Result
from appliance.settings import checks
from appliance.spool import reconcile
from appliance.storage import maildisk
from appliance.web import mail_disk, visit
from appliance.web.i18n import N_, _
from appliance.web.mail_disk import MailDisk
from appliance.web.services import services
from appliance.web.words import day, number, parse_time, zone

pages = Blueprint("home", __name__)

# What a service is for, by the name that the steward gives it.
DUTIES: Mapping[str, str] = {
    "relay": N_("Takes mail in, keeps the queue, delivers"),
    "web": N_("These pages"),
    "nginx": N_("Encryption of these pages"),
    "resolver": N_("Looks up names"),
    "spam filter": N_("Judges mail by its content"),
    "mailboxes": N_("Keeps mail for mail programs (IMAP, POP3)"),
    "disks": N_("Watches the disks, tells when the mailbox disk is gone"),
    "firewall": N_("Packet filter"),
    "time": N_("Keeps the clock right"),
    "name": N_("Announces pennypost.local"),
    "ssh": N_("Remote shell"),
}
STATES: Mapping[str, tuple[str, str]] = {
    "running": ("ok", N_("running")),
    "starting": ("unknown", N_("starting")),
    "stopped": ("unknown", N_("stopped")),
    "failing": ("bad", N_("failing")),
}
_HURTS_FIRST = {Result.BAD: 0, Result.WARN: 1, Result.UNKNOWN: 2, Result.OK: 3}


@dataclass(frozen=True, slots=True)
class Now:
    """What was seen at one moment. `state` is running, stopped or failing: of mail as a whole."""

    state: str
    why: str
    relay: Mapping[str, Any] | None
    services: list[Mapping[str, Any]]
    findings: list[Finding]
    disk: MailDisk


def _services() -> tuple[list[Mapping[str, Any]], list[Finding]]:
    try:
        raw = services().steward.ask("services.status", timeout_seconds=10.0)
    except PennypostError as error:
        return [], [error.finding]
    found: list[Mapping[str, Any]] = [
        {**s, "since_at": parse_time(s.get("since"))} for s in raw or () if isinstance(s, dict)
    ]
    return found, [_failing(s) for s in found if s.get("state") == "failing"]


def _failing(service: Mapping[str, Any]) -> Finding:
    name = str(service.get("name", ""))
    return Finding(
        check=f"service.{name}",
        result=Result.BAD,
        say=_("The service “%(name)s” fails: %(why)s", name=name, why=service.get("why") or "?"),
        means=_("Mail waits, nothing is lost.") if name == "relay" else _(DUTIES.get(name, "")),
        fix=_("It is started again by itself. If it keeps failing, restart the box."),
    )


def mail_state(relay: Mapping[str, Any] | None, *, enabled: bool) -> tuple[str, str]:
    """The true state of mail: (running, stopped or failing; why)."""
    if relay is None:
        return ("failing", _("The mail service does not answer.")) if enabled else ("stopped", "")
    why = str(relay.get("why") or "")
    if not enabled:
        return "stopped", why
    if relay.get("accepting") is False or relay.get("state") in ("failing", "stopped"):
        return "failing", why
    return "running", why


def gather() -> Now:
    """Ask steward and relay; what does not answer becomes a finding."""
    s = services()
    view = s.view()
    found, findings = _services()
    s.relay_state.forget()  # the header may be some seconds old, this page not
    relay = s.relay_state.status()
    state, why = mail_state(relay, enabled=view.settings.mail.enabled)
    if state == "failing" and not any(f.check == "service.relay" for f in findings):
        findings.append(
            Finding(
                check="mail.state",
                result=Result.BAD,
                say=_("Mail is not taken in at the moment."),
                means=" ".join(filter(None, (why, _("Other servers keep it and come back.")))),
                fix=_("Look at the services below."),
            )
        )
    findings += _of_relay(relay)
    findings += _books_that_disagree(relay)
    findings += _braked(relay)
    disk = mail_disk.of(maildisk.read(s.config.run))
    findings += disk.findings
    findings += nobody_to_sign_in(view.settings.submission.sign_in)
    findings += checks.findings(view.settings)
    findings += _advice(view.settings.mail.enabled, not view.settings.mail.relay_domains)
    findings.sort(key=lambda f: _HURTS_FIRST[f.result])
    return Now(state=state, why=why, relay=relay, services=found, findings=findings, disk=disk)


def _of_relay(relay: Mapping[str, Any] | None) -> list[Finding]:
    """What the relay noticed by itself: suspended block lists, next hops that take everybody."""
    raw = relay.get("findings") if relay is not None else None
    found = [Finding.from_json(item) for item in raw or () if isinstance(item, dict)]
    return [one for one in found if not one.check.startswith("account.brake")]  # see _braked


def _braked(relay: Mapping[str, Any] | None) -> list[Finding]:
    """B18: accounts whose mail is held until somebody has looked."""
    found = relay.get("brakes") if relay else None
    return [
        Finding(
            check="account.brake",
            result=Result.BAD,
            say=_("The mail of the account “%(name)s” is held.", name=str(b.get("login"))),
            means=_(
                "It suddenly wrote to very many strangers: the password may be stolen. "
                "%(n)s letters wait.",
                n=b.get("held", 0),
            ),
            fix=_("Ask the person; then release the account, or give it another password."),
        )
        for b in found or ()
        if isinstance(b, dict)
    ]


def nobody_to_sign_in(on: bool) -> list[Finding]:
    """S1: signing in is on, and there is nobody who could."""
    if not on:
        return []
    try:
        if services().steward.ask("account.list", timeout_seconds=10.0):
            return []
    except PennypostError:
        return []  # that the steward does not answer is said already
    return [
        Finding(
            check="account.none",
            result=Result.WARN,
            say=_("Signing in is switched on, and there is no account."),
            means=_("Passwords can be guessed at, and nobody has one."),
            fix=_("Add accounts under People, or switch signing in off."),
        )
    ]


def _books_that_disagree(relay: Mapping[str, Any] | None) -> list[Finding]:
    """What the last comparison of queue and ledger found wrong (B2)."""
    found = (relay or {}).get("ledger")
    if not isinstance(found, dict):
        return []
    return [
        Finding(
            check="ledger",
            result=Result.BAD,
            say=_(reconcile.DISAGREE, what=_(entry["say"]), ids=", ".join(entry["ids"]) or "?"),
            means=_("Something changed queue or ledger by hand, or the disk is failing."),
            fix=_("Keep the data, and have it looked at: pennypost ledger check."),
        )
        for entry in found["mismatches"]
    ]


def books(relay: Mapping[str, Any] | None) -> str:
    """The sentence that all is accounted for; empty when it was not looked at or is not so."""
    found = (relay or {}).get("ledger")
    if not isinstance(found, dict) or not found["ok"]:
        return ""
    since = parse_time(found["since"])
    if not found["messages"] or since is None:
        return _(reconcile.NOT_YET)
    here = zone(services().view().settings.box.time_zone)
    return _(reconcile.ALL_THERE, n=number(int(found["messages"])), since=day(since, here))


def _advice(enabled: bool, nothing_relayed: bool) -> list[Finding]:
    found = []
    if not enabled:
        found.append(
            Finding(
                check="settings.mail.enabled",
                result=Result.WARN,
                say=_("The mail service is switched off."),
                means=_("The mail ports are shut; what is queued waits."),
                fix=_("Switch it on under Settings, Mail."),
            )
        )
    elif nothing_relayed:
        found.append(
            Finding(
                check="settings.mail.relay_domains",
                result=Result.WARN,
                say=_("No relay domain is set."),
                means=_("Mail from outside is refused, for there is nowhere to hand it to."),
                fix=_("Add the domains and their server under Settings, Mail."),
            )
        )
    return found


# Where a finding can be mended: by the beginning of its check.
MENDS: tuple[tuple[str, str, str], ...] = (
    ("account.", "/people/accounts/", N_("Open the accounts")),
    ("settings.submission.", "/settings/sending", N_("Open sending")),
    ("settings.mail.", "/settings/mail", N_("Open mail settings")),
    ("settings.senders.", "/settings/senders/", N_("Open the lists")),
    ("settings.filter.", "/settings/filter", N_("Open the settings for strangers")),
    ("filter.", "/settings/filter", N_("Open the settings for strangers")),
    ("settings.outbound.", "/settings/outgoing", N_("Open outgoing mail")),
    ("settings.relay.", "/settings/limits", N_("Open networks and limits")),
    ("settings.queue.", "/settings/times", N_("Open queue times")),
    ("settings.", "/settings/", N_("Open settings")),
    ("disks.", "/disks/", N_("Open the mailbox disk")),
    ("dns.", "/dns/", N_("Open the DNS guide")),
)


def mend(finding: Finding) -> tuple[str, str] | None:
    """The page that mends what a finding says: (address, words on the button)."""
    for start, address, words in MENDS:
        if finding.check.startswith(start):
            return address, _(words)
    return None


def _page(now: Now) -> str:
    return render_template(
        "home/page.html", now=now, duties=DUTIES, states=STATES, books=books(now.relay)
    )


@pages.get("/more")
def more() -> str:
    """The fifth place of the bar on a phone."""
    return render_template("home/more.html", place="more")


@pages.post("/identify")
def identify() -> Response:
    """H4: let the box blink, so that one finds it among others; again ends it."""
    on = request.form.get("do") != "off"
    services().steward.ask("box.identify", {"on": on})
    if on:
        visit.say_next(_("The box blinks for five minutes. A press of its button ends it."))
    else:
        visit.say_next(_("The box does not blink any more."))
    return redirect(url_for("home.page"), 303)


@pages.get("/")
def page() -> str:
    return _page(gather())
