"""Service states from what systemd shows."""

from datetime import UTC, datetime

import pytest

from appliance.steward.services import Unit, from_properties, parse_show

BOOT = datetime(2026, 1, 1, tzinfo=UTC)
SHOWN = """\
Id=unbound.service
ActiveState=active
SubState=running
Result=success
StateChangeTimestampMonotonic=9000000

Id=pennypost-relay.service
ActiveState=inactive
SubState=dead
Result=success
StateChangeTimestampMonotonic=0
"""


def test_blocks_are_told_apart_by_their_unit() -> None:
    blocks = parse_show(SHOWN)
    assert blocks.keys() == {"unbound.service", "pennypost-relay.service"}
    assert blocks["unbound.service"]["SubState"] == "running"


@pytest.mark.parametrize(
    ("active", "sub", "wanted", "state"),
    [
        ("active", "running", True, "running"),
        ("inactive", "dead", False, "stopped"),
        ("inactive", "dead", True, "failing"),
        ("failed", "failed", True, "failing"),
        ("activating", "auto-restart", True, "failing"),
        ("activating", "start", True, "starting"),
        ("", "", True, "failing"),
    ],
)
def test_states_are_put_in_words(active: str, sub: str, wanted: bool, state: str) -> None:
    properties = {"ActiveState": active, "SubState": sub, "Result": "exit-code"}
    found = from_properties(Unit("relay", "x.service"), properties, wanted, BOOT)
    assert found.state == state
    assert bool(found.why) is (state == "failing")


def test_since_is_counted_from_the_boot() -> None:
    properties = parse_show(SHOWN)["unbound.service"]
    found = from_properties(Unit("resolver", "unbound.service"), properties, True, BOOT)
    assert found.since == "2026-01-01T00:00:09+00:00"
