"""All that the pages work with, made once by `create_app`, found by `services()`."""

from __future__ import annotations

from dataclasses import dataclass

from flask import current_app

from appliance.accounts.store import Accounts
from appliance.base.clock import Clock
from appliance.dns.resolver import Resolver
from appliance.render.claim import Press
from appliance.web.applying import Applying
from appliance.web.claim import Claim
from appliance.web.config import WebConfig
from appliance.web.daemons import Daemon, RelayState
from appliance.web.db import Database
from appliance.web.draft import Draft
from appliance.web.rendered import Rendered, View
from appliance.web.sessions import Sessions
from appliance.web.throttle import Throttle

KEY = "pennypost"


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    config: WebConfig
    clock: Clock
    sessions: Sessions
    throttle: Throttle
    claim: Claim
    accounts: Accounts
    steward: Daemon
    relay: Daemon
    relay_state: RelayState
    rendered: Rendered
    draft: Draft
    applying: Applying
    resolver: Resolver

    def view(self) -> View:
        return self.rendered.view()


def build(config: WebConfig, resolver: Resolver) -> Services:
    """Open the databases and wire the parts."""
    clock = config.clock
    db = Database(config.data / "web" / "web.db")
    accounts = Accounts(config.data / "web" / "accounts.db", clock)
    steward = Daemon(config.run / "steward.sock")
    relay = Daemon(config.run / "relay.sock")
    draft = Draft(db)
    return Services(
        config=config,
        clock=clock,
        sessions=Sessions(db, clock),
        throttle=Throttle(db, clock, relay),
        claim=Claim(
            db,
            clock,
            code=config.claim_code,
            marker=config.claimed_marker,
            press=Press(config.claim_press),
        ),
        accounts=accounts,
        steward=steward,
        relay=relay,
        relay_state=RelayState(relay, clock),
        rendered=Rendered(config.rendered),
        draft=draft,
        applying=Applying(db, clock, draft=draft, accounts=accounts, steward=steward),
        resolver=resolver,
    )


def services() -> Services:
    found: Services = current_app.extensions[KEY]
    return found
