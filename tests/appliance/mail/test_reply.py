"""Replies on the wire."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from appliance.mail import reply as replies
from appliance.mail.reply import Reply

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
