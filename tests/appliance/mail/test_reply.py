"""Replies on the wire."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.mail import reply as replies
from appliance.mail.reply import Reply
from tests.support.plain_replies import trouble

CATALOGUE = [value for value in vars(replies).values() if isinstance(value, Reply)]


def test_every_reply_is_one_well_formed_line() -> None:
    assert len(CATALOGUE) > 40
    for reply in CATALOGUE:
        assert re.fullmatch(rb"[2345]\d\d [ -~]+\r\n", reply.wire)


def test_every_reply_but_354_bears_an_enhanced_code_of_its_own_class() -> None:
    for reply in CATALOGUE:
        if reply.code != 354:
            assert reply.enhanced.startswith(f"{reply.code // 100}."), reply


@given(st.text())
def test_no_text_breaks_the_line(text: str) -> None:
    assert Reply(550, "5.1.1", text).wire.count(b"\n") == 1


@pytest.mark.parametrize(
    "reply", [r for r in CATALOGUE if r.is_error], ids=lambda reply: str(reply.text)
)
def test_each_refusal_has_its_codes_and_a_line_for_humans(reply: Reply) -> None:
    assert trouble(reply.code, reply.enhanced, reply.text) == ""


@pytest.mark.parametrize(
    "bad",
    [
        (550, "5.1.1", "KeyError: 'x'"), (451, "4.3.0", "Open /data/pennypost/spool.db failed"),
        (550, "5.7.1", "See relay.trusted_networks for that"), (550, "5.7.1", "no"),
        (550, "4.7.1", "Not now, come again"), (550, "", "Not taken here"),
        (451, "4.3.0", "Failed in <class 'Session'>"), (451, "4.3.0", "A max_hops of 3"),
    ],
)  # fmt: skip
def test_what_tells_of_the_inside_is_noticed(bad: tuple[int, str, str]) -> None:
    assert trouble(*bad) != ""


POLICY = Path(replies.__file__).parent.parent / "policy"


def test_rejections_are_for_good_and_deferrals_for_now() -> None:
    """Each `reject(...)` bears a 5yz and each `defer(...)` a 4yz, wherever a check makes one."""
    seen = 0
    for path in sorted(POLICY.glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
                continue
            if node.func.id not in ("reject", "defer") or len(node.args) < 2:
                continue
            for part in ast.walk(node.args[1]):
                if isinstance(part, ast.Attribute) and part.attr.isupper():
                    reply: Reply = getattr(replies, part.attr)
                    where = f"{path.name}:{node.lineno} {part.attr}"
                    assert reply.is_permanent is (node.func.id == "reject"), where
                    seen += 1
    assert seen > 20
