"""`simulate`: what would happen to a mail, station by station."""

import argparse
import base64
from collections.abc import Mapping
from typing import Any

from appliance.base.finding import Refused
from appliance.cli.context import Context

QUIET = ("passed", "not asked")
MARKS = {"passed": "  ", "not asked": " -", "note": " i", "reject": " x", "defer": " ~"}


def simulate(context: Context, args: argparse.Namespace) -> None:
    """Ask the relay."""
    question: dict[str, Any] = {
        "ip": args.ip,
        "mail_from": args.sender.strip("<>"),
        "recipients": [entry.strip("<>") for entry in args.recipients],
        "helo": args.helo,
        "port": args.port,
        "user": args.user,
        "tls": args.tls,
        "size": args.size,
    }
    if args.message is not None:
        try:
            question["message"] = base64.b64encode(args.message.read_bytes()).decode()
        except OSError as error:
            raise Refused.because(
                "simulate.message", f"{args.message} cannot be read: {error.strerror}."
            ) from error
    context.show(context.relay("simulate", question), as_text)


def as_text(found: Mapping[str, Any]) -> str:
    """One line for each reply, below it what the stations said; the end in a sentence."""
    lines = []
    for turn in found["turns"]:
        reply = " ".join(filter(None, (str(turn["code"]), turn["enhanced"], turn["text"])))
        lines.append(f"{turn['command'] or 'connect'}  →  {reply}")
        lines += [_station(word) for word in turn["stations"]]
    return "\n".join([*lines, "", _end(found)])


def _station(word: Mapping[str, Any]) -> str:
    said = word["told"] if word["told"] in QUIET else f"{word['check']}: {word['why']}"
    return f"{MARKS[word['told']]} {word['number']} {word['station']}: {said}"


def _end(found: Mapping[str, Any]) -> str:
    if not found["taken"]:
        last = found["turns"][-1]["code"] if found["turns"] else 0
        what = "Put off" if 400 <= last < 500 else "Not taken"
        return f"{what}: station {found['station']}, {found['check']}. {found['why']}"
    ways = [f"  {way['to']}" + (f"  ({way['why']})" if way["why"] else "") for way in found["ways"]]
    kind = {"deliver": "", "quarantine": ", and held"}.get(
        found["disposition"], f", as {found['disposition']}"
    )
    refused = [
        f"  not {turn['command'][9:-1]}  ({turn['code']} {turn['text']})"
        for turn in found["turns"]
        if turn["command"].startswith("RCPT") and turn["code"] >= 400
    ]
    return "\n".join([f"Taken{kind}. It goes to:", *ways, *refused])
