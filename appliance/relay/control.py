"""The relay's control socket: what the web pages and the CLI may ask of it and order."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from functools import partial
from typing import Any

from appliance.base.control import Handler, Request
from appliance.base.finding import Finding, Refused, Result
from appliance.memory.sent_book import Brake
from appliance.memory.throttle import Throttle
from appliance.policy import alias_preview, scheme
from appliance.policy.people import login_of
from appliance.relay import simulator, smarthost
from appliance.relay.listener import Listener
from appliance.relay.say import next_step
from appliance.relay.shop import Shop
from appliance.relay.worker import Worker
from appliance.settings.schema import parse_value
from appliance.spool import narrative, queries, trace
from appliance.spool.model import Totals, to_seconds
from appliance.spool.queries import Selection
from appliance.spool.trace import Question

JSON = Any
MAX_HEADER_CHARACTERS = 65_536
PORTION = 1_000  # messages that an order changes in one batch
MAX_ZONES_TESTED = 50
LETTER_EVENTS = ("accepted", "delivered", "deferred", "bounced")


class Control:
    """The verbs. `reload` reads the settings anew."""

    def __init__(
        self,
        shop: Shop,
        listener: Listener,
        worker: Worker,
        reload: Callable[[], Awaitable[None]],
        read_people: Callable[[], Awaitable[None]],
    ) -> None:
        self._shop = shop
        self._spool = shop.spool
        self._listener = listener
        self._worker = worker
        self._reload = reload
        self._read_people = read_people

    def handlers(self) -> dict[str, Handler]:
        """The verbs by name."""
        return {
            "status": self.status,
            "pulse": self.pulse,
            "queue.list": self.list,
            "queue.show": self.show,
            "queue.send": self.send,
            "queue.hold": self.hold,
            "queue.release": self.release,
            "queue.delete": self.delete,
            "smarthost.test": self.test_smarthost,
            "reload": self.reload,
            "trace": self.trace,
            "ledger.reconcile": self.reconcile,
            "ledger.last": self.reconciled,
            "alias.preview": self.alias_preview,
            "dnsbl.test": self.dnsbl_test,
            "accounts.reload": self.reload_accounts,
            "accounts.seen": self.accounts_seen,
            "throttle.try": self.throttle_try,
            "throttle.forgive": self.throttle_forgive,
            "simulate": self.simulate,
            "brake.release": self.release_brake,
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
            "scheme": self._scheme(),
            "ledger": await shop.spool.last_reconciliation(),
            "brakes": [brake_to_json(brake) for brake in self._brakes()],
            "findings": [finding.to_json() for finding in self._findings()],
        }

    async def pulse(self, request: Request) -> JSON:
        """For the panel's LEDs: is mail taken, and how often something happened to a letter."""
        shop = self._shop
        letters = sum(shop.counters[event] for event in LETTER_EVENTS)
        return {
            "accepting": shop.accepting and not shop.spool.trouble and shop.has_room(0),
            "letters": letters,
        }

    def _scheme(self) -> JSON:
        """The stations in their order, what is on, and what they decided today."""
        tally = self._shop.tally
        return {
            "stations": [
                {
                    "station": stop.station.value,
                    "number": stop.station.number,
                    "stages": [stage.value for stage in stop.stages],
                    "on": stop.is_on,
                    "checks": stop.checks,
                    "checks_on": stop.on,
                    "strangers_only": stop.strangers_only,
                    "today": tally.of(stop.station),
                }
                for stop in scheme.stops(self._shop.rules)
            ],
            "since": tally.since.isoformat(),
        }

    async def simulate(self, request: Request) -> JSON:
        """What would happen to a mail, without a trace of it."""
        question = simulator.question_of(request.args)
        return (await simulator.simulate(self._shop, question)).to_json()

    def _findings(self) -> list[Finding]:
        memories = self._shop.memories
        wanted = self._shop.settings.filter.dnsbl
        found = [brake_finding(brake) for brake in self._brakes()]
        return found + (memories.findings(dnsbl=wanted) if memories is not None else [])

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
        page = await self._spool.look(
            lambda db: queries.listing(db, selection, offset=offset, limit=limit, sort=sort)
        )
        for item in page["items"]:
            _add_next_steps(item)
        return page

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
        _add_next_steps(item)
        head = await spool.header(number)
        headers = head.decode("utf-8", "replace").replace("\r\n", "\n")
        return {**item, "headers": headers[:MAX_HEADER_CHARACTERS], "events": history}

    async def send(self, request: Request) -> JSON:
        """Try again now."""
        author, now = _author(request), to_seconds(self._shop.clock.now())
        count = 0
        async for chosen in self._chosen(request):
            found = await self._spool.change(
                partial(queries.send_now, selection=chosen, now=now, author=author)
            )
            count += len(found)
            self._worker.wake()
        return {"count": count}

    async def hold(self, request: Request) -> JSON:
        """Keep, do not try."""
        author, now = _author(request), to_seconds(self._shop.clock.now())
        held: set[int] = set()
        async for chosen in self._chosen(request):
            held |= set(
                await self._spool.change(
                    partial(queries.hold, selection=chosen, now=now, author=author)
                )
            )
        self._worker.forget(held)
        self._log_order("held", request, len(held))
        return {"count": len(held)}

    async def release(self, request: Request) -> JSON:
        """Let go on."""
        author, now = _author(request), to_seconds(self._shop.clock.now())
        count = 0
        async for chosen in self._chosen(request):
            found = await self._spool.change(
                partial(queries.release, selection=chosen, now=now, author=author)
            )
            count += len(found)
            self._worker.wake()
        self._log_order("released", request, count)
        return {"count": count}

    async def delete(self, request: Request) -> JSON:
        """Take out for good; the log and the ledger say who."""
        author, now = _author(request), to_seconds(self._shop.clock.now())
        numbers: set[int] = set()
        async for chosen in self._chosen(request):
            gone = await self._spool.change(
                partial(queries.delete, selection=chosen, author=author, now=now)
            )
            numbers |= {number for number, _ in gone}
            for _, queue_id in gone:
                self._shop.log.event(queue_id, "deleted", by=author)
        self._worker.forget(numbers)
        return {"count": len(numbers)}

    async def _chosen(self, request: Request) -> AsyncIterator[Selection]:
        """What an order means at the moment it is given, in portions: between two of them the
        writer takes new mail."""
        selection = _selection(request.args)
        numbers = await self._spool.look(lambda db: queries.numbers(db, selection))
        for start in range(0, len(numbers), PORTION):
            yield Selection(numbers=tuple(numbers[start : start + PORTION]))

    def _log_order(self, event: str, request: Request, count: int) -> None:
        if count:
            self._shop.log.event("", event, by=_author(request), messages=count)

    async def test_smarthost(self, request: Request) -> JSON:
        """Try the smarthost that is set, without sending anything."""
        shop = self._shop
        found = await smarthost.check(shop.settings, shop.resolver, shop.hostname)
        return [finding.to_json() for finding in found]

    async def reload(self, request: Request) -> JSON:
        """Read settings, facts and certificate anew."""
        await self._reload()
        return {"accepting": self._shop.accepting, "why": self._shop.why_closed}

    async def reload_accounts(self, request: Request) -> JSON:
        """The steward changed an account."""
        await self._read_people()
        return {"accounts": len(self._shop.people.by_login)}

    def _brakes(self) -> tuple[Brake, ...]:
        return () if self._shop.book is None else self._shop.book.brakes()

    async def release_brake(self, request: Request) -> JSON:
        """Somebody has looked: the account sends again, and what was held for it goes on."""
        shop, login = self._shop, _text(request.args, "login").strip().casefold()
        author = _text(request.args, "author") or f"uid {request.peer.uid}"
        now = shop.clock.now()
        try:
            ids = None if shop.book is None else shop.book.release(login, now.timestamp())
        except sqlite3.Error as error:
            raise Refused.because("brake", f"The release cannot be written: {error}") from error
        if ids is None:
            raise Refused.because(
                "brake.login", "This account is not held up.", "Look at the list of accounts."
            )
        numbers: list[int] = []
        if ids:  # without any, a selection would mean all
            chosen, due = Selection(ids=ids), to_seconds(now)
            numbers = await shop.spool.change(lambda b: queries.release(b, chosen, due, author))
            self._worker.wake()
        shop.log.event("", "brake-released", user=login, by=author, messages=len(numbers))
        return {"login": login, "count": len(numbers)}

    async def accounts_seen(self, request: Request) -> JSON:
        """When an account signed in last, by each way."""
        login = _text(request.args, "login")
        keeper = self._shop.sign_in.log_ins if self._shop.sign_in is not None else None
        found = await asyncio.to_thread(keeper.of, login) if keeper is not None else ()
        return [{"way": one.way, "at": one.at.isoformat(), "client": one.client} for one in found]

    async def throttle_try(self, request: Request) -> JSON:
        """Another door is about to check a password: count it, or say how long to wait."""
        keeper, account, peer = self._throttle(), *self._who_tries(request)
        trusted = self._shop.rules.trusts(peer)
        wait = await asyncio.to_thread(keeper.try_now, account, peer, trusted=trusted)
        return {"wait_seconds": wait}

    async def throttle_forgive(self, request: Request) -> JSON:
        """The password was right."""
        keeper, account, peer = self._throttle(), *self._who_tries(request)
        trusted = self._shop.rules.trusts(peer)
        await asyncio.to_thread(keeper.forgive, account, peer, trusted=trusted)
        return {}

    def _throttle(self) -> Throttle:
        if self._shop.sign_in is None:
            raise Refused.because("throttle", "Wrong passwords cannot be counted here.")
        return self._shop.sign_in.throttle

    def _who_tries(self, request: Request) -> tuple[str, str]:
        account, peer = _text(request.args, "account"), _text(request.args, "peer")
        return login_of(account, self._shop.rules.mail_domains) or account, peer

    async def trace(self, request: Request) -> JSON:
        """What the ledger knows of an id, of addresses, of a time; with its sentences."""
        question = _question(request.args)
        found = await self._spool.look(lambda db: trace.ask(db, question))
        for item in found:
            item["story"] = [told.to_json() for told in narrative.story(item)]
            item["fix"] = next_step(item["say"])
        return found

    async def reconcile(self, request: Request) -> JSON:
        """Compare queue, ledger and body files now."""
        found = await self._spool.reconcile()
        if not found["ok"]:
            self._shop.log.event("", "books-disagree", why=found["say"])
        return found

    async def reconciled(self, request: Request) -> JSON:
        """What the last comparison found; null when there was none."""
        return await self._spool.last_reconciliation()

    async def alias_preview(self, request: Request) -> JSON:
        """Where mail to addresses finally goes, in sentences: `{aliases: [...]}`."""
        names = request.args.get("aliases")
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise Refused.because("alias.names", "Say which aliases.", "Give a list of names.")
        rules = self._shop.rules
        return [alias_preview.preview(rules, name[:320]).to_json() for name in names[:500]]


def brake_to_json(brake: Brake) -> JSON:
    """For the pages, which say it in their language."""
    since = datetime.fromtimestamp(brake.since, UTC).isoformat()
    return {"login": brake.login, "since": since, "why": brake.why, "held": brake.held}


def brake_finding(brake: Brake) -> Finding:
    """For everybody else."""
    return Finding(
        check=f"account.brake.{brake.login}",
        result=Result.BAD,
        say=f"The mail of the account {brake.login} is held: it wrote to {brake.why}.",
        means=f"{brake.held} messages wait in the queue. Somebody may have stolen the password.",
        fix=f"Ask the person. All well: pennypost account release {brake.login}. If not: give the "
        "account another password and delete what is held.",
    )


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


def _author(request: Request) -> str:
    """Who gave the order: the name that pages and CLI pass on, or the caller's number."""
    return _text(request.args, "author") or f"uid {request.peer.uid}"


def _add_next_steps(item: JSON) -> None:
    for recipient in item["recipients"]:
        recipient["reason"]["fix"] = next_step(recipient["reason"]["say"])


def _question(args: dict[str, JSON]) -> Question:
    question = Question(
        words=tuple(_text(args, "search").split()),
        sender=_text(args, "sender").strip(),
        recipient=_text(args, "recipient").strip(),
        since=_time(args, "since"),
        until=_time(args, "until"),
        limit=_number(args, "limit", 100),
    )
    if not (question.words or question.sender or question.recipient or question.since):
        raise Refused.because(
            "trace.search",
            "It is not said whom or what to look for.",
            "Give an address, a domain, a queue id or a time.",
        )
    return question


def _time(args: dict[str, JSON], name: str) -> float | None:
    """Seconds since 1970, or ISO 8601 (without a zone: UTC)."""
    value = args.get(name)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, str) or not value:
        return None
    try:
        at = datetime.fromisoformat(value)
        return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError) as error:
        raise Refused.because(
            f"trace.{name}", "This time is not understood.", "Write it as 2026-11-25T14:00."
        ) from error


def _text(args: dict[str, JSON], name: str) -> str:
    value = args.get(name)
    return value[:500] if isinstance(value, str) else ""


def _number(args: dict[str, JSON], name: str, default: int) -> int:
    value = args.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) else default


def _age(oldest: datetime | None, now: datetime) -> int:
    return 0 if oldest is None else max(0, int((now - oldest).total_seconds()))
