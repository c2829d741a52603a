"""A message names one sender, or it is not taken."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from appliance.policy.one_from import unambiguous
from appliance.policy.rules import Rules
from appliance.policy.verdict import Action, Facts, Port
from appliance.settings.schema import Settings

RULES = Rules.from_settings(Settings())


@dataclass
class Letter:
    head: bytes

    def read(self) -> bytes:
        return self.head


@pytest.mark.parametrize(
    ("head", "action"),
    [
        (b"From: a@b.example\r\n", None),
        (b'From: "Ann, of B" <a@b.example>\r\n', None),
        (b"Subject: none at all\r\n", Action.NOTE),
        (b"From: a@b.example\r\nFrom: c@d.example\r\n", Action.REJECT),
        (b"From: a@b.example, c@d.example\r\n", Action.REJECT),
        (b"From : a@b.example\r\n", Action.REJECT),
        (b"Subject: x\rFrom: a@b.example\r\n", Action.REJECT),
        (b"From: a@b.ex\0ample\r\n", Action.REJECT),
        (b"From: \r\n", Action.REJECT),
    ],
)
def test_what_can_be_read_in_two_ways_is_refused(head: bytes, action: Action | None) -> None:
    facts = Facts(client="198.51.100.1", port=Port.SMTP, trusted=False, message=Letter(head))
    found = unambiguous(facts, RULES)
    assert (found.action if found else None) == action
