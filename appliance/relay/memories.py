"""What the relay remembers between sessions, opened, handed to the checks, and written behind.

A file that cannot be read is put aside by deleting it: all of this may be lost without losing
mail, and a box must not stop for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from appliance.base.finding import Finding
from appliance.memory.call_ahead import CallAheadStore
from appliance.memory.correspondents import CorrespondentStore
from appliance.memory.dnsbl_health import DnsblHealth
from appliance.memory.greylist import GreylistStore
from appliance.memory.seen import SeenStore
from appliance.relay.block_lists import BlockListAsker
from appliance.relay.call_ahead import CallAhead
from appliance.relay.shop import Shop

FLUSH_SECONDS = 1.0
T = TypeVar("T")
_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Memories:
    """The parts; `flush_for_ever` is a task of the daemon, the last `flush` comes at its end."""

    greylist: GreylistStore
    correspondents: CorrespondentStore
    answers: CallAheadStore
    block_lists: BlockListAsker
    call_ahead: CallAhead

    @classmethod
    def open(cls, folder: Path, shop: Shop) -> Memories:
        """Open all under `folder` and hand them to the checks of `shop`."""
        clock, tools = shop.clock, shop.tools
        health = _opened(folder / "dnsbl.db", lambda path: DnsblHealth(path, clock))
        answers = _opened(folder / "call_ahead.db", lambda path: CallAheadStore(path, clock))
        found = cls(
            greylist=_opened(folder / "greylist.db", GreylistStore),
            correspondents=_opened(
                folder / "correspondents.db", lambda path: CorrespondentStore(path, clock)
            ),
            answers=answers,
            block_lists=BlockListAsker(
                shop.resolver, clock, health, lambda: shop.settings.filter.dnsbl_zones
            ),
            call_ahead=CallAhead(shop.resolver, clock, answers, lambda: shop.settings),
        )
        tools.greylist = found.greylist
        tools.correspondents = found.correspondents
        tools.dnsbl = found.block_lists
        tools.next_hops = found.call_ahead
        shop.memories = found
        return found

    def learn_correspondents(self, addresses: list[str]) -> None:
        """Mail of our own people was taken for them."""
        self.correspondents.learn(addresses)

    def findings(self, *, dnsbl: bool) -> list[Finding]:
        """What the status says of them."""
        return [*(self.block_lists.findings() if dnsbl else ()), *self.call_ahead.findings()]

    async def flush_for_ever(self) -> None:
        """Write what changed, every second, away from the sessions."""
        while True:
            await asyncio.sleep(FLUSH_SECONDS)
            await asyncio.to_thread(self.flush)

    def flush(self) -> None:
        """Write what changed."""
        stores: tuple[SeenStore, ...] = (self.greylist, self.correspondents, self.answers)
        for store in stores:
            try:
                store.flush()
            except sqlite3.Error as error:
                _log.warning("something learnt is forgotten: %s", error)


def _opened(path: Path, make: Callable[[Path], T]) -> T:
    try:
        return make(path)
    except sqlite3.DatabaseError as error:
        _log.warning("%s cannot be read and is begun anew: %s", path.name, error)
        for suffix in ("", "-wal", "-shm"):
            with contextlib.suppress(FileNotFoundError):
                path.with_name(path.name + suffix).unlink()
        return make(path)
