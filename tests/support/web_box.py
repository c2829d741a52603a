"""The pages with a real steward behind them, on a folder of their own.

The steward is the product's (its store, its rendering, its checks) in a thread of the test. The
relay is a stand-in that speaks the relay's control verbs over letters held in memory: what the
pages do with the queue can be looked at without sending mail.
"""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from flask import Flask
from flask.testing import FlaskClient
from jinja2.bccache import Bucket, BytecodeCache
from werkzeug.test import TestResponse

from appliance.accounts import passwords
from appliance.base.clock import Clock, SystemClock
from appliance.base.control import Request, serve
from appliance.base.finding import Refused
from appliance.dns.resolver import FakeResolver, Resolver
from appliance.policy import alias_preview
from appliance.policy.people import People, Person
from appliance.policy.rules import Rules
from appliance.render.apply import Applier
from appliance.render.claim import ClaimFiles
from appliance.render.effects import Machine
from appliance.render.facts import Place
from appliance.render.folders import make_folders
from appliance.render.main import boot, claim_of, keystore_of
from appliance.settings import schema
from appliance.settings.schema import Settings
from appliance.settings.store import Store
from appliance.steward.actions import Steward
from appliance.steward.main import Desk
from appliance.web.app import create_app
from appliance.web.config import WebConfig

PASSWORD = "correct-horse-battery-4711"
ADMIN = "anna"


class CompiledTemplates(BytecodeCache):
    """Templates compiled once for all the boxes of a test run; it is most of a box's cost."""

    def __init__(self) -> None:
        self._kept: dict[str, bytes] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        if bucket.key in self._kept:
            bucket.bytecode_from_string(self._kept[bucket.key])

    def dump_bytecode(self, bucket: Bucket) -> None:
        self._kept[bucket.key] = bucket.bytecode_to_string()


_TEMPLATES = CompiledTemplates()


class NoMailPorts(Machine):
    """The real effects; only the mail ports are not probed, for there is no relay behind them."""

    def __init__(self, run_folder: Path) -> None:
        super().__init__(run_folder)
        self.fail: Refused | None = None

    def probe_smtp(self, port: int, *, tls: bool) -> None:
        if self.fail is not None:
            raise self.fail

    def probe_web(self, port: int, *, tls: bool) -> None:
        """The test client has no port."""


@dataclass
class RelayStandIn:
    """The relay's control verbs over `letters`."""

    letters: list[dict[str, Any]] = field(default_factory=list)
    accepting: bool = True
    why: str = ""
    trial: list[dict[str, str]] = field(default_factory=list)  # the answer to smarthost.test
    findings: list[dict[str, Any]] = field(default_factory=list)
    asked: list[tuple[str, Mapping[str, Any]]] = field(default_factory=list)
    traced: list[dict[str, Any]] = field(default_factory=list)
    ledger: dict[str, Any] | None = None
    settings: Callable[[], Settings] | None = None

    def _matching(self, args: Mapping[str, Any]) -> list[dict[str, Any]]:
        if args.get("all"):
            return list(self.letters)
        if "ids" in args:
            return [x for x in self.letters if x["id"] in args["ids"]]
        words = str(args.get("search", "")).lower()
        found = [x for x in self.letters if words in str(x).lower()]
        state = args.get("state")
        return [x for x in found if not state or x["state"] == state]

    async def status(self, request: Request) -> Any:
        return {
            "state": "running",
            "accepting": self.accepting,
            "why": self.why,
            "queue": {
                "messages": len(self.letters),
                "bytes": sum(x["size"] for x in self.letters),
                "oldest_seconds": 8000 if self.letters else 0,
                "deferred": sum(x["state"] == "deferred" for x in self.letters),
                "held": sum(x["held"] for x in self.letters),
            },
            "counters": {},
            "findings": self.findings,
            "ledger": self.ledger,
        }

    async def test_smarthost(self, request: Request) -> Any:
        return list(self.trial)

    async def list(self, request: Request) -> Any:
        found = self._matching(request.args)
        offset, limit = request.args.get("offset", 0), request.args.get("limit", 50)
        return {"total": len(found), "items": found[offset : offset + limit]}

    async def show(self, request: Request) -> Any:
        for letter in self.letters:
            if letter["id"] == request.args["id"]:
                at = letter["received_at"]
                person = letter["recipients"][0]
                events = [
                    {
                        "at": at,
                        "event": "queued",
                        "recipient": person["address"],
                        "client": "192.0.2.7",
                    },
                    {
                        "at": at,
                        "event": "deferred",
                        "recipient": person["address"],
                        "reason": person["reason"],
                        "route": person["route"],
                    },
                ]
                headers = f"From: {letter['mail_from']}\nSubject: Minutes of <Monday>\n"
                return {**letter, "headers": headers, "events": events}
        raise Refused.because("queue.id", "There is no such letter in the queue.")

    async def act(self, request: Request) -> Any:
        self.asked.append((request.verb, request.args))
        found = self._matching(request.args)
        verb = request.verb.removeprefix("queue.")
        for letter in found:
            if verb in ("hold", "release"):
                letter["held"] = verb == "hold"
                letter["state"] = "held" if verb == "hold" else "deferred"
        if verb in ("delete", "send"):
            self.letters = [x for x in self.letters if x not in found]
        return {"count": len(found)}

    async def trace(self, request: Request) -> Any:
        self.asked.append((request.verb, request.args))
        return self.traced

    async def dnsbl_test(self, request: Request) -> Any:
        return [{"zone": "bl.example", "ok": False, "why": "lists everybody", "suspended": ""}]

    async def reload(self, request: Request) -> Any:
        return {}

    async def preview(self, request: Request) -> Any:
        """The product's own sentences, on a box with the mailboxes anna and bert."""
        if self.settings is None:
            return []
        settings = schema.from_json({"delivery.lmtp": "127.0.0.1:24"}, self.settings())
        rules = Rules.from_settings(settings, People.of([Person("anna"), Person("bert")]))
        return [alias_preview.preview(rules, name).to_json() for name in request.args["aliases"]]

    def handlers(self) -> dict[str, Any]:
        acts = dict.fromkeys(
            ("queue.send", "queue.hold", "queue.release", "queue.delete"), self.act
        )
        return {
            "smarthost.test": self.test_smarthost,
            "status": self.status,
            "queue.list": self.list,
            "queue.show": self.show,
            "reload": self.reload,
            "trace": self.trace,
            "alias.preview": self.preview,
            "dnsbl.test": self.dnsbl_test,
            **acts,
        }


@cache
def password_hash() -> str:
    """The hash of PASSWORD, made once: each costs 19 MiB and some time."""
    return passwords.make_hash(PASSWORD)


def letter(number: int, *, state: str = "deferred", **more: Any) -> dict[str, Any]:
    """One queued letter as the relay lists it."""
    return {
        "id": f"4Q{number:06d}",
        "received_at": "2026-01-01T10:00:00+00:00",
        "mail_from": f"sender{number}@example.net",
        "recipients": [
            {
                "address": f"person{number}@example.com",
                "state": state,
                "attempts": 3,
                "next_attempt_at": "2026-01-01T12:32:00+00:00",
                "reason": {
                    "say": "The other server asks us to come back later.",
                    "reply": "451 4.7.1 Greylisted, try again in 300 seconds",
                    "host": "10.20.30.40",
                },
                "route": "relay domain example.com",
            }
        ],
        "size": 24_500 + number,
        "state": state,
        "held": state == "held",
        "direction": "in",
        **more,
    }


class WebBox:
    """A box of its own for one test. Use as a context manager."""

    def __init__(
        self,
        folder: Path,
        *,
        clock: Clock | None = None,
        resolver: Resolver | None = None,
        behind_proxy: bool = False,
    ) -> None:
        self.clock = clock or SystemClock()
        self.place = Place(data=folder / "data", run=folder / "run", dev=True)
        self.effects = NoMailPorts(self.place.run)
        self.relay = RelayStandIn()
        self.resolver = resolver or FakeResolver()
        self.config = WebConfig(
            data=self.place.data, run=self.place.run, clock=self.clock, behind_proxy=behind_proxy
        )
        self.store = Store(self.place.settings_database, self.clock)
        self.relay.settings = lambda: self.store.current()[1]
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._servers: dict[str, asyncio.Server] = {}
        self.app: Flask = Flask(__name__)

    def __enter__(self) -> WebBox:
        make_folders(self.place)
        boot(self.place, self.effects, self.clock)
        self._thread.start()
        self.start_steward()
        self.start_relay()
        self.restart_web()
        return self

    def __exit__(self, *error: object) -> None:
        for name in list(self._servers):
            self.stop(name)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    @property
    def claim_files(self) -> ClaimFiles:
        return claim_of(self.place)

    @property
    def code(self) -> str:
        return self.claim_files.code()

    def _serve(self, name: str, handlers: Mapping[str, Any]) -> None:
        work = serve(handlers, path=self.place.run / f"{name}.sock")
        self._servers[name] = asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    def start_steward(self) -> None:
        steward = Steward(
            self.place,
            store=self.store,
            applier=Applier(
                self.place, keystore_of(self.place, self.clock), self.effects, self.clock
            ),
            claim=self.claim_files,
            clock=self.clock,
        )
        self._serve("steward", Desk(steward.table(), root_uids=()).handlers())

    def start_relay(self) -> None:
        self._serve("relay", self.relay.handlers())

    def stop(self, name: str) -> None:
        server = self._servers.pop(name)
        self._loop.call_soon_threadsafe(server.close)
        (self.place.run / f"{name}.sock").unlink(missing_ok=True)

    def restart_web(self) -> None:
        """A new web process on the same folder, as after a power cut."""
        self.app = create_app(self.config, self.resolver)
        self.app.jinja_env.bytecode_cache = _TEMPLATES
        self.app.testing = False  # errors become pages, as on the box

    def settings(self) -> dict[str, Any]:
        return schema.to_json(self.store.current()[1])

    def visitor(self, peer: str = "192.168.1.20", *, https: bool = False) -> Visitor:
        return Visitor(self, peer, https=https)

    def set_up(self, **settings: Any) -> Visitor:
        """The box as it is after the wizard, and its administrator, signed in."""
        chosen = {
            "mail.main_domain": "box.invalid",
            "mail.hostname": "mail.example.com",
            "mail.relay_domains": ["example.com | 10.20.30.40"],
            "mail.enabled": True,
            **settings,
        }
        self.claim_files.close()
        self.store.change(chosen, author=ADMIN)
        boot(self.place, self.effects, self.clock)
        self.restart_web()
        accounts = self.app.extensions["pennypost"].accounts
        accounts.put_administrator(name=ADMIN, password_hash=password_hash())
        visitor = self.visitor()
        assert visitor.sign_in().status_code == 303
        return visitor


class Visitor:
    """A browser without a screen: cookies, CSRF tokens, Origin, as a browser sends them."""

    def __init__(self, box: WebBox, peer: str, *, https: bool = False) -> None:
        self.box = box
        self.peer = peer
        self.base = "https://localhost" if https else "http://localhost"
        self._app: Flask | None = None
        self._client: FlaskClient | None = None

    @property
    def client(self) -> FlaskClient:
        if self._client is None or self._app is not self.box.app:
            fresh = self.box.app.test_client()
            if self._client is not None:
                fresh._cookies = self._client._cookies  # the same browser after a restart
            self._client, self._app = fresh, self.box.app
        return self._client

    def get(self, path: str, **more: Any) -> TestResponse:
        return self.client.get(
            path, base_url=self.base, environ_base={"REMOTE_ADDR": self.peer}, **more
        )

    def follow(self, path: str) -> TestResponse:
        return self.get(path, follow_redirects=True)

    def token(self, path: str) -> str:
        """The CSRF token of a form on the page at `path`."""
        match = re.search(r'name="csrf_token" value="([^"]+)"', self.follow(path).text)
        return match[1] if match else ""

    def post(
        self,
        path: str,
        form: Mapping[str, str | Sequence[str]] | None = None,
        *,
        page: str | None = None,
        token: str | None = None,
        origin: str | None = None,
        **more: Any,
    ) -> TestResponse:
        """Send a form from the page at `page` (default: the same path)."""
        data = dict(form or {})
        data["csrf_token"] = self.token(page or path) if token is None else token
        headers = {"Origin": origin or self.base, **more.pop("headers", {})}
        return self.client.post(
            path,
            data=data,
            headers=headers,
            base_url=self.base,
            environ_base={"REMOTE_ADDR": self.peer},
            **more,
        )

    def claim(self, code: str | None = None, **form: str) -> TestResponse:
        form = {"code": self.box.code if code is None else code, **form}
        return self.post("/wizard/claim", form)

    def sign_in(self, name: str = ADMIN, password: str = PASSWORD) -> TestResponse:
        return self.post("/sign-in", {"name": name, "password": password})

    def answer(self, step: str, form: Mapping[str, str] | None = None) -> TestResponse:
        return self.post(f"/wizard/{step}", {**ANSWERS.get(step, {}), **(form or {})})

    def answer_all(self) -> None:
        for step in ANSWERS:
            response = self.answer(step)
            assert response.status_code == 303, (step, response.text)


ANSWERS: Mapping[str, Mapping[str, str]] = {
    "language": {"box.language": "en", "box.time_zone": "Europe/Berlin"},
    "administrator": {"name": ADMIN, "password": PASSWORD, "again": PASSWORD},
    "domain": {"mail.main_domain": "box.invalid"},
    "hostname": {"mail.hostname": "mail.example.com"},
    "incoming": {"relay-0-domain": "example.com", "relay-0-target": "10.20.30.40"},
    "outgoing": {"outbound.mode": "direct"},
    "dns": {},
    "disk": {"choice": "later"},
}

Check = Callable[[], bool]
