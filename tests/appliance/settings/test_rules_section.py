"""Aliases as people write them: a line, an object, a row of a table."""

from __future__ import annotations

from typing import Any

import pytest

from appliance.base.finding import Refused
from appliance.settings import alias_table, schema
from appliance.settings.parse import Bad
from appliance.settings.rules_section import Alias
from appliance.settings.schema import Settings


def test_a_line_is_read_and_written() -> None:
    alias = Alias.from_json("Info:  r.johnson, J@EXAMPLE.net;r.johnson # front desk")
    assert alias == Alias(
        alias="info", targets=("r.johnson", "J@example.net"), comment="front desk"
    )
    assert alias.to_text() == "info: r.johnson, J@example.net # front desk"
    assert Alias.from_json(alias.to_text()) == alias
    assert Alias.from_json(schema.plain(alias)) == alias


@pytest.mark.parametrize(
    "wrong",
    ["info", "info:", ": anna", "info: an@", "info: @x.example", 'info: "a b"@x.example',
     "info: a@[192.0.2.1]", "in fo: anna", {"alias": "a"}, 7,
     {"alias": "a", "targets": ["b"], "colour": "red"}],
)  # fmt: skip
def test_what_is_no_alias_is_refused(wrong: Any) -> None:
    with pytest.raises(Bad):
        Alias.from_json(wrong)


def test_two_aliases_of_one_name_are_refused_by_the_settings() -> None:
    from appliance.settings import checks

    twice = schema.from_json({"rules.aliases": ["a: b", "A: c"]})
    with pytest.raises(Refused, match="two aliases a"):
        checks.refuse_contradictions(twice)
    foreign = schema.from_json({"rules.aliases": ["a@not-ours.example: c"]})
    assert any("not one of this box" in f.say for f in checks.findings(foreign))


def test_the_settings_come_back_from_their_json() -> None:
    settings = schema.from_json({"rules.aliases": ["a: b, c # d"], "rules.copy_incoming": "Arch"})
    again = schema.from_json(schema.to_json(settings))
    assert (again, again.rules.copy_incoming) == (settings, "Arch")
    assert Settings().rules.aliases == ()


def test_a_table_goes_out_and_comes_back() -> None:
    aliases = [Alias.from_json("a: b, c@x.example # with, comma"), Alias.from_json("b: d")]
    assert alias_table.from_csv(alias_table.to_csv(aliases)) == tuple(aliases)
    german = "\ufeffAlias;Ziele\r\na;b c@x.example;with, comma\r\n\r\nb;d\r\n"
    assert alias_table.from_csv(german.replace("Alias;Ziele", "alias;targets;x")) == tuple(aliases)
    with pytest.raises(Refused, match="Line 2: “a” stands here twice"):
        alias_table.from_csv("a,b\na,c\n")


def test_a_row_is_put_replaced_and_taken_out() -> None:
    first = Alias.from_json("a: b")
    rows = alias_table.put((), first)
    with pytest.raises(Refused, match="already"):
        alias_table.put(rows, first)
    rows = alias_table.put(rows, Alias.from_json("x: y"), instead_of="a")
    assert [row.alias for row in rows] == ["x"]
    merged = alias_table.merged(rows, [Alias.from_json("x: z"), first])
    assert [row.to_text() for row in merged] == ["x: z", "a: b"]
    assert alias_table.without(merged, "X") == (first,)
    with pytest.raises(Refused, match="no alias"):
        alias_table.without(merged, "q")
