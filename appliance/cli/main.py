"""The verbs and their arguments."""

import argparse
import getpass
from collections.abc import Callable
from pathlib import Path
from typing import Any

from appliance.base.finding import PennypostError
from appliance.cli import (
    accounts,
    alias,
    box,
    disks,
    dkim,
    people,
    queue,
    senders,
    settings,
    simulate,
)
from appliance.cli.context import Context, show_finding

Verb = Callable[[Context, argparse.Namespace], None]
BOX_DATA, BOX_RUN = Path("/data/pennypost"), Path("/run/pennypost")
DONE, REFUSED, USAGE = 0, 1, 2


class Verbs:
    """A parser with verbs below it; every one of them takes the common options too."""

    def __init__(self, parser: argparse.ArgumentParser, common: argparse.ArgumentParser) -> None:
        self._common = common
        self._below = parser.add_subparsers(required=True, metavar="VERB")

    def group(self, name: str, help: str) -> "Verbs":
        parser = self._below.add_parser(name, help=help, parents=[self._common])
        return Verbs(parser, self._common)

    def verb(self, name: str, do: Verb, help: str, **defaults: Any) -> argparse.ArgumentParser:
        parser = self._below.add_parser(name, help=help, parents=[self._common])
        parser.set_defaults(do=do, **defaults)
        return parser


def parser() -> argparse.ArgumentParser:
    """The whole command line."""
    top = argparse.ArgumentParser(
        prog="pennypost",
        description="The command line of a Pennypost box.",
        epilog="Exit status: 0 done, 1 refused (the finding is printed), 2 wrong usage.",
    )
    top.add_argument("--data", type=Path, metavar="DIR", help="the data of scripts/dev")
    top.add_argument("--run", type=Path, metavar="DIR", help="where the control sockets are")
    top.add_argument("--json", action="store_true", default=False, help="print JSON")
    # Given again behind the verb; SUPPRESS keeps what stood before it.
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--json", action="store_true", default=argparse.SUPPRESS)
    common.add_argument("--data", type=Path, default=argparse.SUPPRESS, help=argparse.SUPPRESS)
    common.add_argument("--run", type=Path, default=argparse.SUPPRESS, help=argparse.SUPPRESS)
    verbs = Verbs(top, common)
    _settings(verbs.group("settings", "look at and change settings"))
    _queue(verbs.group("queue", "mail that waits"))
    _trace(verbs)
    _alias(verbs.group("alias", "names that stand for others, and where their mail goes"))
    smarthost = verbs.group("smarthost", "the provider's server for outgoing mail")
    smarthost.verb("test", queue.test_smarthost, "try it, without sending anything")
    verbs.verb("status", box.status, "services, claim and queue")
    _simulate(verbs)
    _senders(verbs)
    _dns(verbs.group("dns", "the records to publish"))
    _dkim(verbs.group("dkim", "the keys that mail is signed with"))
    claim = verbs.group("claim", "whose the box is")
    claim.verb("show", box.claim_show, "the claim code")
    claim.verb("press", box.claim_press, "as if the button was pressed: no code for two minutes")
    claim.verb("close", box.claim_close, "mark the box as claimed without the wizard")
    _people(verbs)
    _accounts(verbs.group("account", "the people who send through the box"))
    _disks(verbs.group("disk", "the disks, and the one with the mailboxes"))
    boxes = verbs.group("mailboxes", "where mail is kept")
    boxes.verb("sync", accounts.sync, "open or shut them as their disk is there or not")
    boxes.verb("tidy", accounts.tidy, "empty what lies in trash and junk for too long")
    import_ = boxes.verb("import", accounts.import_mail, "bring in a Maildir or mbox")
    import_.add_argument("login", help="whose mailbox")
    import_.add_argument("path", type=Path, help="in /srv/mail/import")
    certificate = verbs.group("certificate", "the certificates of the box's own root")
    certificate.verb("refresh", box.certificate_refresh, "renew what is due")
    verbs.verb("apply", box.apply, "bring the settings into force once more")
    identify = verbs.verb("identify", box.identify, "let the box blink, to find it")
    identify.add_argument("switch", nargs="?", default="on", choices=("on", "off"))
    reset = verbs.verb("reset", box.reset, "as if the button was held; mail is kept")
    reset.add_argument("what", choices=("password", "network", "factory"))
    reset.add_argument("--yes", action="store_true", help="do it")
    verbs.verb("reboot", box.reboot, "start the box again")
    return top


def _settings(verbs: Verbs) -> None:
    verbs.verb("show", settings.show, "all settings")
    verbs.verb("get", settings.get, "one setting").add_argument("name")
    set_ = verbs.verb("set", settings.set_, "change settings")
    set_.add_argument("changes", nargs="+", metavar="NAME=VALUE")
    export = verbs.verb("export", settings.export, "settings JSON, secrets included")
    export.add_argument("file", nargs="?", type=Path)
    export.add_argument("--without-secrets", action="store_true")
    import_ = verbs.verb("import", settings.import_, "settings JSON from a file or -")
    import_.add_argument("file", type=Path)
    import_.add_argument("--merge", action="store_true", help="keep what the file does not name")
    history = verbs.verb("history", settings.history, "who changed what")
    history.add_argument("--limit", type=int, default=50)
    verbs.verb("undo", settings.undo, "take a change back").add_argument("revision", type=int)
    verbs.verb("schema", settings.describe, "what every setting means")


def _queue(verbs: Verbs) -> None:
    list_ = verbs.verb("list", queue.list_, "the messages that wait")
    list_.add_argument("--search", default="")
    list_.add_argument("--state", default="")
    list_.add_argument("--offset", type=int, default=0)
    list_.add_argument("--limit", type=int, default=queue.PAGE)
    verbs.verb("show", queue.show, "one message").add_argument("id")
    for order, help in (
        ("send", "try now"),
        ("hold", "do not try until released"),
        ("release", "try again"),
        ("delete", "remove without a notice"),
    ):
        verb = verbs.verb(order, queue.order, help, order=order)
        verb.add_argument("ids", nargs="*")
        verb.add_argument("--all", action="store_true")
        verb.add_argument("--search", default="")
        if order == "delete":
            verb.add_argument("--yes", action="store_true", help="do not ask for a word")


def _trace(verbs: Verbs) -> None:
    trace = verbs.verb("trace", queue.trace, "where is my mail? what became of a message")
    trace.add_argument("words", nargs="*", help="queue id, address, part of one, or client")
    trace.add_argument("--sender", default="", help="part of the sender's address")
    trace.add_argument("--recipient", default="", help="part of the recipient's address")
    trace.add_argument("--since", default="", metavar="TIME", help="2026-11-25T14:00, or 3h ago")
    trace.add_argument("--until", default="", metavar="TIME")
    trace.add_argument("--limit", type=int, default=queue.PAGE)
    ledger = verbs.group("ledger", "the book of all mail")
    ledger.verb("check", queue.ledger_check, "is all that was accepted accounted for?")


def _alias(verbs: Verbs) -> None:
    list_ = verbs.verb("list", alias.list_, "all aliases")
    list_.add_argument("--search", default="", metavar="TEXT")
    add = verbs.verb("add", alias.add, "one more, to one target or several")
    edit = verbs.verb("edit", alias.edit, "other targets, comment or name")
    for verb in (add, edit):
        verb.add_argument("alias")
        verb.add_argument("--comment")
    add.add_argument("targets", nargs="+", metavar="TARGET")
    edit.add_argument("--to", nargs="+", metavar="TARGET", dest="targets", help="other targets")
    edit.add_argument("--name", help="the new name")
    verbs.verb("remove", alias.remove, "take one away").add_argument("alias")
    preview = verbs.verb("preview", alias.preview, "where mail to an address finally goes")
    preview.add_argument("aliases", nargs="+", metavar="ADDRESS")
    export = verbs.verb("export", alias.export, "the table as CSV")
    export.add_argument("file", nargs="?", type=Path)
    import_ = verbs.verb("import", alias.import_, "aliases from a CSV file or -")
    import_.add_argument("file", type=Path)
    import_.add_argument("--replace", action="store_true", help="remove all others")


def _simulate(verbs: Verbs) -> None:
    verb = verbs.verb("simulate", simulate.simulate, "what would happen to a mail; nothing is sent")
    verb.add_argument("--ip", required=True, help="the address that the mail comes from")
    verb.add_argument("--from", required=True, dest="sender", metavar="ADDRESS")
    verb.add_argument("--to", required=True, action="append", dest="recipients", metavar="ADDRESS")
    verb.add_argument("--helo", default="", metavar="NAME", help="the name it gives itself")
    verb.add_argument("--port", default="smtp", choices=("smtp", "submission", "submissions"))
    verb.add_argument("--user", default="", metavar="LOGIN", help="who has signed in")
    verb.add_argument("--tls", action="store_true", help="over an encrypted connection")
    verb.add_argument("--size", type=int, default=0, metavar="BYTES", help="announced with MAIL")
    verb.add_argument("--message", type=Path, metavar="FILE", help="the message itself")


def _senders(verbs: Verbs) -> None:
    for name, which in (("permit", "permitted"), ("forbid", "forbidden")):
        group = verbs.group(name, f"{which} senders")
        group.verb("list", senders.list_, "the entries", list=which)
        add = group.verb("add", senders.add, "one more entry", list=which)
        add.add_argument("entry", help="domain, .domain, address, IP address or network")
        add.add_argument("comment", nargs="*")
        remove = group.verb("remove", senders.remove, "one entry less", list=which)
        remove.add_argument("entry")
    ask = verbs.group("senders", "both lists").verb(
        "ask", senders.ask, "what would happen to mail from ADDRESS at IP"
    )
    ask.add_argument("ip", metavar="IP")
    ask.add_argument("address", metavar="ADDRESS")
    test = verbs.group("dnsbl", "block lists").verb(
        "test", senders.dnsbl_test, "ask the lists for their test addresses"
    )
    test.add_argument("zone", nargs="?", default="")


def _dns(verbs: Verbs) -> None:
    check = verbs.verb("check", box.dns_check, "compare with what resolves")
    check.add_argument("--resolver", default="", metavar="ADDR:PORT")
    check.add_argument("--address", action="append", default=[], help="the box's public address")


def _dkim(verbs: Verbs) -> None:
    verbs.verb("show", dkim.show, "keys and records").add_argument("domain", nargs="?", default="")
    verbs.verb("rotate", dkim.rotate, "make the next keys").add_argument("domain")
    switch = verbs.verb("switch", dkim.switch, "sign with the next keys")
    switch.add_argument("domain")
    switch.add_argument("--force", action="store_true", help="whatever the DNS shows")
    verbs.verb("tend", dkim.tend, "switch where the DNS is ready; done daily")


def _people(verbs: Verbs) -> None:
    admin = verbs.group("admin", "administrators")
    admin.verb("list", people.admin_list, "who may sign in")
    set_ = admin.verb("set", people.admin_set, "make one; password from standard input")
    set_.add_argument("name")
    admin.verb("remove", people.admin_remove, "take one away").add_argument("name")
    token = verbs.group("token", "API tokens")
    token.verb("list", people.token_list, "the tokens there are")
    token.verb("add", people.token_add, "make one; it is shown once").add_argument("label")
    token.verb("remove", people.token_remove, "take one away").add_argument("id", type=int)


def _accounts(verbs: Verbs) -> None:
    verbs.verb("list", accounts.list_, "all accounts")
    show = verbs.verb("show", accounts.show, "one, and when it signed in last")
    show.add_argument("login")
    add = verbs.verb("add", accounts.add, "make one; password from standard input")
    edit = verbs.verb("edit", accounts.edit, "change name, language or limits")
    add.add_argument("--name", default="", help="the person's full name")
    edit.add_argument("--name", help="the person's full name")
    for verb in (add, edit):
        verb.add_argument("login")
        verb.add_argument("--messages-per-hour", type=int, metavar="N", help="0: as for all")
        verb.add_argument("--recipients-per-hour", type=int, metavar="N", help="0: as for all")
        verb.add_argument("--quota-mb", type=int, metavar="N", help="mailbox size; 0: as for all")
        verb.add_argument("--language", choices=("en", "de"), help="of the mailbox's folders")
    password = verbs.verb("password", accounts.password, "another password, from standard input")
    password.add_argument("login")
    for verb in (add, password):
        verb.add_argument("--generate", action="store_true", help="make a password, show it once")
    for order, help in (
        ("enable", "let it sign in again"),
        ("disable", "let it not sign in"),
    ):
        verbs.verb(order, accounts.order, help, order=order).add_argument("login")
    delete = verbs.verb("delete", accounts.delete, "take it away")
    delete.add_argument("login")
    mail = delete.add_mutually_exclusive_group()
    mail.add_argument("--keep-days", type=int, default=None, metavar="N", help="its mail (30)")
    mail.add_argument("--hand-to", default="", metavar="LOGIN", help="who gets its mail")
    mail.add_argument("--erase", action="store_true", help="its mail, at once")
    verbs.verb("removals", accounts.removals, "mail of former accounts")
    app = verbs.verb("app-password", accounts.app_add, "make one; it is shown once")
    app.add_argument("login")
    app.add_argument("label", help="what it is for")
    gone = verbs.verb("app-remove", accounts.app_remove, "one app password less")
    gone.add_argument("login")
    gone.add_argument("id", type=int)
    export = verbs.verb("export", accounts.export, "all accounts as CSV, without passwords")
    export.add_argument("file", nargs="?", type=Path)
    import_ = verbs.verb("import", accounts.import_, "accounts from a CSV file or -")
    import_.add_argument("file", type=Path)
    verbs.verb("release", accounts.release, "let the mail go that the brake holds").add_argument(
        "login"
    )


def _disks(verbs: Verbs) -> None:
    verbs.verb("list", disks.list_, "all disks, and why one may not be used")
    verbs.verb("status", disks.status, "how the mailbox disk is")
    connect = verbs.verb("connect", disks.connect, "make a mailbox disk of a disk")
    take = verbs.verb("take", disks.take, "bring in a disk that holds mailboxes already")
    verbs.verb("detach", disks.detach, "let the mailbox disk go, so that it can be pulled")
    replace = verbs.verb("replace", disks.replace, "move the mail to another disk")
    mirror = verbs.verb("mirror", disks.mirror, "keep the mail on a second disk as well")
    for verb in (connect, take, replace, mirror):
        verb.add_argument("disk", help="its serial number, identity or device")
    for verb in (connect, replace, mirror):
        verb.add_argument(
            "--erase", default="", metavar="SERIAL", help="erase what is on it: its serial number"
        )
    take.add_argument("--agree", action="store_true", help="also when another box made it")
    replace.add_argument("--old", default="", metavar="DISK", help="which of two to leave")
    verbs.verb("grow", disks.grow, "use all of a disk that has become larger")
    verbs.verb("cancel", disks.cancel, "call a copy off, or forget work that waits for a disk")


def context_of(args: argparse.Namespace) -> Context:
    """Where the box is. With --data its run folder is below it, without it is this machine."""
    data = args.data.resolve() if args.data else BOX_DATA
    run = args.run or (data / "run" if args.data else BOX_RUN)
    return Context(data=data, run=run, json=args.json, author=f"cli:{getpass.getuser()}")


def main(argv: list[str] | None = None) -> int:
    args = parser().parse_args(argv)  # ends with 2 by itself
    try:
        args.do(context_of(args), args)
    except PennypostError as error:
        show_finding(error.finding, as_json=args.json)
        return REFUSED
    except BrokenPipeError:
        return DONE
    return DONE
