"""`account ...`: who may send, over the steward; the stolen-account brake, over the relay."""

import argparse
from collections.abc import Mapping
from typing import Any

from appliance.cli.context import Context, read_password, table


def list_(context: Context, args: argparse.Namespace) -> None:
    """All accounts."""
    heads = ("login", "name", "enabled", "addresses")
    context.show(
        context.steward("account.list"),
        lambda found: table([[_cell(user[head]) for head in heads] for user in found], heads),
    )


def add(context: Context, args: argparse.Namespace) -> None:
    """Make one; the password is read from standard input, or made and shown this once."""
    asked: dict[str, Any] = {"login": args.login, "name": args.name}
    asked |= _rates(args)
    if not args.generate:
        asked["password"] = _password()
    context.show(context.steward("account.add", asked), _as_made)


def edit(context: Context, args: argparse.Namespace) -> None:
    """Another name, or rates of its own."""
    asked: dict[str, Any] = {"login": args.login} | _rates(args)
    if args.name is not None:
        asked["name"] = args.name
    context.show(context.steward("account.edit", asked), lambda u: f"{u['login']} is changed.")


def password(context: Context, args: argparse.Namespace) -> None:
    """Another password, from standard input, or made and shown this once."""
    asked = {"login": args.login}
    if not args.generate:
        asked["password"] = _password()
    context.show(context.steward("account.password", asked), _as_made)


def order(context: Context, args: argparse.Namespace) -> None:
    """enable, disable or delete."""
    done = {"enable": "may sign in", "disable": "can not sign in any more", "delete": "is gone"}
    answer = context.steward(f"account.{args.order}", {"login": args.login})
    context.show(answer, lambda user: f"{user['login']} {done[args.order]}.")


def release(context: Context, args: argparse.Namespace) -> None:
    """The brake: all is well with the account, let its mail go."""
    answer = context.relay("brake.release", {"login": args.login, "author": context.author})
    context.show(answer, lambda a: f"{a['login']} sends again; {a['count']} messages go on.")


def _rates(args: argparse.Namespace) -> dict[str, int]:
    names = ("messages_per_hour", "recipients_per_hour")
    return {name: value for name in names if (value := getattr(args, name)) is not None}


def _password() -> str:
    """An empty line is no wish for a made one: that is `--generate`."""
    return read_password() or " "


def _as_made(user: Mapping[str, Any]) -> str:
    said = f"{user['login']} may sign in." if user["enabled"] else f"{user['login']} is changed."
    return f"{said}\nPassword: {user['password']}" if "password" in user else said


def _cell(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(value)
    return {True: "yes", False: "no"}.get(value, "") if isinstance(value, bool) else str(value)
