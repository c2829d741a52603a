"""The wizard's pages in their order, and what makes an answer right. Pure: forms in, answers out.

`STEPS` is the order in which people meet them; the page, the progress line, "so far" and the
redirects all follow it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from appliance.accounts import passwords
from appliance.accounts.store import account_name
from appliance.base.finding import Finding, Refused
from appliance.settings import checks, parse, schema
from appliance.settings.parse import Bad
from appliance.settings.schema import Settings
from appliance.web import forms, relay_rows
from appliance.web.forms import Entry
from appliance.web.i18n import N_, _
from appliance.web.relay_rows import Row

INVENTED_DOMAIN = "box.invalid"
NAME, HASH, DNS_SEEN = "administrator.name", "administrator.password_hash", "wizard.dns_seen"
DISK = "wizard.disk"  # {"work": "later"}, or connect or take with disk, name, typed, agreed
SMARTHOST = (
    "outbound.smarthost_host",
    "outbound.smarthost_tls",
    "outbound.smarthost_user",
    "outbound.smarthost_password",
)


@dataclass(frozen=True, slots=True)
class Step:
    """`needs` is in the draft once the step is answered."""

    name: str
    short: str
    needs: str


STEPS = (
    Step("language", N_("Language and time"), "box.language"),
    Step("administrator", N_("Administrator"), HASH),
    Step("domain", N_("Main mail domain"), "mail.main_domain"),
    Step("hostname", N_("Name of the mail server"), "mail.hostname"),
    Step("incoming", N_("Incoming mail"), "mail.relay_domains"),
    Step("outgoing", N_("Outgoing mail"), "outbound.mode"),
    Step("dns", N_("DNS records"), DNS_SEEN),
    Step("disk", N_("Mailbox disk"), DISK),
    Step("summary", N_("Summary"), ""),
)
BY_NAME = {step.name: step for step in STEPS}


@dataclass(slots=True)
class Reading:
    """A submitted page: `answers` when all is well, else `entries`, `rows`, `errors` to show."""

    answers: dict[str, Any] = field(default_factory=dict)
    entries: dict[str, Entry] = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)
    errors: dict[str, str] = field(default_factory=dict)
    typed: dict[str, Any] = field(default_factory=dict)

    @property
    def good(self) -> bool:
        return (
            not self.errors
            and not any(e.error for e in self.entries.values())
            and not any(r.error for r in self.rows)
        )


def first_open(answers: Mapping[str, Any]) -> Step:
    """The first step that has no answer yet; the summary when all have."""
    for step in STEPS:
        if step.needs and step.needs not in answers:
            return step
    return STEPS[-1]


def reachable(step: Step, answers: Mapping[str, Any]) -> bool:
    return STEPS.index(step) <= STEPS.index(first_open(answers))


def settings_of(answers: Mapping[str, Any]) -> Settings:
    """The settings that the answers so far make. Raises Refused like the schema."""
    return schema.from_json(changes_of(answers))


def changes_of(answers: Mapping[str, Any]) -> dict[str, Any]:
    known = schema.by_name()
    return {name: value for name, value in answers.items() if name in known}


def answered_before(settings: Settings) -> dict[str, Any]:
    """The answers of a box that was set up once and only lost its administrators (H5).

    A smarthost's password is not shown to the pages, so its page is asked again.
    """
    if not settings.mail.hostname:
        return {}
    names = ["box.language", "box.time_zone", "mail.main_domain", "mail.hostname"]
    names += ["mail.relay_domains", "outbound.mode"]
    if settings.outbound.smarthost_host:
        names.remove("outbound.mode")
    flat = schema.to_json(settings, secrets=False)
    return {name: flat[name] for name in names} | {DNS_SEEN: True, DISK: {"work": "later"}}


def doubts(answers: Mapping[str, Any]) -> list[Finding]:
    """What the rules across settings say of the answers, once mail is on."""
    try:
        settings = schema.from_json({**changes_of(answers), "mail.enabled": True})
    except Refused as error:
        return [error.finding]
    return checks.findings(settings)


# -- reading the pages ----------------------------------------------------------------

Form = Mapping[str, str]


def read(step: Step, form: Form, answers: Mapping[str, Any]) -> Reading:
    """Read what was sent from the page of `step`."""
    return _READERS[step.name](form, answers)


def _read_language(form: Form, answers: Mapping[str, Any]) -> Reading:
    names = ("box.language", "box.time_zone")
    entries, values = forms.read(names, form, answers)
    return Reading(values, entries, typed={name: form.get(name, "") for name in names})


def _read_administrator(form: Form, answers: Mapping[str, Any]) -> Reading:
    typed = form.get("name", "")[:100]
    reading = Reading(typed={"name": typed})
    try:
        reading.answers[NAME] = account_name(typed)
    except Refused as error:
        reading.errors["name"] = f"{_(error.finding.say)} {_(error.finding.fix)}"
    password, again = form.get("password", ""), form.get("again", "")
    if not password and not again and HASH in answers:
        return reading  # it stands already; only the name may have changed
    judged = passwords.strength(password, name=typed)
    if not judged.acceptable:
        reading.errors["password"] = _(
            "This password is %(word)s. %(advice)s", word=_(judged.word), advice=_(judged.advice)
        )
    elif password != again:
        reading.errors["again"] = _("The two passwords differ. Type it twice the same.")
    elif not reading.errors:
        reading.answers[HASH] = passwords.make_hash(password)
    return reading


def _read_domain(form: Form, answers: Mapping[str, Any]) -> Reading:
    name = "mail.main_domain"
    if form.get("do") == "invent":
        form = {name: INVENTED_DOMAIN}
    entries, values = forms.read((name,), form, answers)
    reading = Reading(values, entries, typed={name: form.get(name, "")})
    if name in values and not values[name]:
        reading.errors[name] = _("A main mail domain is needed, such as example.com.")
    elif any(r["domain"] == values.get(name) for r in answers.get("mail.relay_domains", [])):
        reading.errors[name] = _(
            "You have entered %(domain)s as a domain that another server gets the mail of. "
            "A domain can't be both. Take an invented main domain such as box.invalid, or "
            "remove it under “Incoming mail”.",
            domain=values[name],
        )
    return reading


def _read_hostname(form: Form, answers: Mapping[str, Any]) -> Reading:
    name = "mail.hostname"
    entries, values = forms.read((name,), form, answers)
    reading = Reading(values, entries, typed={name: form.get(name, "")})
    if name in values and not values[name]:
        reading.errors[name] = _("The server needs a name, such as mail.example.com.")
    return reading


def suggested_hostname(answers: Mapping[str, Any]) -> str:
    """`mail.` and the main domain; nothing for an invented one, which nobody can look up."""
    domain = str(answers.get("mail.main_domain", ""))
    return "" if not domain or domain.endswith(".invalid") else f"mail.{domain}"


def _read_incoming(form: Form, answers: Mapping[str, Any]) -> Reading:
    rows = relay_rows.from_form(form)
    judged, good = relay_rows.check(rows, main_domain=str(answers.get("mail.main_domain", "")))
    return Reading(
        {"mail.relay_domains": good},
        rows=judged,
        typed={"rows": [row.to_json() for row in rows]},
    )


def _read_outgoing(form: Form, answers: Mapping[str, Any]) -> Reading:
    names: tuple[str, ...] = ("outbound.mode", *SMARTHOST)
    entries, values = forms.read(names, form, answers)
    typed = {n: form.get(n, "") for n in names if not schema.by_name()[n].secret}
    if form.get("outbound.mode") != "smarthost":
        # What was typed for a smarthost stays for the day one comes back to it.
        mode = {"outbound.mode": entries["outbound.mode"]}
        return Reading({"outbound.mode": "direct"} if _direct(form) else {}, mode, typed=typed)
    reading = Reading(values, entries, typed=typed)
    _read_smarthost(form.get(SMARTHOST[0], ""), reading)
    if reading.good:
        for finding in doubts({**answers, **reading.answers}):
            if finding.result == "bad" and finding.check.startswith("settings.outbound."):
                forms.blame(reading.entries, finding)
    return reading


def _direct(form: Form) -> bool:
    return form.get("outbound.mode") == "direct"


def _read_smarthost(typed: str, reading: Reading) -> None:
    """The host with an optional port; without one, the usual port of the encryption chosen."""
    name = SMARTHOST[0]
    usual = {"implicit": 465, "required": 587, "opportunistic": 587, "none": 25}
    port = usual.get(str(reading.answers.get("outbound.smarthost_tls")), 587)
    entry = reading.entries[name]
    if not typed.strip():
        reading.errors[name] = _("The name of your provider's server is missing.")
        return
    try:
        host, port = parse.host_and_port(typed, port)
    except Bad as error:
        reading.entries[name] = Entry(entry.field, typed, _(error.say), _(error.fix))
        return
    reading.entries[name] = Entry(entry.field, typed)
    reading.answers[name] = host
    reading.answers["outbound.smarthost_port"] = port


def smarthost_text(answers: Mapping[str, Any]) -> str:
    """The stored smarthost as one types it: host, and the port when there is one."""
    host = str(answers.get(SMARTHOST[0], ""))
    port = answers.get("outbound.smarthost_port")
    if not host or not port:
        return host
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _read_dns(form: Form, answers: Mapping[str, Any]) -> Reading:
    return Reading({DNS_SEEN: True})


_READERS: Mapping[str, Callable[[Form, Mapping[str, Any]], Reading]] = {
    "language": _read_language,
    "administrator": _read_administrator,
    "domain": _read_domain,
    "hostname": _read_hostname,
    "incoming": _read_incoming,
    "outgoing": _read_outgoing,
    "dns": _read_dns,
}


# -- showing the pages ----------------------------------------------------------------


def show(step: Step, answers: Mapping[str, Any], typed: Mapping[str, Any] | None) -> Reading:
    """The page of `step` as it is opened: what was typed and not taken, else the answer."""
    if typed is not None and step.name == "incoming":
        form = {"relay-paste": ""}
        for number, (domain, target, verify) in enumerate(typed.get("rows", [])):
            form |= {
                f"relay-{number}-domain": domain,
                f"relay-{number}-target": target,
                f"relay-{number}-verify": "on" if verify else "",
            }
        return _read_incoming(form, answers)
    if typed is not None and step.name != "administrator":
        return read(step, typed, answers)
    return _show_answers(step, answers, typed or {})


def _show_answers(step: Step, answers: Mapping[str, Any], typed: Mapping[str, Any]) -> Reading:
    if step.name == "administrator":
        return Reading(typed={"name": typed.get("name", answers.get(NAME, ""))})
    if step.name == "incoming":
        return Reading(rows=relay_rows.from_settings(answers.get("mail.relay_domains", [])))
    names: dict[str, tuple[str, ...]] = {
        "language": ("box.language", "box.time_zone"),
        "domain": ("mail.main_domain",),
        "hostname": ("mail.hostname",),
        "outgoing": ("outbound.mode", *SMARTHOST),
    }
    reading = Reading(entries=forms.fill(names.get(step.name, ()), answers))
    if step.name == "hostname" and "mail.hostname" not in answers:
        entry = reading.entries["mail.hostname"]
        reading.entries["mail.hostname"] = Entry(entry.field, suggested_hostname(answers))
    if step.name == "outgoing":
        entry = reading.entries[SMARTHOST[0]]
        reading.entries[SMARTHOST[0]] = Entry(entry.field, smarthost_text(answers))
    return reading


def so_far(answers: Mapping[str, Any]) -> list[tuple[Step, str]]:
    """Each answered step with its answer in a few words."""
    relays = answers.get("mail.relay_domains", [])
    language = forms.CHOICES.get(str(answers.get("box.language")), ("", ""))[0]
    outgoing = _("direct")
    if answers.get("outbound.mode") == "smarthost":
        outgoing = smarthost_text(answers)
    shown = ", ".join(r["domain"] for r in relays[:3]) + (", …" if len(relays) > 3 else "")
    texts = {
        "language": f"{language}, {answers.get('box.time_zone', '')}",
        "administrator": str(answers.get(NAME, "")),
        "domain": str(answers.get("mail.main_domain", "")),
        "hostname": str(answers.get("mail.hostname", "")),
        "incoming": shown or _("no relay domain"),
        "outgoing": outgoing,
        "dns": _("seen"),
        "disk": answers.get(DISK, {}).get("name") or _("later: relay only"),
    }
    return [(s, texts[s.name]) for s in STEPS if s.needs and s.needs in answers]
