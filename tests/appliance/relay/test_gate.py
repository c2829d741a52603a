"""Connections are counted in and out."""

from __future__ import annotations

from dataclasses import dataclass

from appliance.relay.gate import HURRIED_SECONDS, Gate, least_progress


@dataclass(eq=False)
class Someone:
    client: str
    since: float = 0.0
    received_octets: int = 0
    may_give_way: bool = True
    has_begun: bool = False


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


def test_in_a_full_house_whoever_makes_least_progress_gives_way() -> None:
    silent = Someone("192.0.2.1", since=90, received_octets=10)
    dripping = Someone("192.0.2.2", since=10, received_octets=900, has_begun=True)
    busy = Someone("192.0.2.3", since=0, received_octets=1_000_000, has_begun=True)
    assert least_progress([busy, dripping, silent], 100) == [silent]
    assert least_progress([busy, dripping], 100) == [dripping]
    assert least_progress([busy], 100) == []


def test_a_message_being_stored_never_gives_way() -> None:
    assert least_progress([Someone("192.0.2.1", may_give_way=False)], 100) == []


def test_a_new_one_goes_after_the_slow_ones_and_not_at_all_once_it_has_begun() -> None:
    slow = Someone("192.0.2.1", since=90, received_octets=500)
    new = Someone("192.0.2.2", since=99)
    begun = Someone("192.0.2.3", since=99, has_begun=True)
    assert least_progress([new, begun, slow], 100) == [slow]
    assert least_progress([new, begun], 100) == [new]
    assert least_progress([begun], 100) == []


def test_of_new_ones_the_oldest_goes_first() -> None:
    older, newer = Someone("192.0.2.1", since=99.1), Someone("192.0.2.2", since=99.2)
    assert least_progress([newer, older], 100) == [older]


def test_in_a_flood_several_go_at_once() -> None:
    assert len(least_progress([Someone(f"a{n}") for n in range(1000)], 100)) == 20


def test_who_says_nothing_is_given_less_time_when_places_are_scarce() -> None:
    gate = Gate()
    assert gate.patience_seconds(300, 2) == 300
    gate.enter(Someone("192.0.2.1"), total=2, per_address=2)
    assert gate.patience_seconds(300, 2) == 300
    gate.enter(Someone("192.0.2.2"), total=2, per_address=2)
    assert gate.patience_seconds(300, 2) == HURRIED_SECONDS
    assert gate.patience_seconds(5, 2) == 5
