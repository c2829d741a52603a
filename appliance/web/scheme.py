"""The filtering scheme as the chain's table has it, and "What would happen?" (F1, B9)."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from flask import Blueprint, render_template, request

from appliance.base.finding import PennypostError
from appliance.policy.verdict import Port, Station
from appliance.web.i18n import N_, _
from appliance.web.services import services

pages = Blueprint("scheme", __name__, url_prefix="/settings/scheme")
SIMULATE_TIMEOUT_SECONDS = 60.0
MAX_MESSAGE_CHARACTERS = 1_000_000

STATIONS: Mapping[str, str] = {
    Station.LIMITS: N_("Size, number and room"),
    Station.SANITY: N_("Form, sender and recipient"),
    Station.DNSBL: N_("Block lists"),
    Station.CLIENT: N_("Permitted and forbidden IP addresses"),
    Station.SENDER: N_("Permitted and forbidden senders"),
    Station.GREYLIST: N_("Greylisting"),
    Station.SPF: N_("Sender proof by address (SPF)"),
    Station.DKIM: N_("Sender proof by signature (DKIM)"),
    Station.DMARC: N_("What the sender's domain asks for (DMARC)"),
    Station.SPAM: N_("Spam"),
    Station.VIRUS: N_("Viruses and attachments"),
    Station.REWRITE: N_("Aliases, copies, signatures"),
    Station.DELIVERY: N_("Queue and delivery"),
}
STAGES: Mapping[str, str] = {
    "connect": N_("when it connects"),
    "mail": N_("when it names the sender"),
    "rcpt": N_("at each recipient"),
    "data": N_("before the message"),
    "content": N_("when the message is there"),
}
TOLD: Mapping[str, tuple[str, str]] = {
    "passed": ("ok", N_("passes")),
    "not asked": ("unknown", N_("not asked")),
    "note": ("ok", N_("passes, with a note")),
    "defer": ("warn", N_("put off")),
    "reject": ("bad", N_("refused")),
}
PORTS: Mapping[str, str] = {
    Port.SMTP: N_("25, from other servers"),
    Port.SUBMISSION: N_("587, from our people"),
    Port.SUBMISSIONS: N_("465, from our people"),
}
ENDS: Mapping[str, tuple[str, str]] = {
    "deliver": ("ok", N_("It would be taken.")),
    "mark": ("ok", N_("It would be taken and marked as perhaps spam.")),
    "junk": ("warn", N_("It would be taken as junk.")),
    "quarantine": ("warn", N_("It would be taken and held in the queue.")),
}


@dataclass(frozen=True, slots=True)
class Typed:
    """The form as it was filled in."""

    ip: str = ""
    sender: str = ""
    recipients: str = ""
    helo: str = ""
    port: str = Port.SMTP
    user: str = ""
    tls: bool = False
    message: str = field(default="", repr=False)

    @classmethod
    def read(cls, form: Mapping[str, str]) -> Typed:
        def text(name: str, most: int = 1_000) -> str:
            return form.get(name, "").strip()[:most]

        return cls(
            ip=text("ip"),
            sender=text("sender"),
            recipients=text("recipients", 20_000),
            helo=text("helo"),
            port=text("port") or Port.SMTP,
            user=text("user"),
            tls="tls" in form,
            message=form.get("message", "")[:MAX_MESSAGE_CHARACTERS],
        )

    def question(self) -> dict[str, Any]:
        """For the relay."""
        found: dict[str, Any] = {
            "ip": self.ip,
            "mail_from": self.sender.strip("<>"),
            "recipients": [
                word.strip("<>") for word in self.recipients.replace(",", " ").split() if word
            ],
            "helo": self.helo,
            "port": self.port,
            "user": self.user,
            "tls": self.tls,
        }
        if self.message.strip():
            raw = self.message.replace("\r\n", "\n").replace("\n", "\r\n").encode()
            found["message"] = base64.b64encode(raw).decode()
        return found


@pages.get("/")
def page() -> str:
    """The stations in their order, what is on, and what they did today."""
    scheme = (services().relay_state.status() or {}).get("scheme")
    return render_template(
        "scheme/page.html",
        place="settings",
        scheme=scheme,
        since=datetime.fromisoformat(scheme["since"]) if scheme else None,
        names=STATIONS,
        stages=STAGES,
    )


@pages.get("/try")
def question() -> str:
    """The empty form, or filled in by a link."""
    return _question(Typed.read(request.args))


@pages.post("/try")
def answer() -> str | tuple[str, int]:
    """What would happen."""
    typed = Typed.read(request.form)
    try:
        found = services().relay.ask(
            "simulate", typed.question(), timeout_seconds=SIMULATE_TIMEOUT_SECONDS
        )
    except PennypostError as error:
        said = " ".join(filter(None, (_(error.finding.say), _(error.finding.fix))))
        return _question(typed, error=said), 422
    return _question(typed, found)


_WEIGHT = ("not asked", "passed", "note", "defer", "reject")


def by_station(words: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """One word a station, in the order of the scheme: a station asks several things."""
    heaviest: dict[str, Mapping[str, Any]] = {}
    for word in words:
        known = heaviest.get(word["station"])
        if known is None or _WEIGHT.index(word["told"]) > _WEIGHT.index(known["told"]):
            heaviest[word["station"]] = word
    return sorted(heaviest.values(), key=lambda word: int(word["number"]))


def refused_recipients(turns: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The turns in which a recipient was turned away while the letter went on."""
    return [turn for turn in turns if turn["command"].startswith("RCPT") and turn["code"] >= 400]


def _question(typed: Typed, found: Mapping[str, Any] | None = None, error: str = "") -> str:
    return render_template(
        "scheme/try.html",
        place="settings",
        typed=typed,
        found=found,
        refused=refused_recipients(found["turns"]) if found else (),
        by_station=by_station,
        problem=error,
        names=STATIONS,
        told=TOLD,
        ports=PORTS,
        ends=ENDS,
    )
