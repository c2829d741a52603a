"""Connections are counted in and out."""

from __future__ import annotations

from dataclasses import dataclass

from appliance.relay.gate import Gate


@dataclass(eq=False)
class Someone:
    client: str


def test_one_address_may_not_use_up_everybodys_room() -> None:
    gate = Gate()
    first, second = Someone("192.0.2.1"), Someone("192.0.2.1")
    assert gate.enter(first, total=10, per_address=1)
    assert not gate.enter(second, total=10, per_address=1)
    assert gate.enter(Someone("192.0.2.2"), total=10, per_address=1)
    gate.leave(second)  # never came in
    gate.leave(first)
    gate.leave(first)
    assert gate.enter(second, total=10, per_address=1)


def test_the_house_has_a_limit() -> None:
    gate = Gate()
    assert gate.enter(Someone("192.0.2.1"), total=1, per_address=9)
    assert not gate.enter(Someone("192.0.2.2"), total=1, per_address=9)


def test_an_empty_house_is_known_to_be_empty() -> None:
    gate = Gate()
    assert gate.is_empty.is_set()
    guest = Someone("192.0.2.1")
    gate.enter(guest, total=9, per_address=9)
    assert not gate.is_empty.is_set()
    gate.leave(guest)
    assert gate.is_empty.is_set()
