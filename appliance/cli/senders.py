"""`permit`, `forbid`, `senders ask` and `dnsbl test`: who is let in, and who is not."""

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

from appliance.base.finding import Refused
from appliance.cli import settings
from appliance.cli.context import Context, table
from appliance.mail.address import AddressError, parse_path
from appliance.policy import sender_lists
from appliance.policy.sender_lists import Gate
from appliance.settings import parse
from appliance.settings.parse import Bad
from appliance.settings.senders import SenderEntry, Senders, canonical


def list_(context: Context, args: argparse.Namespace) -> None:
    """The entries of one list."""
    entries = [{"entry": e.entry, "comment": e.comment} for e in _entries(context, args.list)]
    context.show(entries, _as_entries)


def add(context: Context, args: argparse.Namespace) -> None:
    """One more entry; one that is there gets the new comment."""
    try:
        item = SenderEntry.from_json({"entry": args.entry, "comment": " ".join(args.comment)})
    except Bad as error:
        raise Refused.because(f"settings.senders.{args.list}", error.say, error.fix) from error
    kept = [entry for entry in _entries(context, args.list) if entry.entry != item.entry]
    _store(context, args.list, [*kept, item])


def remove(context: Context, args: argparse.Namespace) -> None:
    """One entry less."""
    name = f"settings.senders.{args.list}"
    try:
        wanted = canonical(args.entry)
    except Bad as error:
        raise Refused.because(name, error.say, error.fix) from error
    entries = _entries(context, args.list)
    kept = [entry for entry in entries if entry.entry != wanted]
    if len(kept) == len(entries):
        raise Refused.because(name, f"“{wanted}” is not on the list.", "See the list.")
    _store(context, args.list, kept)


def ask(context: Context, args: argparse.Namespace) -> None:
    """What would happen to mail from ADDRESS at IP, and by which entry."""
    try:
        client = parse.host(args.ip)
        sender = parse_path(args.address.strip("<>"))
    except Bad as error:
        raise Refused.because("senders.ask", error.say, error.fix) from error
    except AddressError as error:
        raise Refused.because("senders.ask", f"“{args.address}”: {error}.") from error
    lists = Senders(
        permitted=tuple(_entries(context, "permitted")),
        forbidden=tuple(_entries(context, "forbidden")),
    )
    answer = sender_lists.ask(lists, client, sender)
    outcome = {Gate.CONNECT: "refused at connect", Gate.MAIL: "refused at MAIL"}.get(
        answer.refused_at, "taken without spam checks" if answer.permitted else "checked"
    )
    shown = {"outcome": outcome, "entry": answer.deciding.entry, "why": str(answer.deciding)}
    context.show(shown, lambda found: f"{found['outcome']}: {found['why']}")


def dnsbl_test(context: Context, args: argparse.Namespace) -> None:
    """Prove one block list, or all that are set."""
    found = context.relay("dnsbl.test", {"zone": args.zone} if args.zone else {})
    context.show(found, _as_tests)


def _entries(context: Context, which: str) -> list[SenderEntry]:
    raw = settings.current(context)[f"senders.{which}"]
    return [SenderEntry.from_json(item) for item in raw]


def _store(context: Context, which: str, entries: Sequence[SenderEntry]) -> None:
    raw = [{"entry": entry.entry, "comment": entry.comment} for entry in entries]
    settings.change(context, {f"senders.{which}": raw})


def _as_entries(entries: Sequence[Mapping[str, str]]) -> str:
    rows = [(item["entry"], item["comment"] or "-") for item in entries]
    return table(rows, ("entry", "comment")) if rows else "The list is empty."


def _as_tests(results: Sequence[Mapping[str, Any]]) -> str:
    if not results:
        return "No block list is set."
    return "\n".join(
        f"{item['zone']}: " + ("answers and proves itself" if item["ok"] else item["why"])
        for item in results
    )
