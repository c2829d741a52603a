"""Other servers' replies in plain words."""

from __future__ import annotations

import pytest

from appliance.relay.reasons import Say, enhanced_of, for_reply, gave_up


@pytest.mark.parametrize(
    ("code", "text", "say"),
    [
        (421, "4.3.2 going down", Say.BUSY),
        (450, "4.7.1 Greylisted, come back", Say.GREYLISTED),
        (451, "4.7.1 please wait", Say.GREYLISTED),
        (451, "Greylisting in action, try again later", Say.GREYLISTED),
        (452, "4.2.2 over quota", Say.MAILBOX_FULL),
        (452, "4.3.1 no space", Say.NO_ROOM),
        (552, "5.2.2 mailbox full", Say.MAILBOX_FULL),
        (552, "5.3.4 too big", Say.TOO_BIG),
        (550, "5.1.1 <x>: no", Say.UNKNOWN_RECIPIENT),
        (550, "User unknown", Say.UNKNOWN_RECIPIENT),
        (554, "5.7.1 listed at zen.spamhaus.org", Say.SPAMHAUS),
        (550, "5.7.26 DMARC", Say.DMARC_FAILS),
        (554, "5.4.6 loop", Say.LOOP),
        (550, "no", Say.REFUSED),
        (450, "4.2.1 not now", Say.NOT_NOW),
    ],
)
def test_a_reply_says_in_plain_words_what_is_wrong(code: int, text: str, say: Say) -> None:
    assert for_reply(code, text) is say


def test_an_enhanced_code_of_another_class_is_not_believed() -> None:
    assert enhanced_of(550, "2.0.0 fine") == "5.0.0"
    assert enhanced_of(450, "4.2.1 x") == "4.2.1"


def test_giving_up_names_the_time_and_the_last_reason() -> None:
    assert gave_up("It was off.", 5 * 86_400) == "Given up after 5 days. Last reason: It was off."
    assert "2.0 hours" in gave_up("x", 7200)
