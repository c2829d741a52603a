"""/style: every part of the pages in every state, on one page. It is tested and looked at."""

from __future__ import annotations

from flask import Blueprint, render_template

from appliance.base.finding import Finding, Result
from appliance.dns.advisor import Record, Seen
from appliance.settings import schema
from appliance.web.applying import Step
from appliance.web.forms import Entry
from appliance.web.relay_rows import Row

pages = Blueprint("style", __name__)

_FINDINGS = (
    Finding(
        check="settings.mail.hostname",
        result=Result.BAD,
        say="There is no A record for mail.example.com yet.",
        means="Other servers can't find the box.",
        fix="Have your registrar enter it as shown. It can take some hours to be seen.",
    ),
    Finding(
        check="mail.waiting",
        result=Result.WARN,
        say="12 letters have been waiting for more than a day.",
        means="Their senders have been told that delivery is late.",
        fix="Look whether the next hop is switched on.",
    ),
    Finding(
        check="dns.ptr",
        result=Result.UNKNOWN,
        say="The PTR record is not known yet.",
        means="No name server answered just now.",
        fix="Nothing to do; it is looked up again in 5 minutes.",
    ),
    Finding(check="mail.state", result=Result.OK, say="Mail flows in both directions."),
)


@pages.get("/style")
def page() -> str:
    known = schema.by_name()
    record = Record(
        type="MX",
        name="example.com",
        zone="example.com",
        value="10 mail.example.com.",
        why="It sends mail for example.com to the box.",
    )
    return render_template(
        "style/page.html",
        findings=_FINDINGS,
        seen=[Seen(record=record, now=("10 old.example.net.",), finding=_FINDINGS[0])],
        steps=(
            Step("Check", "done", 0.2),
            Step("Render", "done", 0.1),
            Step("Verify nginx", "running", 1.4),
            Step("Switch", "waiting"),
            Step("Reload the relay", "failed", 3.2),
        ),
        entries=(
            Entry(known["mail.hostname"], "mail.example.com"),
            Entry(
                known["mail.main_domain"],
                "exa mple.com",
                error="“exa mple” has a character that a domain name may not have.",
                fix="Write it like example.com.",
            ),
            Entry(known["mail.max_message_bytes"], "50"),
            Entry(known["outbound.mode"], "smarthost"),
            Entry(known["outbound.smarthost_tls"], "required"),
            Entry(known["outbound.smarthost_password"], stored=True),
            Entry(known["relay.trusted_networks"], "192.168.0.0/16"),
        ),
        rows=[
            Row("example.com", "10.20.30.40"),
            Row("example.org", "", error="The server for example.org is missing.", wrong="target"),
        ],
        tokens=(
            "paper",
            "card",
            "ink",
            "quiet",
            "line",
            "field",
            "post",
            "link",
            "ok",
            "warn",
            "bad",
        ),
    )
