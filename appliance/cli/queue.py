"""`queue ...` and `trace`: what the relay says over its control socket."""

import argparse
from collections.abc import Mapping
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
    done = context.relay(f"queue.{args.order}", which)
    context.show(done, lambda d: f"{d.get('count', 0)} messages.")


def trace(context: Context, args: argparse.Namespace) -> None:
    """What became of a message, by queue id or address."""
    found = context.relay("trace", {"search": args.search})
    context.show(found, _as_trace)


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


def _as_trace(events: Any) -> str:
    items = events if isinstance(events, list) else events.get("items", [])
    return "\n".join("  ".join(f"{k}={v}" for k, v in event.items()) for event in items)
