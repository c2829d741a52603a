"""The filtering scheme is what the chain's table says."""

from __future__ import annotations

from appliance.policy import scheme
from appliance.policy.chain import CHAIN
from appliance.policy.rules import Rules
from appliance.policy.scheme import Stop
from appliance.policy.verdict import Stage, Station
from appliance.settings import schema


def stops(**changes: object) -> dict[Station, Stop]:
    made = schema.from_json({name.replace("__", "."): value for name, value in changes.items()})
    return {stop.station: stop for stop in scheme.stops(Rules.from_settings(made))}


def test_each_check_of_the_table_is_at_one_station_and_in_order() -> None:
    drawn = scheme.stops(Rules.from_settings(schema.Settings()))
    assert sum(stop.checks for stop in drawn) == sum(len(checks) for checks in CHAIN.values())
    numbers = [stop.station.number for stop in drawn]
    assert numbers == sorted(numbers)
    assert drawn[-1].station is Station.DELIVERY


def test_the_switches_show() -> None:
    off = stops(filter__greylist=False, filter__dnsbl=False, content__spam="off")
    on = stops(filter__greylist=True, filter__dnsbl=True)
    for station in (Station.GREYLIST, Station.DNSBL, Station.SPAM):
        assert not off[station].is_on
    for station in (Station.GREYLIST, Station.DNSBL):
        assert on[station].is_on
        assert on[station].strangers_only
    assert on[Station.GREYLIST].stages == (Stage.RCPT, Stage.CONTENT)
    assert on[Station.DELIVERY].is_on
