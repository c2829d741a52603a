"""The relay's control socket: what the web pages and the CLI may ask of it and order."""

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any

from appliance.base.control import Handler, Request
from appliance.base.finding import Finding, Refused
from appliance.relay.listener import Listener
from appliance.relay.shop import Shop
from appliance.relay.worker import Worker
from appliance.settings.schema import parse_value
from appliance.spool import queries
from appliance.spool.model import Totals, to_seconds
from appliance.spool.queries import Selection

JSON = Any
MAX_HEADER_CHARACTERS = 65_536
MAX_ZONES_TESTED = 50


class Control:
    """The verbs. `reload` reads the settings anew."""

    def __init__(
        self,
        shop: Shop,
        listener: Listener,
        worker: Worker,
        reload: Callable[[], Awaitable[None]],
    ) -> None:
        self._shop = shop
        self._listener = listener
        self._worker = worker
        self._reload = reload

    def handlers(self) -> dict[str, Handler]:
        """The verbs by name."""
        return {
            "status": self.status,
            "queue.list": self.list,
            "queue.show": self.show,
            "queue.send": self.send,
            "queue.hold": self.hold,
            "queue.release": self.release,
            "queue.delete": self.delete,
            "reload": self.reload,
            "trace": self.trace,
            "dnsbl.test": self.dnsbl_test,
        }

    async def status(self, request: Request) -> JSON:
        """The true state, in numbers and in words."""
        shop = self._shop
        found: Totals = await shop.spool.look(queries.totals)
        why = shop.why_closed
        if shop.spool.trouble:
            why = f"The queue cannot be written: {shop.spool.trouble}"
        elif shop.accepting and not shop.has_room(0):
            why = "The room kept free for the queue is reached; senders are asked to wait."
        return {
            "state": "failing" if shop.spool.trouble else "running",
            "listeners": self._listener.describe(),
            "accepting": shop.accepting and not why,
            "why": why,
            "queue": {
                "messages": found.messages,
                "bytes": found.bytes,
                "oldest_seconds": _age(found.oldest_at, shop.clock.now()),
                "deferred": found.deferred,
                "held": found.held,
            },
            "sessions": len(shop.gate.sessions),
            "deliveries": self._worker.busy,
            "scanner": shop.scanner.describe() if shop.scanner else None,
            "counters": dict(shop.counters),
            "findings": [finding.to_json() for finding in self._findings()],
        }

    def _findings(self) -> list[Finding]:
        memories = self._shop.memories
        wanted = self._shop.settings.filter.dnsbl
        return memories.findings(dnsbl=wanted) if memories is not None else []

    async def dnsbl_test(self, request: Request) -> JSON:
        """Prove one block list now, or all that are set."""
        memories, zone = self._shop.memories, _text(request.args, "zone").strip()
        if memories is None:
            raise Refused.because("filter.dnsbl_zones", "There are no block lists here.")
        zones = self._shop.settings.filter.dnsbl_zones
        if zone:
            zones = (str(parse_value("filter.dnsbl_zones", [zone])[0]),)
        return [await memories.block_lists.test(one) for one in zones[:MAX_ZONES_TESTED]]

    async def list(self, request: Request) -> JSON:
        """One page of the queue."""
        args = request.args
        selection = Selection(search=_text(args, "search"), state=_text(args, "state"))
        offset, limit = _number(args, "offset", 0), _number(args, "limit", 50)
        sort = _text(args, "sort") or "-received_at"
        return await self._shop.spool.look(
            lambda db: queries.listing(db, selection, offset=offset, limit=limit, sort=sort)
        )

    async def show(self, request: Request) -> JSON:
        """One message: its item, its header and its history."""
        queue_id = _text(request.args, "id").upper()
        spool = self._shop.spool
        history = await spool.look(lambda db: queries.events(db, queue_id))
        found = await spool.look(lambda db: queries.find(db, queue_id))
        if found is None:
            raise Refused.because(
                "queue.id",
                "This message is not in the queue any more." if history else "No such message.",
                "Look at the trace for what became of it." if history else "",
            )
        number, item = found
        head = await spool.header(number)
        headers = head.decode("utf-8", "replace").replace("\r\n", "\n")
        return {**item, "headers": headers[:MAX_HEADER_CHARACTERS], "events": history}

    async def send(self, request: Request) -> JSON:
        """Try again now."""
        chosen, now = _selection(request.args), to_seconds(self._shop.clock.now())
        numbers = await self._shop.spool.change(lambda b: queries.send_now(b, chosen, now))
        self._worker.wake()
        return {"count": len(numbers)}

    async def hold(self, request: Request) -> JSON:
        """Keep, do not try."""
        chosen = _selection(request.args)
        numbers = await self._shop.spool.change(lambda b: queries.hold(b, chosen))
        self._worker.forget(set(numbers))
        return {"count": len(numbers)}

    async def release(self, request: Request) -> JSON:
        """Let go on."""
        chosen, now = _selection(request.args), to_seconds(self._shop.clock.now())
        numbers = await self._shop.spool.change(lambda b: queries.release(b, chosen, now))
        self._worker.wake()
        return {"count": len(numbers)}

    async def delete(self, request: Request) -> JSON:
        """Take out for good; the log and the ledger say who."""
        chosen = _selection(request.args)
        author = _text(request.args, "author") or f"uid {request.peer.uid}"
        gone = await self._shop.spool.change(lambda b: queries.delete(b, chosen, author))
        self._worker.forget({number for number, _ in gone})
        for _, queue_id in gone:
            self._shop.log.event(queue_id, "deleted", by=author)
        return {"count": len(gone)}

    async def reload(self, request: Request) -> JSON:
        """Read settings, facts and certificate anew."""
        await self._reload()
        return {"accepting": self._shop.accepting, "why": self._shop.why_closed}

    async def trace(self, request: Request) -> JSON:
        """What the ledger knows of an address or an id."""
        search = _text(request.args, "search").strip()
        if not search:
            raise Refused.because("trace.search", "Say whom or what to look for.")
        limit = _number(request.args, "limit", 100)
        return await self._shop.spool.look(lambda db: queries.trace(db, search, limit))


def _selection(args: dict[str, JSON]) -> Selection:
    """`{ids: [...]}`, `{search: ...}` or `{all: true}`; an order without any of them is refused."""
    ids = args.get("ids")
    if isinstance(ids, list) and ids and all(isinstance(entry, str) for entry in ids):
        return Selection(ids=tuple(entry.upper() for entry in ids[:10_000]))
    search, state = _text(args, "search"), _text(args, "state")
    if search or state or args.get("all") is True:
        return Selection(search=search, state=state)
    raise Refused.because(
        "queue.selection", "It is not said which messages are meant.", "Give ids, search or all."
    )


def _text(args: dict[str, JSON], name: str) -> str:
    value = args.get(name)
    return value[:500] if isinstance(value, str) else ""


def _number(args: dict[str, JSON], name: str, default: int) -> int:
    value = args.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) else default


def _age(oldest: datetime | None, now: datetime) -> int:
    return 0 if oldest is None else max(0, int((now - oldest).total_seconds()))
