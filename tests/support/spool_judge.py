"""Is all that was acknowledged still there? Opens a spool as the relay would, and compares."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

from appliance.base.clock import SystemClock
from appliance.spool import rows
from appliance.spool.store import Spool

_OPEN = {"queued", "deferred", "held"}


class Judge:
    """Knows what clients sent (queue id: content, recipients) and what the next hop took."""

    def __init__(
        self,
        sent: Mapping[str, tuple[bytes, tuple[str, ...]]],
        taken: Collection[tuple[str, str]],
    ) -> None:
        self.sent, self.taken = sent, taken  # taken: queue id, recipient

    async def lost(self, folder: Path, acknowledged: Collection[str]) -> list[str]:
        """What is wrong with the spool in `folder`, a line each; it is opened, thus changed."""
        try:
            spool = await Spool.open(folder, clock=SystemClock())
        except Exception as error:
            return [f"it does not open: {error!r}"]
        try:
            return await self._unreported(spool) + await self._missing(spool, acknowledged)
        finally:
            await spool.close()

    async def _missing(self, spool: Spool, acknowledged: Collection[str]) -> list[str]:
        ledger: dict[str, dict[str, str]] = {}
        lines = "SELECT queue_id, recipient, fate FROM ledger"
        for queue_id, address, fate in await spool.look(lambda db: db.execute(lines).fetchall()):
            ledger.setdefault(queue_id, {})[address] = fate
        numbers: dict[str, int] = dict(
            await spool.look(lambda db: db.execute("SELECT queue_id, id FROM messages").fetchall())
        )
        found = []
        for queue_id in sorted(acknowledged):
            try:
                why = await self._wrong(spool, queue_id, ledger.get(queue_id, {}), numbers)
            except Exception as error:
                why = repr(error)
            if why:
                found.append(f"{queue_id}: {why}")
        return found

    async def _wrong(
        self, spool: Spool, queue_id: str, fates: Mapping[str, str], numbers: Mapping[str, int]
    ) -> str:
        """What is wrong with one message; empty when nothing is."""
        body, recipients = self.sent[queue_id]
        if sorted(fates) != sorted(recipients):
            return f"the ledger has {fates}"
        for address, fate in fates.items():
            if fate == "delivered" and (queue_id, address) not in self.taken:
                return f"delivered to {address}, says the ledger; it was not"
        if not _OPEN & set(fates.values()):
            return ""
        if queue_id not in numbers:
            return f"gone from the queue, and the ledger says {fates}"
        message = await spool.look(lambda db: rows.load(db, numbers[queue_id], ()))
        assert message is not None
        there = b"".join([block async for block in spool.content(message)])
        return "" if there == body else f"{len(there)} octets instead of {len(body)}"

    async def _unreported(self, spool: Spool) -> list[str]:
        """Each message that was returned has its report, in the same transaction."""
        bounced, reports = await spool.look(
            lambda db: db.execute(
                "SELECT count(DISTINCT CASE WHEN fate = 'bounced' AND mail_from IS NOT NULL"
                " THEN queue_id END), count(DISTINCT CASE WHEN mail_from IS NULL THEN queue_id END)"
                " FROM ledger"
            ).fetchone()
        )
        return [f"{bounced} returned, {reports} reports"] if bounced > reports else []
