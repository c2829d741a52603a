"""pennypost-relay: wire the parts and run them.

    python -m appliance.relay.main --data DIR --run DIR
        [--smtp PORT --submission PORT --submissions PORT] [--resolver ADDRESS:PORT]

With sockets from systemd (named smtp, submission, submissions, mailboxes) the ports are not
needed. Settings and facts come from RUN/rendered/relay.json, at the start, on SIGHUP and on the
verb `reload`.
While mail is switched off or the box is unclaimed the ports answer 421 4.3.2; on the box systemd
has stopped the sockets then. SIGTERM lets what is under way end.
"""

import argparse
import asyncio
import contextlib
import json
import logging
import os
import pwd
import signal
import socket
import sqlite3
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from appliance.base import control, sd
from appliance.base.clock import Clock, SystemClock
from appliance.base.database import Database
from appliance.base.finding import PennypostError, Refused
from appliance.certs.dkim_keys import load_signing_keys
from appliance.dns.live import LiveResolver
from appliance.memory import log_ins, throttle
from appliance.memory.sent_book import SentBook
from appliance.policy.dkim import SigningKey
from appliance.policy.verdict import Port
from appliance.relay import nightly, signing, srs_secret
from appliance.relay.control import Control
from appliance.relay.listener import Listener, loopback_socket
from appliance.relay.login_policy import LoginPolicy
from appliance.relay.mail_log import MailLog
from appliance.relay.memories import Memories
from appliance.relay.session import Session
from appliance.relay.shop import Shop
from appliance.relay.sign_in import SignIn
from appliance.relay.signing_desk import SigningDesk
from appliance.relay.worker import Worker
from appliance.settings import schema
from appliance.settings.mailboxes import LOGIN_POLICY_PORT
from appliance.settings.schema import Settings
from appliance.spool.store import Spool

BOX_DATA, BOX_RUN = Path("/data/pennypost"), Path("/run/pennypost")
DRAIN_SECONDS = 20  # for clients; systemd waits for 30
DELIVERY_DRAIN_SECONDS = 12  # for deliveries, and as long again for what is to be recorded
TIDY_SECONDS = 60.0
TIDY_STEPS = 200
_log = logging.getLogger("pennypost.relay")


@dataclass(frozen=True, slots=True)
class Rendered:
    """What the steward rendered for us."""

    settings: Settings = field(default_factory=Settings)
    claimed: bool = False
    certificate: Path | None = None
    key: Path | None = None
    scanner: str = ""  # host:port
    signing_keys: dict[str, tuple[SigningKey, ...]] = field(default_factory=dict, repr=False)

    @classmethod
    def read(cls, path: Path) -> "Rendered":
        """Raises OSError, ValueError, PennypostError."""
        raw = json.loads(path.read_text())
        facts: dict[str, Any] = raw.get("facts") or {}
        names = schema.by_name()
        known = {
            name: value
            for name, value in schema.flatten(raw.get("settings") or {}).items()
            if name in names
        }
        certificate, key = facts.get("tls_certificate"), facts.get("tls_key")
        return cls(
            settings=schema.from_json(known),
            claimed=facts.get("claimed") is True,
            certificate=Path(certificate) if certificate else None,
            key=Path(key) if key else None,
            scanner=str(facts.get("scanner") or ""),
            signing_keys=load_signing_keys(facts),
        )

    @property
    def why_closed(self) -> str:
        """Why no mail is taken; empty when it is."""
        if not self.claimed:
            return "The box has not been set up yet."
        if not self.settings.mail.enabled:
            return "The mail service is switched off."
        if not self.settings.mail.hostname:
            return "The mail server has no host name yet."
        return ""


@dataclass(slots=True)
class Daemon:
    """The running relay."""

    shop: Shop
    listener: Listener
    worker: Worker
    rendered: Path

    async def read_people(self) -> None:
        """Put the accounts in force that there are now. Raises PennypostError."""
        if self.shop.sign_in is None:
            return
        try:
            self.shop.take_people(await asyncio.to_thread(self.shop.sign_in.people))
        except sqlite3.Error as error:
            raise Refused.because(
                "accounts", f"The accounts cannot be read: {error}", "Restart the box."
            ) from error

    async def reload(self) -> None:
        """Put what is rendered in force. What cannot be read changes nothing and is raised."""
        found = Rendered.read(self.rendered)
        self.shop.take(
            found.settings,
            accepting=not found.why_closed,
            why=found.why_closed,
            scanner=found.scanner,
        )
        self.shop.signing_keys = found.signing_keys
        if self.shop.signing_desk is not None:
            await self.shop.signing_desk.take_keys(found.signing_keys)
        self.worker.take_settings()
        await self._read_people_quietly()
        await self.listener.open(found.certificate, found.key)
        _log.info("settings in force; %s", found.why_closed or "mail is taken")

    async def _read_people_quietly(self) -> None:
        """The same; who was known stays known when they cannot be read."""
        try:
            await self.read_people()
        except PennypostError as error:
            _log.warning("%s", error.finding.say)

    async def reload_quietly(self) -> None:
        """The same, where nobody waits for an answer."""
        try:
            await self.reload()
        except (OSError, ValueError, PennypostError) as error:
            _log.warning("the settings could not be read; the old ones stay: %s", error)


async def run(arguments: argparse.Namespace) -> None:
    """From the first socket to the last message."""
    log_path = _dev_log(arguments.data) if _is_dev(arguments) else None
    clock = SystemClock()
    spool = await Spool.open(arguments.data / "spool", clock=clock)
    shop = Shop(
        spool=spool,
        clock=clock,
        resolver=_resolver(arguments),
        log=MailLog(log_path, echo=log_path is None),
        book=_sent_book(arguments.data),
        srs_secret=srs_secret.load(arguments.data / "memory"),
    )
    shop.seal = signing.sealer(shop)
    shop.signing_desk = SigningDesk(clock)
    memories = Memories.open(arguments.data / "memory", shop)
    shop.sign_in = sign_in = _sign_in(arguments.data, clock)
    worker = Worker(shop)
    passed = sd.listen_fds()
    listener = Listener(shop, _sockets(arguments, passed))
    daemon = Daemon(shop, listener, worker, arguments.run / "rendered" / "relay.json")
    shop.why_closed = "The settings have not been read yet."
    # Before anybody is let in: who is greeted may end us, and we end in order.
    _write_pid(arguments)
    stopped = _on_signals(daemon)
    await listener.open(None, None)
    await daemon.reload_quietly()
    worker.start()
    orders = Control(shop, listener, worker, daemon.reload, daemon.read_people)
    server = await control.serve(
        control.only(orders.handlers(), _uids("pp-panel"), {"pulse"}),
        path=arguments.run / "relay.sock",
        sock=next(iter(passed.get("control", [])), None),
        allowed_uids=_callers(),
    )
    mailboxes = await _policy_for_mailboxes(arguments, shop)
    tidier = asyncio.create_task(_tidy_for_ever(spool))
    night = asyncio.create_task(nightly.for_ever(shop))
    rememberer = asyncio.create_task(memories.flush_for_ever())
    sd.notify("READY=1")
    await stopped.wait()
    sd.notify("STOPPING=1")
    tidier.cancel()
    night.cancel()
    rememberer.cancel()
    mailboxes.close()
    server.close()
    await _drain(daemon)
    if sign_in is not None:
        sign_in.close()
    await shop.signing_desk.close()
    await spool.close()
    memories.flush()
    shop.log.close()


async def _policy_for_mailboxes(arguments: argparse.Namespace, shop: Shop) -> LoginPolicy:
    """Where Dovecot asks whether a password may be tried; there is none in a checkout."""
    policy = LoginPolicy(shop)
    if not _is_dev(arguments):
        try:
            await policy.open(LOGIN_POLICY_PORT)
        except OSError as error:
            _log.error("wrong passwords at the mailboxes are not counted: %s", error)
    return policy


def _sign_in(data: Path, clock: Clock) -> SignIn | None:
    """The accounts and the counter of wrong passwords; None when that cannot be kept."""
    try:
        counts = Database(data / "memory" / "sign_in.db", throttle.SCHEMA, durable=False)
        seen = Database(data / "memory" / "log_ins.db", log_ins.SCHEMA, durable=False)
    except (OSError, sqlite3.Error) as error:
        _log.error("nobody can sign in, for wrong passwords cannot be counted: %s", error)
        return None
    return SignIn(
        data / "accounts" / "accounts.db",
        throttle.Throttle(counts, clock),
        log_ins.LogIns(seen, clock),
    )


def _sent_book(data: Path) -> SentBook | None:
    """Who sent how much; None when it cannot be kept: then nobody is slowed down or held."""

    def say(error: sqlite3.Error) -> None:
        _log.warning("what accounts send is not counted: %s", error)

    try:
        return SentBook(data / "memory" / "sent.db", trouble=say)
    except (OSError, sqlite3.Error) as error:
        _log.error("what accounts send cannot be counted: %s", error)
        return None


async def _drain(daemon: Daemon) -> None:
    """Take no new work; let what is under way end."""
    daemon.listener.close()
    for guest in list(daemon.shop.gate.sessions):
        if isinstance(guest, Session):
            guest.dismiss()
    await asyncio.gather(_last_guests(daemon), daemon.worker.stop(DELIVERY_DRAIN_SECONDS))


async def _last_guests(daemon: Daemon) -> None:
    """Wait for transactions under way; who is not done in time is told so."""
    gate = daemon.shop.gate
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(DRAIN_SECONDS):
            await gate.is_empty.wait()
    for guest in list(gate.sessions):
        if isinstance(guest, Session) and not guest.is_committing:
            guest.break_off()


async def _tidy_for_ever(spool: Spool) -> None:
    """Give room back, a short step at a time."""
    while True:
        await asyncio.sleep(TIDY_SECONDS)
        try:
            for _ in range(TIDY_STEPS):
                if not await spool.tidy():
                    break
                await asyncio.sleep(0.1)
        except PennypostError as error:
            _log.warning("no tidying now: %s", error)


def _on_signals(daemon: Daemon) -> asyncio.Event:
    loop, stopped = asyncio.get_running_loop(), asyncio.Event()
    reloads: set[asyncio.Task[None]] = set()

    def reload() -> None:
        task = loop.create_task(daemon.reload_quietly())
        reloads.add(task)
        task.add_done_callback(reloads.discard)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    loop.add_signal_handler(signal.SIGHUP, reload)
    return stopped


def _sockets(
    arguments: argparse.Namespace, passed: Mapping[str, list[socket.socket]]
) -> dict[Port, list[socket.socket]]:
    """From systemd, else the development ports."""
    found: dict[Port, list[socket.socket]] = {}
    for port in Port:
        number = getattr(arguments, port.value)
        if port.value in passed:
            found[port] = passed[port.value]
            for sock in found[port]:
                sock.setblocking(False)
        elif number is not None:
            found[port] = [loopback_socket(number)]
    for sock in passed.get("mailboxes", ()):  # port 25's back door
        sock.setblocking(False)
        found.setdefault(Port.SMTP, []).append(sock)
    return found


def _callers() -> set[int]:
    """Who may ask: root, the web pages, (in development) ourselves; the panel for its pulse."""
    return {0, os.getuid()} | _uids("pp-web") | _uids("pp-panel")


def _uids(user: str) -> set[int]:
    """The number of a user of the box; none in a checkout."""
    try:
        return {pwd.getpwnam(user).pw_uid}
    except KeyError:
        return set()


def _is_dev(arguments: argparse.Namespace) -> bool:
    return arguments.smtp is not None


def _dev_log(data: Path) -> Path:
    (data / "log").mkdir(parents=True, exist_ok=True)
    return data / "log" / "mail.log"


def _write_pid(arguments: argparse.Namespace) -> None:
    if _is_dev(arguments):
        (arguments.run / "relay.pid").write_text(f"{os.getpid()}\n")


def _resolver(arguments: argparse.Namespace) -> LiveResolver:
    """The name server that was named, the box's own, or in development the host's."""
    if arguments.resolver:
        return LiveResolver.from_text(arguments.resolver)
    if _is_dev(arguments):
        with contextlib.suppress(OSError):
            lines = Path("/etc/resolv.conf").read_text().splitlines()
            for words in map(str.split, lines):
                if words[:1] == ["nameserver"] and len(words) > 1:
                    return LiveResolver(words[1])
    return LiveResolver()


def parse_arguments(arguments: list[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="pennypost-relay", description="The mail relay.")
    parser.add_argument("--data", type=Path, default=BOX_DATA, help="folder with spool/")
    parser.add_argument("--run", type=Path, default=BOX_RUN, help="folder with rendered/")
    for port in Port:
        parser.add_argument(f"--{port.value}", type=int, metavar="PORT", help="loopback port")
    parser.add_argument("--resolver", metavar="ADDRESS:PORT", help="name server to ask")
    return parser.parse_args(arguments)


def main() -> None:
    """Entry point."""
    arguments = parse_arguments(sys.argv[1:])
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    logging.getLogger("mail.log").setLevel(logging.ERROR)  # the library's; it names passwords
    try:
        import uvloop
    except ImportError:
        asyncio.run(run(arguments))
    else:
        uvloop.run(run(arguments))


if __name__ == "__main__":
    main()
