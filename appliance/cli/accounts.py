"""`account ...`: who may send, over the steward; the stolen-account brake, over the relay."""

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from appliance.accounts import table as account_table
from appliance.base.finding import Refused, Unreachable
from appliance.cli.context import Context, read_password, table, text_of

MIB = 1024 * 1024
IMPORT_FOLDER = Path("/srv/mail/import")
_MADE = ("login", "password")


def list_(context: Context, args: argparse.Namespace) -> None:
    """All accounts."""
    heads = ("login", "name", "enabled", "addresses")
    context.show(
        context.steward("account.list"),
        lambda found: table([[_cell(user[head]) for head in heads] for user in found], heads),
    )


def show(context: Context, args: argparse.Namespace) -> None:
    """One account with its addresses and limits, and when it signed in last by each way."""
    found = [user for user in context.steward("account.list") if user["login"] == args.login]
    if not found:
        raise Refused.because(
            "account.login", f"There is no account {args.login}.", "Look at: pennypost account list"
        )
    try:
        seen = context.relay("accounts.seen", {"login": args.login})
    except Unreachable:  # all else is known without it
        context.note("The relay does not run, so the last log-ins cannot be told.")
        seen = []
    context.show({**found[0], "last_log_ins": seen}, _as_one)


def add(context: Context, args: argparse.Namespace) -> None:
    """Make one; the password is read from standard input, or made and shown this once."""
    asked: dict[str, Any] = {"login": args.login, "name": args.name}
    asked |= _limits(args)
    if not args.generate:
        asked["password"] = _password()
    context.show(context.steward("account.add", asked), _as_made)


def delete(context: Context, args: argparse.Namespace) -> None:
    """Take one away, and say what is to become of its mail."""
    asked: dict[str, Any] = {"login": args.login, "fate": "keep"}
    if args.erase:
        asked["fate"] = "erase"
    elif args.hand_to:
        asked |= {"fate": "hand_over", "heir": args.hand_to}
    elif args.keep_days is not None:
        asked["days"] = args.keep_days
    context.show(context.steward("account.delete", asked), lambda user: f"{user['login']} is gone.")


def removals(context: Context, args: argparse.Namespace) -> None:
    """Mail of former accounts."""
    heads = ("login", "fate", "heir", "erase_at", "waits")
    context.show(
        context.steward("account.removals"),
        lambda found: table([[_cell(row[head]) for head in heads] for row in found], heads),
    )


def app_add(context: Context, args: argparse.Namespace) -> None:
    """One more password, for one program. It is shown this once."""
    asked = {"login": args.login, "label": args.label}
    context.show(context.steward("account.app_add", asked), lambda made: str(made["password"]))


def app_remove(context: Context, args: argparse.Namespace) -> None:
    asked = {"login": args.login, "id": args.id}
    answer = context.steward("account.app_remove", asked)
    context.show(answer, lambda _: "The app password opens nothing any more.")


def export(context: Context, args: argparse.Namespace) -> None:
    """All accounts as CSV; no passwords."""
    text = account_table.write(context.steward("account.list"))
    if args.file is None:
        sys.stdout.write(text.replace("\r\n", "\n"))
    else:
        args.file.write_bytes(text.encode())


def import_(context: Context, args: argparse.Namespace) -> None:
    """Accounts from a CSV file or `-`, all or none; made passwords are shown this once."""
    text = text_of(args.file)
    context.show(
        context.steward("account.import", {"table": text}),
        lambda made: table([[row["login"], row.get("password", "")] for row in made], _MADE),
    )


def sync(context: Context, args: argparse.Namespace) -> None:
    """Open or shut the mailboxes as their disk is there or not."""
    words = {True: "The mailboxes are open.", False: "The mailboxes are shut: their disk is away."}
    context.show(context.steward("mailboxes.sync"), lambda answer: words[answer["ready"]])


def tidy(context: Context, args: argparse.Namespace) -> None:
    """Remove what has lain in trash and junk for long enough; done every night."""
    context.show(context.steward("mailboxes.tidy"), lambda answer: str(answer))


def import_mail(context: Context, args: argparse.Namespace) -> None:
    """Mail that lies in /srv/mail/import comes into an account's mailbox; twice changes nothing."""
    path = args.path if args.path.is_absolute() else Path.cwd() / args.path
    if path.parent != IMPORT_FOLDER:
        raise Refused.because(
            "import.path",
            f"{path} does not lie in {IMPORT_FOLDER}.",
            f"Copy it there first; it can be deleted afterwards: cp -r {path} {IMPORT_FOLDER}/",
        )
    asked = {"login": args.login, "name": path.name}
    context.show(
        context.steward("mailboxes.import", asked),
        lambda answer: (
            f"{answer['imported']} letters came in; {answer['known']} had come in before."
        ),
    )


def edit(context: Context, args: argparse.Namespace) -> None:
    """Another name or language, or limits of its own."""
    asked: dict[str, Any] = {"login": args.login} | _limits(args)
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
    """enable or disable."""
    done = {"enable": "may sign in", "disable": "can not sign in any more"}
    answer = context.steward(f"account.{args.order}", {"login": args.login})
    context.show(answer, lambda user: f"{user['login']} {done[args.order]}.")


def release(context: Context, args: argparse.Namespace) -> None:
    """The brake: all is well with the account, let its mail go."""
    answer = context.relay("brake.release", {"login": args.login, "author": context.author})
    context.show(answer, lambda a: f"{a['login']} sends again; {a['count']} messages go on.")


def _limits(args: argparse.Namespace) -> dict[str, Any]:
    names = ("messages_per_hour", "recipients_per_hour", "language")
    given = {name: value for name in names if (value := getattr(args, name)) is not None}
    return given if args.quota_mb is None else given | {"quota_bytes": args.quota_mb * MIB}


def _password() -> str:
    """An empty line is no wish for a made one: that is `--generate`."""
    return read_password() or " "


def _as_one(user: Mapping[str, Any]) -> str:
    size = user["quota_bytes"] // MIB
    lines = [
        ("login", user["login"]),
        ("name", user["name"]),
        ("may sign in", _cell(user["enabled"])),
        ("addresses", _cell(user["addresses"])),
        ("aliases", _cell(user["aliases"])),
        ("mailbox size", f"{size} MB" if size else "as for all"),
        ("app passwords", _cell([one["label"] for one in user["app_passwords"]])),
        *(
            (f"last by {one['way'].upper()}", f"{one['at'][:19].replace('T', ' ')} {one['client']}")
            for one in user["last_log_ins"]
        ),
    ]
    return "\n".join(f"{name:14} {value}".rstrip() for name, value in lines)


def _as_made(user: Mapping[str, Any]) -> str:
    said = f"{user['login']} may sign in." if user["enabled"] else f"{user['login']} is changed."
    return f"{said}\nPassword: {user['password']}" if "password" in user else said


def _cell(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(value)
    return {True: "yes", False: "no"}.get(value, "") if isinstance(value, bool) else str(value)
