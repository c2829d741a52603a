"""Settings: forms made from the schema, the mail switch (G11), history and undo (B7).

Every change goes through the steward, whole: it checks, renders, lets the programs verify,
switches, probes; when it refuses, the old settings keep running and the form shows why,
beside the field where there is one, with everything kept as typed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from flask import Blueprint, abort, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from appliance.base.finding import Finding, PennypostError, Refused, Result
from appliance.settings import checks, schema
from appliance.settings.rules_section import Alias
from appliance.settings.senders import SenderEntry
from appliance.web import forms, home, relay_rows, visit, wizard
from appliance.web.daemons import APPLY_TIMEOUT_SECONDS
from appliance.web.forms import Entry
from appliance.web.i18n import N_, _
from appliance.web.relay_rows import Row
from appliance.web.services import services
from appliance.web.words import parse_time

pages = Blueprint("settings", __name__, url_prefix="/settings")
RELAYS = "mail.relay_domains"
HIDDEN = "(kept secret)"
TRIAL_TIMEOUT_SECONDS = 90.0


@dataclass(frozen=True, slots=True)
class Screen:
    """One page of settings: its name in the address, title, lead, and fields in order."""

    name: str
    title: str
    lead: str
    fields: tuple[str, ...]
    more: tuple[str, ...] = ()  # below a fold: right for most as they are

    @property
    def all(self) -> tuple[str, ...]:
        return self.fields + self.more


SCREENS = (
    Screen(
        "mail",
        N_("Mail"),
        N_("Which domains the box takes mail for, and where it hands it."),
        ("mail.main_domain", "mail.hostname", "mail.additional_domains", RELAYS),
        ("mail.max_message_bytes", "mail.max_recipients"),
    ),
    Screen(
        "outgoing",
        N_("Outgoing mail"),
        N_("How mail leaves the box."),
        (
            "outbound.mode",
            "outbound.smarthost_host",
            "outbound.smarthost_port",
            "outbound.smarthost_tls",
            "outbound.smarthost_user",
            "outbound.smarthost_password",
        ),
        (
            "outbound.tls",
            "outbound.dane",
            "delivery.lmtp",
            "outbound.connect_timeout_seconds",
            "outbound.reply_timeout_seconds",
            "outbound.connections_per_destination",
            "outbound.messages_per_connection",
            "outbound.connections_total",
            "outbound.route_overrides",
        ),
    ),
    Screen(
        "filter",
        N_("Strangers"),
        N_("What is asked about a stranger before a letter is taken."),
        (
            "filter.check_sender_domain",
            "filter.dnsbl",
            "filter.dnsbl_zones",
            "filter.greylist",
        ),
        (
            "filter.check_spf",
            "filter.check_dkim",
            "filter.dmarc",
            "filter.permitted_skip_dnsbl",
            "filter.greylist_delay_seconds",
            "filter.greylist_window_seconds",
            "filter.greylist_memory_days",
        ),
    ),
    Screen(
        "limits",
        N_("Networks and limits"),
        N_("Who may send through the box without logging in, and how much it bears."),
        ("relay.trusted_networks",),
        (
            "relay.connections_total",
            "relay.connections_per_address",
            "relay.command_timeout_seconds",
            "relay.transaction_timeout_seconds",
            "relay.errors_per_session",
            "relay.max_hops",
        ),
    ),
    Screen(
        "mailboxes",
        N_("Mailboxes"),
        N_("Whether mail is kept here, how mail programs fetch it, and how much there may be."),
        (
            "mailboxes.enabled",
            "mailboxes.imaps",
            "mailboxes.imap",
            "mailboxes.pop3s",
            "mailboxes.pop3",
            "mailboxes.quota_bytes",
            "mailboxes.trash_days",
            "mailboxes.junk_days",
        ),
        (
            "mailboxes.spam_to_junk",
            "mailboxes.full_text_search",
            "mailboxes.managesieve",
        ),
    ),
    Screen(
        "sending",
        N_("Sending"),
        N_("How your own people send: signing in, and how much one account may send."),
        ("submission.sign_in", "submission.check_from", "submission.brake"),
        (
            "submission.max_per_hour",
            "submission.max_recipients_per_hour",
            "submission.brake_new_recipients",
            "submission.brake_new_domains",
        ),
    ),
    Screen(
        "copies",
        N_("Copies of all mail"),
        N_("One address that gets a copy of everything that comes in or goes out."),
        ("rules.copy_incoming", "rules.copy_outgoing"),
    ),
    Screen(
        "content",
        N_("Spam and viruses"),
        N_("What is looked for in messages, and what becomes of them."),
        (
            "content.spam",
            "content.mark_score",
            "content.junk_score",
            "content.quarantine_score",
            "content.refuse_score",
            "content.subject_tag",
            "content.forbidden_attachments",
            "content.attachment_action",
            "content.closed_archives",
            "content.virus",
            "content.clamav",
            "content.virus_action",
        ),
        (
            "content.spam_for_own",
            "content.virus_for_permitted",
            "content.ask_lists",
            "content.scanner",
            "content.timeout_seconds",
            "content.scan_bytes",
        ),
    ),
    Screen(
        "times",
        N_("Queue times"),
        N_("How long mail waits, and when its sender is told."),
        ("queue.retry_seconds", "queue.delay_notice_seconds", "queue.give_up_seconds"),
        ("queue.reserve_bytes", "queue.ledger_days", "queue.ledger_bytes"),
    ),
    Screen(
        "network",
        N_("Address"),
        N_("How the box gets its address."),
        ("network.mode", "network.address", "network.gateway", "box.dns_forwarders"),
    ),
    Screen(
        "box",
        N_("The box"),
        N_("Language, clock, names and these pages."),
        ("box.language", "box.time_zone", "box.ssh_authorized_keys"),
        (
            "box.ntp_servers",
            "web.session_idle_minutes",
            "web.session_hours",
            "web.allowed_hosts",
            "disks.allow_usb",
        ),
    ),
)
# Settings that have a page of another kind.
OWN_PAGES = {
    "mail.enabled": "/settings/mail",
    "signing.enabled": "/settings/signatures/",
    "senders.permitted": "/settings/senders/",
    "senders.forbidden": "/settings/senders/",
    "rules.aliases": "/aliases/",
}
BY_NAME = {screen.name: screen for screen in SCREENS}
ANY_SCREEN = f"/<any({','.join(BY_NAME)}):name>"


def stored() -> tuple[int, dict[str, Any]]:
    """The settings as the steward has them: the revision and the values by name."""
    answer = services().steward.ask("settings.show")
    known = schema.by_name()
    flat = schema.flatten(answer.get("settings", {}))
    values = {n: v for n, v in flat.items() if n in known}
    # The steward keeps secrets to itself; where there is a user name there is a password.
    if values.get("outbound.smarthost_user"):
        values.setdefault("outbound.smarthost_password", HIDDEN)
    return int(answer["revision"]), values


def change(changes: Mapping[str, Any], base_revision: int | None) -> Mapping[str, Any]:
    """Have the steward put `changes` into force. Raises Refused with its finding."""
    args: dict[str, Any] = {"changes": dict(changes), "author": visit.current().user}
    if base_revision is not None:
        args["base_revision"] = base_revision
    answer: Mapping[str, Any] = services().steward.ask(
        "settings.change", args, timeout_seconds=APPLY_TIMEOUT_SECONDS
    )
    services().relay_state.forget()
    return answer


def content_state(status: Mapping[str, Any] | None) -> tuple[str, str, Finding | None, str]:
    """The scanner's state for the page: colour, word, what is wrong, its last trouble."""
    scanner = (status or {}).get("scanner")
    if not isinstance(scanner, Mapping):
        return "unknown", N_("off"), None, ""
    finding, trouble = Finding.from_json(scanner["finding"]), str(scanner["last_trouble"])
    if finding.result is Result.OK:
        return "ok", N_("running"), None, trouble
    return "bad", N_("does not answer"), finding, trouble


@pages.get("/")
def contents() -> str:
    return render_template("settings/contents.html", screens=SCREENS)


@pages.get(ANY_SCREEN)
def show(name: str) -> str:
    screen = BY_NAME[name]
    revision, values = stored()
    plain_fields = [n for n in screen.all if n != RELAYS]
    return _page(
        screen,
        revision,
        forms.fill(plain_fields, values),
        relay_rows.from_settings(values.get(RELAYS, [])),
    )


def _page(
    screen: Screen,
    revision: int,
    entries: Mapping[str, Entry],
    rows: list[Row],
    finding: Finding | None = None,
    trial: Sequence[Finding] = (),
    list_tests: Sequence[Mapping[str, Any]] = (),
) -> str:
    s = services()
    enabled = s.view().settings.mail.enabled
    state, why = home.mail_state(s.relay_state.status(), enabled=enabled)
    return render_template(
        f"settings/{screen.name}.html",
        screen=screen,
        screens=SCREENS,
        revision=revision,
        entries=entries,
        rows=rows,
        finding_shown=finding,
        trial=trial,
        wrong=any(e.error for e in entries.values()) or any(r.error for r in rows),
        enabled=enabled,
        mail_state=state,
        mail_why=why,
        states=home.STATES,
        scanner=content_state(s.relay_state.status()) if screen.name == "content" else None,
        list_tests=list_tests,
        zones=wizard.time_zones() if screen.name == "box" else {},
        warnings=_doubts(screen),
    )


def _doubts(screen: Screen) -> list[Finding]:
    """What is allowed, in force, and doubtful: such as a network of very many strangers (S5)."""
    settings = services().view().settings
    names = {f"settings.{name}" for name in screen.all}
    found = [f for f in checks.findings(settings) if f.check in names]
    if screen.name == "sending":
        found += home.nobody_to_sign_in(settings.submission.sign_in)
    return found


@pages.post(ANY_SCREEN)
def save(name: str) -> Response | tuple[str, int]:
    screen = BY_NAME[name]
    revision, values = stored()
    entries, new = forms.read([n for n in screen.all if n != RELAYS], request.form, values)
    rows: list[Row] = []
    if RELAYS in screen.all:
        rows, new[RELAYS] = relay_rows.check(
            relay_rows.from_form(request.form),
            main_domain=str(new.get("mail.main_domain", "")),
            additional=new.get("mail.additional_domains", ()),
        )
    do = request.form.get("do", "save")
    wrong = any(e.error for e in entries.values()) or any(r.error for r in rows)
    if do != "save" or wrong:
        return _page(screen, revision, entries, rows), 200 if do != "save" else 422
    changed = {n: v for n, v in new.items() if v != values.get(n)}
    if not changed:
        visit.say_next(_("Nothing was changed."))
        return redirect(url_for("settings.show", name=name), 303)
    try:
        change(changed, base_revision())
    except Refused as refused:
        beside = forms.blame(entries, refused.finding)
        shown = None if beside else refused.finding
        return _page(screen, revision, entries, _blame_rows(rows, refused.finding), shown), 422
    visit.say_next(_("Saved and in use."), fix=_("It can be undone under Settings, History."))
    return redirect(url_for("settings.show", name=name), 303)


def base_revision() -> int | None:
    """The revision that a form was made from, if it says so."""
    typed = request.form.get("revision", "")
    return int(typed) if typed.isdecimal() and len(typed) < 12 else None


def _blame_rows(rows: list[Row], finding: Finding) -> list[Row]:
    """The steward's word on relay domains goes to the row that it names, when one can tell."""
    if not finding.check.endswith(RELAYS):
        return rows
    return [
        replace(row, error=finding.say, wrong="domain")
        if row.domain and row.domain.lower() in finding.say
        else row
        for row in rows
    ]


@pages.post("/outgoing/test")
def try_smarthost() -> str:
    """A1's test button: the steps of a delivery through the smarthost that is in use."""
    screen = BY_NAME["outgoing"]
    revision, values = stored()
    try:
        answer = services().relay.ask("smarthost.test", timeout_seconds=TRIAL_TIMEOUT_SECONDS)
        trial = [Finding.from_json(found) for found in answer]
    except PennypostError as error:
        trial = [error.finding]
    return _page(screen, revision, forms.fill(screen.all, values), [], trial=trial)


@pages.post("/mail/switch")
def switch() -> Response:
    """G11: start or stop the whole mail service."""
    on = request.form.get("enabled") == "on"
    try:
        change({"mail.enabled": on}, None)
        say = _("The mail service is started.") if on else _("The mail service is stopped.")
        visit.say_next(say, means="" if on else _("What is queued waits; nothing is lost."))
    except Refused as refused:
        f = refused.finding
        visit.say_next(f.say, result=f.result, means=f.means, fix=f.fix)
    return redirect(url_for("settings.show", name="mail"), 303)


@pages.post("/filter/test-lists")
def test_lists() -> str:
    """Prove each block list that is set."""
    screen = BY_NAME["filter"]
    revision, values = stored()
    results = services().relay.ask("dnsbl.test", timeout_seconds=120.0)
    entries = forms.fill(screen.all, values)
    return _page(screen, revision, entries, [], list_tests=results)


# -- history --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Difference:
    """One setting that a change touched."""

    label: str
    name: str
    old: str
    new: str


def _difference(name: str, pair: Any) -> Difference:
    field = schema.by_name().get(name)
    old, new = (pair[0], pair[1]) if isinstance(pair, list | tuple) and len(pair) == 2 else ("", "")
    label = _(field.label) if field else name
    if field and field.secret:
        return Difference(label, name, _("kept secret"), _("kept secret"))
    return Difference(label, name, _shown(old), _shown(new))


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return _("on") if value else _("off")
    if isinstance(value, list):
        return "\n".join(_shown(item) for item in value) or _("(empty)")
    if isinstance(value, dict) and "entry" in value:
        return SenderEntry.from_json(value).to_text()
    if isinstance(value, dict):
        for kind in (schema.RelayDomain, Alias):
            try:
                return kind.from_json(value).to_text()
            except ValueError:
                continue
        return str(value)
    return str(value) if value not in (None, "") else _("(empty)")


@pages.get("/history")
def history() -> str:
    raw = services().steward.ask("settings.history", {"limit": 100})
    changes = [
        {
            "revision": int(entry["revision"]),
            "at": parse_time(entry.get("at")),
            "author": str(entry.get("author", "")),
            "differences": [_difference(n, p) for n, p in dict(entry.get("changes", {})).items()],
        }
        for entry in raw
    ]
    return render_template("settings/history.html", changes=changes)


@pages.post("/history/undo")
def undo() -> Response:
    take_back()
    return redirect(url_for("settings.history"), 303)


def take_back() -> None:
    """Undo the change that the form names, and have the next page say so."""
    typed = request.form.get("revision", "")
    if not typed.isdecimal() or len(typed) > 12:
        abort(400)
    try:
        services().steward.ask(
            "settings.undo",
            {"revision": int(typed), "author": visit.current().user},
            timeout_seconds=APPLY_TIMEOUT_SECONDS,
        )
        services().relay_state.forget()
        visit.say_next(_("Change %(n)s is undone.", n=typed))
    except Refused as refused:
        f = refused.finding
        visit.say_next(f.say, result=Result.BAD, means=f.means, fix=f.fix)
