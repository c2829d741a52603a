"""What the relay does once a night: compare queue and ledger (FEATURES B2)."""

import asyncio
import logging
import sqlite3
from datetime import datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo

from appliance.base.finding import PennypostError
from appliance.relay.shop import Shop

HOUR = 3  # of the box's own time
LOOK_SECONDS = 60.0
_log = logging.getLogger("pennypost.relay")


def is_due(last: datetime | None, now: datetime, zone: tzinfo) -> bool:
    """Whether the hour has come since `last`. A box that was off at night does it when it is on;
    a clock that was set back does not put it off for longer than a day."""
    if last is None or last > now:
        return True
    local = now.astimezone(zone)
    hour = local.replace(hour=HOUR, minute=0, second=0, microsecond=0)
    if hour > local:
        hour -= timedelta(days=1)
    return last < hour


async def for_ever(shop: Shop) -> None:
    """Look once a minute whether it is time."""
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        try:
            await _perhaps(shop)
        except (PennypostError, OSError, sqlite3.Error) as error:
            _log.warning("queue and ledger could not be compared now: %s", error)


async def _perhaps(shop: Shop) -> None:
    last = await shop.spool.last_reconciliation()
    at = datetime.fromisoformat(last["at"]) if last else None
    if not is_due(at, shop.clock.now(), ZoneInfo(shop.settings.box.time_zone)):
        return
    found = await shop.spool.reconcile()
    event = "books-agree" if found["ok"] else "books-disagree"
    shop.log.event("", event, messages=found["messages"], why="" if found["ok"] else found["say"])
