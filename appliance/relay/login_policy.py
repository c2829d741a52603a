"""Wrong passwords at the mailboxes count with those at the relay: Dovecot asks here.

Dovecot's “auth policy” is a question by HTTP before each password is looked at, and a report
after it. The answer comes from the counter that SMTP and the pages share; a report of a right
password forgives, and is remembered as the last log-in. Listens on loopback only. When it is
silent Dovecot goes on without it, with its own pause after a wrong password.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import sqlite3
from collections.abc import Mapping
from typing import Any

from appliance.policy.people import login_of
from appliance.relay.shop import Shop

MAX_HEAD_BYTES = 8 * 1024
MAX_BODY_BYTES = 16 * 1024
IDLE_SECONDS = 120.0
_log = logging.getLogger(__name__)
GO_ON, REFUSE = 0, -1


class LoginPolicy:
    """The server; `port` is where it listens once it is open."""

    def __init__(self, shop: Shop) -> None:
        self._shop = shop
        self._server: asyncio.Server | None = None
        self.port = 0

    async def open(self, port: int) -> None:
        """Listen on loopback; 0 is any free port."""
        self._server = await asyncio.start_server(
            self._serve, "127.0.0.1", port, limit=MAX_HEAD_BYTES
        )
        self.port = self._server.sockets[0].getsockname()[1]

    def close(self) -> None:
        if self._server is not None:
            self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        trouble = (OSError, ValueError, asyncio.IncompleteReadError, asyncio.LimitOverrunError)
        try:
            while question := await asyncio.wait_for(_read(reader), IDLE_SECONDS):
                answer = json.dumps(await self._answer(*question)).encode()
                head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(answer)}\r\n"
                writer.write(f"{head}Content-Type: application/json\r\n\r\n".encode() + answer)
                await writer.drain()
        except (*trouble, TimeoutError) as error:
            _log.debug("a talk with Dovecot ended: %s", error)
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _answer(self, command: str, told: Mapping[str, Any]) -> dict[str, Any]:
        """`allow`: may the password be looked at? `report`: what came of it."""
        try:
            return await asyncio.to_thread(self._judge, command, told)
        except sqlite3.Error as error:
            _log.warning("wrong passwords at the mailboxes are not counted: %s", error)
            return {"status": GO_ON, "msg": ""}

    def _judge(self, command: str, told: Mapping[str, Any]) -> dict[str, Any]:
        rules, sign_in = self._shop.rules, self._shop.sign_in
        typed, client = str(told.get("login", "")), str(told.get("remote", ""))
        login = login_of(typed, rules.mail_domains) or typed
        trusted = rules.trusts(client)
        if sign_in is None or not login or not client:
            return {"status": GO_ON, "msg": ""}
        if command == "allow":
            wait = sign_in.throttle.try_now(login, client, trusted=trusted)
            return {"status": REFUSE if wait > 0 else GO_ON, "msg": ""}
        if command == "report" and told.get("success") is True:
            sign_in.throttle.forgive(login, client, trusted=trusted)
            sign_in.note(login, str(told.get("protocol", "")), client)
        return {"status": GO_ON, "msg": ""}


async def _read(reader: asyncio.StreamReader) -> tuple[str, Mapping[str, Any]] | None:
    """One request: its command and its JSON; None at the end. Raises ValueError for nonsense."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as error:
        if not error.partial:
            return None
        raise
    first, *lines = head.decode("latin-1").split("\r\n")
    fields = {
        name.strip().lower(): value.strip() for name, _, value in (x.partition(":") for x in lines)
    }
    length = int(fields.get("content-length", "0"))
    if not 0 <= length <= MAX_BODY_BYTES:
        raise ValueError("too long")
    told = json.loads(await reader.readexactly(length) or b"{}")
    if not isinstance(told, dict):
        raise ValueError("no object")
    return first.partition("command=")[2].partition(" ")[0].partition("&")[0], told
