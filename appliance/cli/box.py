"""`status`, `dns check`, `claim`, `reboot`: the box itself."""

import argparse
import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from appliance.base.finding import PennypostError, Refused
from appliance.cli.context import Context, table
from appliance.dns import advisor, dkim_advice
from appliance.dns.live import LiveResolver
from appliance.settings import schema


def status(context: Context, args: argparse.Namespace) -> None:
    """Services, claim and queue in one look."""
    answer: dict[str, Any] = {
        "claimed": context.steward("claim.status")["claimed"],
        "services": context.steward("services.status"),
    }
    try:
        answer["relay"] = context.relay("status")
    except PennypostError as error:  # with mail switched off there is no relay to ask
        answer["relay"] = {"state": "stopped", "why": error.finding.say}
    context.show(answer, _as_status)


def dns_check(context: Context, args: argparse.Namespace) -> None:
    """The records that this box needs beside what resolves now."""
    settings = schema.from_json(context.steward("settings.show")["settings"])
    facts = context.steward("facts.show")
    resolver = LiveResolver.from_text(args.resolver or facts["resolver"] or _of_the_machine())
    records = (
        *advisor.wanted(settings, args.address),
        *dkim_advice.records(facts.get("dkim_keys", ())),
    )
    seen = asyncio.run(advisor.look(records, resolver))
    result = [
        {
            "type": one.record.type,
            "name": one.record.name,
            "value": one.record.quoted,
            "now": list(one.now),
            "finding": one.finding.to_json(),
        }
        for one in seen
    ]
    context.show(result, _as_records)


def claim_show(context: Context, args: argparse.Namespace) -> None:
    """The claim code, for whom has root here."""
    shown = context.steward("claim.code")
    context.show(shown, lambda s: "This box has an owner." if s["claimed"] else s["code"])


def claim_press(context: Context, args: argparse.Namespace) -> None:
    """What a press of the box's button does."""
    say = "For two minutes the box can be claimed without its code."
    context.show(context.steward("claim.press"), lambda _: say)


def claim_close(context: Context, args: argparse.Namespace) -> None:
    """Mark the box as claimed without the wizard."""
    context.show(context.steward("claim.close"), lambda _: "This box has an owner now.")


def apply(context: Context, args: argparse.Namespace) -> None:
    """Bring the stored settings into force once more."""
    done = context.steward("settings.apply")
    context.show(done, lambda d: f"Number {d['revision']} of the history is in force.")


def certificate_refresh(context: Context, args: argparse.Namespace) -> None:
    """Renew certificates that end soon or lack an address of the box."""
    done = context.steward("certificate.refresh")
    context.show(done, lambda d: "Renewed." if d["renewed"] else "Nothing was due.")


def identify(context: Context, args: argparse.Namespace) -> None:
    """Let the box blink, so that one finds it among others."""
    done = context.steward("box.identify", {"on": args.switch == "on"})
    say = f"The box blinks for {done['seconds'] / 60:.0f} minutes."
    context.show(done, lambda d: say if d["seconds"] else "The box does not blink.")


def reset(context: Context, args: argparse.Namespace) -> None:
    """What the box's button does when it is held: mail is kept, the box restarts."""
    if not args.yes:
        raise Refused.because(
            "box.reset", f"This resets: {args.what}.", f"If so: pennypost reset {args.what} --yes"
        )
    context.show(
        context.steward("box.reset", {"what": args.what}),
        lambda _: "The box starts again, and is reset before anything else.",
    )


def reboot(context: Context, args: argparse.Namespace) -> None:
    context.show(context.steward("box.reboot"), lambda _: "The box starts again.")


def _of_the_machine() -> str:
    """The machine's own name server, for a checkout without --resolver."""
    for line in Path("/etc/resolv.conf").read_text().splitlines():
        words = line.split()
        if len(words) > 1 and words[0] == "nameserver":
            return words[1]
    raise Refused.because(
        "dns.resolver", "This machine names no name server.", "Give one: --resolver 192.168.1.1:53"
    )


def _as_status(answer: Mapping[str, Any]) -> str:
    rows = [
        (s["name"], s["state"], "wanted" if s["wanted"] else "off", s["why"] or "-")
        for s in answer["services"]
    ]
    claimed = "This box has an owner." if answer["claimed"] else "This box waits to be set up."
    queue = answer["relay"].get("queue") or {}
    waiting = f"{queue.get('messages', 0)} messages wait." if queue else ""
    parts = (claimed, table(rows, ("service", "state", "", "")), waiting, _as_scheme(answer))
    return "\n".join(filter(None, parts))


def _as_scheme(answer: Mapping[str, Any]) -> str:
    """What each station of the filtering scheme decided today."""
    stations = (answer["relay"].get("scheme") or {}).get("stations", ())
    rows = [
        (f"{s['number']} {s['station']}", "on" if s["on"] else "off", *_counts(s["today"]))
        for s in stations
    ]
    heads = ("station", "", "taken", "noted", "put off", "refused")
    return "\n" + table(rows, heads) if rows else ""


def _counts(today: Mapping[str, int]) -> tuple[int, ...]:
    return tuple(today.get(action, 0) for action in ("accept", "note", "defer", "reject"))


def _as_records(records: list[Mapping[str, Any]]) -> str:
    rows = [
        (r["finding"]["result"], r["type"], r["name"], r["value"], r["finding"]["say"])
        for r in records
    ]
    if not rows:
        return "No host name is set yet, so there is nothing to publish."
    return table(rows, ("", "type", "name", "value", "now"))
