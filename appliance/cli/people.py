"""`admin ...` and `token ...`: who may sign in, straight in the keeper's file.

On a box root calls, and the file belongs to the web's user: whatever is written is written as
its owner, else the web could not open its own database any more.
"""

import argparse
import contextlib
import os
from collections.abc import Iterator

from appliance.accounts import passwords
from appliance.accounts.store import Accounts
from appliance.base.clock import SystemClock
from appliance.base.finding import Refused
from appliance.cli.context import Context, read_password, table


def admin_list(context: Context, args: argparse.Namespace) -> None:
    with _accounts(context) as accounts:
        names = list(accounts.administrators())
    context.show(names, "\n".join)


def admin_set(context: Context, args: argparse.Namespace) -> None:
    """Make an administrator, or give one another password; it is read from standard input."""
    password = read_password()
    strength = passwords.strength(password, name=args.name)
    if not strength.acceptable:
        raise Refused.because(
            "account.password", f"The password is {strength.word}.", strength.advice
        )
    with _accounts(context) as accounts:
        accounts.put_administrator(name=args.name, password_hash=passwords.make_hash(password))
    context.show({"name": args.name}, lambda _: f"{args.name} can sign in.")


def admin_remove(context: Context, args: argparse.Namespace) -> None:
    with _accounts(context) as accounts:
        accounts.remove_administrator(args.name)
    context.show({"name": args.name}, lambda _: f"{args.name} is gone.")


def token_add(context: Context, args: argparse.Namespace) -> None:
    """Make an API token. It is shown this once."""
    with _accounts(context) as accounts:
        token = accounts.make_token(label=args.label, author=context.author)
    context.show({"token": token, "label": args.label}, lambda made: str(made["token"]))


def token_list(context: Context, args: argparse.Namespace) -> None:
    with _accounts(context) as accounts:
        tokens = [
            {
                "id": token.id,
                "label": token.label,
                "author": token.author,
                "created_at": token.created_at.isoformat(),
                "used_at": token.used_at.isoformat() if token.used_at else None,
            }
            for token in accounts.tokens()
        ]
    heads = ("id", "label", "author", "created_at", "used_at")
    context.show(tokens, lambda ts: table([[t[h] for h in heads] for t in ts], heads))


def token_remove(context: Context, args: argparse.Namespace) -> None:
    with _accounts(context) as accounts:
        accounts.remove_token(args.id)
    context.show({"id": args.id}, lambda _: "The token opens nothing any more.")


@contextlib.contextmanager
def _accounts(context: Context) -> Iterator[Accounts]:
    folder = context.data / "web"
    if not folder.is_dir():
        raise Refused.because("account", f"There is no box at {context.data}.", "Start it first.")
    owner = folder.stat()
    if os.geteuid() == 0 and owner.st_uid != 0:
        os.setegid(owner.st_gid)
        os.seteuid(owner.st_uid)
    try:
        yield Accounts(folder / "accounts.db", SystemClock())
    finally:
        if os.getuid() == 0:
            os.seteuid(0)
            os.setegid(0)
