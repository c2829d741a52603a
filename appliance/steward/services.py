"""The true state of each service, in the words of the status page.

On a box systemd knows; whether mail is really taken the relay itself is asked. In a checkout
there is no systemd: a daemon runs when it answers.
"""

import contextlib
import socket
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from appliance.base import control
from appliance.base.clock import Clock
from appliance.base.finding import PennypostError
from appliance.base.run import run
from appliance.render import dovecot, rspamd
from appliance.render.facts import Facts
from appliance.render.nftables import mail_is_on, ssh_is_on
from appliance.render.programs import SYSTEMCTL
from appliance.settings.schema import Settings

ASK_TIMEOUT_SECONDS = 5
PROPERTIES = "Id,ActiveState,SubState,Result,StateChangeTimestampMonotonic"


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """One service: whether it is wanted, what it is, why, and since when (ISO 8601, UTC)."""

    name: str
    unit: str
    wanted: bool
    state: str  # running, stopped, failing, starting
    why: str = ""
    since: str = ""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Unit:
    """A service of the box and its systemd unit."""

    name: str
    unit: str


UNITS = (
    Unit("relay", "pennypost-relay.service"),
    Unit("web", "pennypost-web.service"),
    Unit("nginx", "nginx.service"),
    Unit("resolver", "unbound.service"),
    Unit("spam filter", "rspamd.service"),
    Unit("mailboxes", "dovecot.service"),
    Unit("disks", "pennypost-disks.service"),
    Unit("firewall", "nftables.service"),
    Unit("time", "systemd-timesyncd.service"),
    Unit("name", "avahi-daemon.service"),
    Unit("ssh", "ssh.service"),
)


def status(settings: Settings, facts: Facts, clock: Clock) -> list[State]:
    """Every service's state."""
    wanted = {
        "relay": mail_is_on(settings, facts),
        "ssh": ssh_is_on(settings, facts),
        "spam filter": rspamd.is_on(settings, facts),
        "mailboxes": dovecot.is_on(settings, facts),
    }
    if facts.dev:
        return [_relay_in_a_checkout(facts, wanted["relay"]), _web_in_a_checkout(facts)]
    shown = run(
        (SYSTEMCTL, "show", f"--property={PROPERTIES}", "--", *(unit.unit for unit in UNITS)),
        timeout_seconds=ASK_TIMEOUT_SECONDS,
        check=False,
    )
    blocks = parse_show(shown.stdout.decode("utf-8", "replace"))
    boot = clock.now() - timedelta(seconds=clock.monotonic())
    states = [
        from_properties(unit, blocks.get(unit.unit, {}), wanted.get(unit.name, True), boot)
        for unit in UNITS
    ]
    return [_with_own_word(state, facts) for state in states]


def parse_show(text: str) -> dict[str, dict[str, str]]:
    """`systemctl show` of several units: blocks of NAME=value, parted by empty lines."""
    blocks = {}
    for block in text.split("\n\n"):
        pairs = (line.partition("=") for line in block.splitlines())
        properties = {name: value for name, _, value in pairs}
        if "Id" in properties:
            blocks[properties["Id"]] = properties
    return blocks


def from_properties(
    unit: Unit, properties: Mapping[str, str], wanted: bool, boot: datetime
) -> State:
    """A unit's state from its properties. `boot` is when the monotonic clock began."""
    active, sub = properties.get("ActiveState", ""), properties.get("SubState", "")
    state, why = _in_words(active, sub, properties.get("Result", ""), wanted)
    microseconds = properties.get("StateChangeTimestampMonotonic", "0")
    since = ""
    if microseconds.isdecimal() and int(microseconds):
        at = boot + timedelta(microseconds=int(microseconds))
        since = at.astimezone(UTC).isoformat(timespec="seconds")
    return State(name=unit.name, unit=unit.unit, wanted=wanted, state=state, why=why, since=since)


def _in_words(active: str, sub: str, result: str, wanted: bool) -> tuple[str, str]:
    if sub == "auto-restart" or active == "failed":
        return "failing", f"it ended with: {result or 'an error'}"
    if active in ("activating", "reloading"):
        return "starting", ""
    if active == "active":
        return "running", ""
    if wanted:
        return "failing", "it is wanted and does not run"
    return "stopped", ""


def _with_own_word(state: State, facts: Facts) -> State:
    """A running relay may still not take mail, for instance when the disk is full."""
    if state.name != "relay" or state.state != "running":
        return state
    return _asked_relay(facts, state.wanted, since=state.since, unit=state.unit)


def _relay_in_a_checkout(facts: Facts, wanted: bool) -> State:
    return _asked_relay(facts, wanted, since="", unit="relay")


def _asked_relay(facts: Facts, wanted: bool, *, since: str, unit: str) -> State:
    state, why = "running", ""
    try:
        answer = control.call(
            facts.run / "relay.sock", "status", timeout_seconds=ASK_TIMEOUT_SECONDS
        )
        if not answer.get("accepting", True):
            state, why = ("failing" if wanted else "stopped"), str(answer.get("why", ""))
    except PennypostError as error:
        state, why = "failing" if wanted else "stopped", error.finding.say
    return State(name="relay", unit=unit, wanted=wanted, state=state, why=why, since=since)


def _web_in_a_checkout(facts: Facts) -> State:
    with (
        contextlib.suppress(OSError),
        socket.create_connection(("127.0.0.1", facts.ports.web), ASK_TIMEOUT_SECONDS),
    ):
        return State(name="web", unit="web", wanted=True, state="running")
    why = f"it does not answer on port {facts.ports.web}"
    return State(name="web", unit="web", wanted=True, state="failing", why=why)
