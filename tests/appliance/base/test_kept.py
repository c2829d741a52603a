"""A bounded memory with an end to each answer."""

from __future__ import annotations

from appliance.base.kept import Kept


def test_an_answer_is_kept_until_its_time_is_up() -> None:
    kept: Kept[str, int] = Kept(10)
    kept.put("a", 1, until=5.0)
    assert kept.get("a", now=4.9) == 1
    assert kept.get("a", now=5.0) is None
    assert len(kept) == 0


def test_it_never_grows_beyond_its_bound() -> None:
    kept: Kept[int, int] = Kept(3)
    for number in range(10):
        kept.put(number, number, until=100.0)
    kept.put(7, 70, until=100.0)
    assert len(kept) == 3
    assert [kept.get(number, 0.0) for number in (6, 7, 8, 9)] == [None, 70, 8, 9]
