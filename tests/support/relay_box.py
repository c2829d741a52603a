"""A real relay on loopback in the test's process: sockets, spool, delivery are the product's.

>>> with RelayBox(tmp_path, {"mail.relay_domains": [f"example.org | {sink.address}"]}) as box:
...     with SmtpClient("127.0.0.1", box.port(Port.SMTP)) as client: ...
"""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Coroutine, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Self, TypeVar

from appliance.accounts.passwords import make_hash
from appliance.accounts.users import Users
from appliance.base.clock import Clock, SystemClock
from appliance.base.database import Database
from appliance.dns.resolver import FakeResolver, Resolver
from appliance.memory import log_ins, throttle
from appliance.memory.sent_book import SentBook
from appliance.policy.verdict import Port
from appliance.relay.listener import Listener, loopback_socket
from appliance.relay.mail_log import MailLog
from appliance.relay.memories import Memories
from appliance.relay.shop import Shop
from appliance.relay.sign_in import SignIn
from appliance.relay.worker import Outside, Worker
from appliance.settings import schema
from appliance.spool.bodies import Disk, RealDisk
from appliance.spool.store import Spool

T = TypeVar("T")
hash_of = cache(make_hash)  # each costs some hundredths of a second
BASE = {
    "mail.enabled": True,
    "mail.hostname": "box.example.com",
    "mail.main_domain": "example.com",
    "mail.relay_domains": ["example.org | 127.0.0.1:1"],
    "queue.retry_seconds": [1],
    "queue.reserve_bytes": 1024 * 1024,
    # most tests have no DNS
    "filter.check_sender_domain": False,
    "filter.check_spf": False,
    "filter.dmarc": "off",
}


def _file_socket(path: Path) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(str(path))
    path.chmod(0o666)
    sock.listen(16)
    sock.setblocking(False)
    return sock


def _raise(error: Exception) -> None:
    raise error


class RelayBox:
    """See the module's text. The loop runs in a thread of its own."""

    def __init__(
        self,
        folder: Path,
        settings: Mapping[str, Any] | None = None,
        *,
        resolver: Resolver | None = None,
        certificate: tuple[Path, Path] | None = None,
        disk: Disk | None = None,
        deliver: bool = True,
        accounts: Mapping[str, str] | None = None,
        clock: Clock | None = None,
        outside: Outside | None = None,
        home: Path | None = None,
    ) -> None:
        """`accounts` are names and passwords of people who may sign in; `home` is the path of
        the socket for what filters of the mailboxes send."""
        self.folder = folder
        self.clock = clock or SystemClock()
        self._accounts = dict(accounts or {})
        self.log: list[str] = []
        self.settings = schema.from_json({**BASE, **(settings or {})})
        self._resolver = resolver or FakeResolver()
        self._certificate = certificate or (None, None)
        self._disk = disk or RealDisk()
        self._deliver = deliver
        self._outside = outside
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._sockets = {port: [loopback_socket(0)] for port in Port}
        if home is not None:
            self._sockets[Port.SMTP].append(_file_socket(home))
        self.shop: Shop
        self.worker: Worker
        self.listener: Listener
        self.memories: Memories

    def port(self, port: Port = Port.SMTP) -> int:
        number: int = self._sockets[port][0].getsockname()[1]
        return number

    def run(self, work: Coroutine[Any, Any, T], *, timeout_seconds: float = 60) -> T:
        """Run a coroutine on the relay's loop and wait for it."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout_seconds)

    def take(self, settings: Mapping[str, Any], *, accepting: bool = True) -> None:
        """Change settings while it runs."""

        async def change() -> None:
            self.settings = schema.from_json(settings, self.settings)
            self.shop.take(self.settings, accepting=accepting)
            self.worker.take_settings()

        self.run(change())

    def events(self, event: str) -> list[str]:
        """The mail log's lines of one event."""
        return [line for line in list(self.log) if f" event={event}" in line]

    def __enter__(self) -> Self:
        self._thread.start()
        self.run(self._start())
        return self

    def __exit__(self, *_: object) -> None:
        self.run(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        for sockets in self._sockets.values():
            for sock in sockets:
                sock.close()

    async def _start(self) -> None:
        clock = self.clock
        spool = await Spool.open(self.folder / "spool", clock=clock, disk=self._disk)
        log = MailLog(echo=False)
        log.listeners.append(self.log.append)
        self.shop = Shop(
            spool=spool,
            clock=clock,
            resolver=self._resolver,
            log=log,
            book=SentBook(self.folder / "memory" / "sent.db", trouble=_raise)
            if self._accounts
            else None,
        )
        self.memories = Memories.open(self.folder / "memory", self.shop)
        self.shop.take(self.settings, accepting=True)
        if self._accounts:
            self._open_accounts()
        self.worker = Worker(self.shop, self._outside)
        self.listener = Listener(self.shop, self._sockets)
        await self.listener.open(*self._certificate)
        if self._deliver:
            self.worker.start()
        else:
            spool.on_put = lambda message: None

    def _open_accounts(self) -> None:
        path = self.folder / "accounts.db"
        self.users = Users(path, self.clock)
        for login, password in self._accounts.items():
            self.users.add(login, name="", password_hash=hash_of(password))
        counts = Database(self.folder / "memory" / "sign_in.db", throttle.SCHEMA, durable=False)
        seen = Database(self.folder / "memory" / "log_ins.db", log_ins.SCHEMA, durable=False)
        self.shop.sign_in = SignIn(
            path, throttle.Throttle(counts, self.clock), log_ins.LogIns(seen, self.clock)
        )
        self.shop.take_people(self.shop.sign_in.people())

    async def _stop(self) -> None:
        self.listener.close()
        for guest in list(self.shop.gate.sessions):
            guest._hang_up()  # type: ignore[attr-defined]
        await self.worker.stop(1)
        await self.shop.spool.close()
        self.memories.flush()
