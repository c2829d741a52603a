"""`disk ...`: the disks of the box and the one with the mailboxes, over the steward."""

import argparse
from collections.abc import Mapping
from typing import Any

from appliance.base.finding import Refused
from appliance.cli.context import Context, table

GB = 1_000_000_000


def list_(context: Context, args: argparse.Namespace) -> None:
    """All disks, and why one may not be used."""
    context.show(context.steward("disk.list"), _as_list)


def status(context: Context, args: argparse.Namespace) -> None:
    """The mailbox disk."""
    context.show(context.steward("disk.status"), _as_status)


def connect(context: Context, args: argparse.Namespace) -> None:
    """Make a mailbox disk of an empty disk; of another one after its serial number is typed."""
    _work(context, "connect", {"disk": _identity(context, args.disk), "typed": args.erase})


def take(context: Context, args: argparse.Namespace) -> None:
    """Bring in a disk that holds mailboxes already."""
    _work(context, "take", {"disk": _identity(context, args.disk), "agreed": args.agree})


def detach(context: Context, args: argparse.Namespace) -> None:
    """Let the mailbox disk go, so that it can be pulled."""
    _work(context, "detach", {})


def replace(context: Context, args: argparse.Namespace) -> None:
    """Move the mail to another disk while the mailboxes stay open."""
    asked = {"disk": _identity(context, args.disk), "typed": args.erase}
    if args.old:
        asked["old"] = _identity(context, args.old)
    _work(context, "replace", asked)


def mirror(context: Context, args: argparse.Namespace) -> None:
    """Keep the mail on a second disk as well."""
    _work(context, "mirror", {"disk": _identity(context, args.disk), "typed": args.erase})


def grow(context: Context, args: argparse.Namespace) -> None:
    """Use all of a disk that has become larger."""
    _work(context, "grow", {})


def cancel(context: Context, args: argparse.Namespace) -> None:
    """Call a copy off, or forget work that waits for a disk."""
    context.show(context.steward("disk.cancel"), _as_status)


def _work(context: Context, kind: str, asked: Mapping[str, Any]) -> None:
    context.show(context.steward(f"disk.{kind}", asked), _as_status)


def _identity(context: Context, given: str) -> str:
    """The identity of the disk that somebody names by it, by serial number or by device."""
    matching = [
        disk["identity"]
        for disk in context.steward("disk.list")
        if given and given in (disk["identity"], disk["serial"], disk["device"])
    ]
    if len(matching) != 1 or not matching[0]:
        raise Refused.because(
            "disk.identity", f"There is no disk {given}.", "Look at: pennypost disk list"
        )
    return str(matching[0])


def _as_list(disks: list[Mapping[str, Any]]) -> str:
    if not disks:
        return "There are no disks."
    heads = ("device", "serial", "bus", "bay", "size", "name", "state")
    rows = [
        (
            disk["device"],
            disk["serial"] or "-",
            disk["bus"],
            disk["bay"] or "-",
            f"{disk['size_bytes'] / GB:.0f} GB",
            " ".join(filter(None, (disk["vendor"], disk["model"]))) or "-",
            _in_words(disk),
        )
        for disk in disks
    ]
    return table(rows, heads)


def _in_words(disk: Mapping[str, Any]) -> str:
    if disk["is_mailbox_disk"]:
        return "the mailbox disk"
    if not disk["eligible"]:
        return str(disk["say"])
    return " ".join(disk["content"]) or "empty"


def _as_status(state: Mapping[str, Any]) -> str:
    lines = [f"{state['state']}: {state['say']}", state.get("means", ""), state.get("fix", "")]
    for disk in state.get("disks", ()):
        lines.append(f"{disk['name']}, {disk['bus']}: {disk['health_say'] or 'health not known'}")
    if size := state.get("size_bytes"):
        lines.append(f"{state['free_bytes'] / GB:.1f} GB of {size / GB:.1f} GB are free")
    if job := state.get("job"):
        lines.append(f"step {job['number']} of {job['of']}: {job['step']} {job['say']}".rstrip())
    lines.append(state.get("note", ""))
    return "\n".join(filter(None, lines))
