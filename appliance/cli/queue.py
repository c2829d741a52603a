"""`queue ...`, `trace` and `ledger`: what the relay says over its control socket."""

import argparse
import re
import sys
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from appliance.base.finding import Refused
from appliance.cli.context import Context, table

PAGE = 100


def list_(context: Context, args: argparse.Namespace) -> None:
    """The messages that wait."""
    asked = {"offset": args.offset, "limit": args.limit}
    asked |= {name: value for name in ("search", "state") if (value := getattr(args, name))}
    context.show(context.relay("queue.list", asked), _as_queue)


def show(context: Context, args: argparse.Namespace) -> None:
    """One message: recipients, reasons, header."""
    context.show(context.relay("queue.show", {"id": args.id}), _as_message)


def order(context: Context, args: argparse.Namespace) -> None:
    """send, hold, release or delete the messages named."""
    which: dict[str, Any]
    if args.all:
        which = {"all": True}
    elif args.search:
        which = {"search": args.search}
    elif args.ids:
        which = {"ids": args.ids}
    else:
        raise Refused.because(
            "queue", "Which messages?", "Name their ids, or --all, or --search TEXT."
        )
    if args.order == "delete" and not args.ids and not args.yes:
        _ask_for_the_word(context, which)
    done = context.relay(f"queue.{args.order}", {**which, "author": context.author})
    context.show(done, lambda d: f"{d.get('count', 0)} messages.")


def _ask_for_the_word(context: Context, which: Mapping[str, Any]) -> None:
    """A person at a terminal types a word before many messages are lost; a script does not."""
    if not sys.stdin.isatty():
        return
    total = context.relay("queue.list", {**which, "limit": 1})["total"]
    context.note(f"{total} messages will be lost; their senders are not told.")
    if input("To go on, type delete: ").strip().lower() != "delete":
        raise Refused.because("queue.delete", "Nothing was deleted.")


def trace(context: Context, args: argparse.Namespace) -> None:
    """Where is my mail? Each attempt, with one sentence for each thing that happened."""
    asked: dict[str, Any] = {"search": " ".join(args.words), "limit": args.limit}
    asked |= {name: value for name in ("sender", "recipient") if (value := getattr(args, name))}
    asked |= {name: _time(value) for name in ("since", "until") if (value := getattr(args, name))}
    context.show(context.relay("trace", asked), _as_trace)


def ledger_check(context: Context, args: argparse.Namespace) -> None:
    """Compare queue, ledger and body files; refused when they do not agree."""
    found = context.relay("ledger.reconcile")
    context.show(found, _as_books)
    if not found["ok"]:
        raise Refused.because("ledger", found["say"], "Keep the data and ask for help.")


_SPAN = re.compile(r"(\d{1,6})([mhdw])\Z")
_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def _time(text: str) -> str:
    """ISO 8601 from `2026-11-25`, `2026-11-25T14:00` (this machine's time zone), or `3h` ago."""
    if span := _SPAN.match(text):
        return (datetime.now(UTC) - timedelta(**{_UNITS[span[2]]: int(span[1])})).isoformat()
    try:
        return datetime.fromisoformat(text).astimezone().isoformat()
    except (ValueError, OverflowError, OSError) as error:
        raise Refused.because(
            "trace.time", f"The time {text} is not understood.", "Write 2026-11-25T14:00, or 3h."
        ) from error


def _as_books(found: Mapping[str, Any]) -> str:
    lines = [found["say"]]
    lines += [f"  {fate}: {count}" for fate, count in sorted(found["fates"].items())]
    lines += [
        f"  {entry['say']} {entry['count']}: {', '.join(entry['ids'])}"
        for entry in found["mismatches"]
    ]
    return "\n".join(lines)


def test_smarthost(context: Context, args: argparse.Namespace) -> None:
    """Try the smarthost; its last step is the answer."""
    found = context.relay("smarthost.test")
    context.show(found, _as_findings)
    if any(finding["result"] == "bad" for finding in found):
        raise Refused.because("smarthost", "The smarthost cannot be used like this.")


def _as_findings(findings: Any) -> str:
    return "\n".join(
        "\n     ".join(filter(None, (f"{f['result']:4} {f['say']}", f["means"], f["fix"])))
        for f in findings
    )


def _as_queue(answer: Mapping[str, Any]) -> str:
    rows = [
        (
            item["id"],
            item["size"],
            str(item["received_at"])[:19],
            item.get("state", ""),
            item["mail_from"] or "<>",
            ", ".join(recipient["address"] for recipient in item["recipients"]),
        )
        for item in answer["items"]
    ]
    heads = ("id", "bytes", "received", "state", "from", "to")
    return f"{table(rows, heads)}\n{answer['total']} messages" if rows else "The queue is empty."


def _as_message(item: Mapping[str, Any]) -> str:
    lines = [f"{name}: {item[name]}" for name in ("id", "received_at", "mail_from", "size")]
    for recipient in item.get("recipients", ()):
        reason = recipient.get("reason") or {}
        text = reason.get("say", "") if isinstance(reason, dict) else str(reason)
        lines.append(f"to {recipient['address']}: {recipient['state']} {text}".rstrip())
        if isinstance(reason, dict) and reason.get("reply"):
            lines.append(f"    {reason.get('host') or 'the other server'} said: {reason['reply']}")
        if isinstance(reason, dict) and reason.get("fix"):
            lines.append(f"    {reason['fix']}")
    return "\n".join([*lines, "", str(item.get("headers", ""))]).rstrip()


def _as_trace(items: Any) -> str:
    if not items:
        return "Nothing is known of such a message."
    return "\n\n".join(_as_story(item) for item in items)


def _clock(at: str) -> str:
    """The time as this machine's clock shows it."""
    if not at:
        return "now"
    return datetime.fromisoformat(at).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def _as_story(item: Mapping[str, Any]) -> str:
    lines = [f"{item['id']}  {item['mail_from'] or '<>'} -> {item['recipient']}: {item['fate']}"]
    lines += [f"  {_clock(told['at']):19}  {told['say']}" for told in item["story"]]
    if item.get("fix"):
        lines.append(f"  {'what helps':19}  {item['fix']}")
    return "\n".join(lines)
