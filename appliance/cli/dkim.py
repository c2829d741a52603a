"""`dkim show|rotate|switch|tend`: the keys that mail is signed with."""

import argparse
from collections.abc import Mapping
from typing import Any

from appliance.cli.context import Context, table
from appliance.dns import dkim_advice


def show(context: Context, args: argparse.Namespace) -> None:
    """Every domain's keys and the records that publish them."""
    shown = context.steward("dkim.show")
    if args.domain:
        shown["domains"] = [d for d in shown["domains"] if d["domain"] == args.domain.lower()]
    context.show(_with_quoted(shown), _as_text)


def rotate(context: Context, args: argparse.Namespace) -> None:
    """Make the next pair; its records have to be published."""
    done = context.steward("dkim.rotate", {"domain": args.domain})
    context.show(_with_quoted({"enabled": True, "domains": [done]}), _as_text)


def switch(context: Context, args: argparse.Namespace) -> None:
    """Sign with the next pair."""
    done = context.steward("dkim.switch", {"domain": args.domain, "force": args.force})
    context.show(_with_quoted({"enabled": True, "domains": [done]}), _as_text)


def tend(context: Context, args: argparse.Namespace) -> None:
    """What the box does once a day: switch where the DNS is ready, forget old keys."""
    done = context.steward("dkim.tend")
    context.show(done, lambda d: "\n".join(d["switched"]) or "Nothing was due.")


def _with_quoted(shown: Mapping[str, Any]) -> Mapping[str, Any]:
    """With each value also as quoted strings of at most 255 characters (D2)."""
    for domain in shown["domains"]:
        for pair in domain["pairs"]:
            for raw, record in zip(
                pair["records"], dkim_advice.records(pair["records"]), strict=True
            ):
                raw["quoted"] = record.quoted
    return shown


def _as_text(shown: Mapping[str, Any]) -> str:
    rows = [
        (pair["part"], record["algorithm"], record["name"], record["quoted"])
        for domain in shown["domains"]
        for pair in domain["pairs"]
        for record in pair["records"]
    ]
    if not rows:
        return "No domain is set yet, so there is nothing to sign for."
    lines = [] if shown["enabled"] else ["Signing is switched off (signing.enabled)."]
    lines.append(table(rows, ("", "algorithm", "TXT record at", "value")))
    return "\n".join(lines)
