"""Size, recipients, room, hops."""

from __future__ import annotations

import pytest

from appliance.policy import limits
from appliance.policy.rules import Rules
from appliance.policy.verdict import Action, Facts, Port
from appliance.settings.schema import Settings

RULES = Rules.from_settings(Settings())


def facts(**known: object) -> Facts:
    return Facts(client="192.0.2.1", port=Port.SMTP, trusted=False, **known)  # type: ignore[arg-type]


def test_at_each_limit_all_is_well() -> None:
    at_limit = facts(
        announced_size=RULES.max_message_bytes,
        size=RULES.max_message_bytes,
        recipients_so_far=RULES.max_recipients - 1,
        received_count=RULES.max_hops,
    )
    for check in (
        limits.announced_size,
        limits.content_size,
        limits.recipient_count,
        limits.hops,
        limits.room_on_disk,
    ):
        assert check(at_limit, RULES) is None


@pytest.mark.parametrize(
    ("check", "known", "action", "code"),
    [
        (limits.announced_size, {"announced_size": RULES.max_message_bytes + 1}, "reject", 552),
        (limits.content_size, {"size": RULES.max_message_bytes + 1}, "reject", 552),
        (limits.recipient_count, {"recipients_so_far": RULES.max_recipients}, "defer", 452),
        (limits.hops, {"received_count": RULES.max_hops + 1}, "reject", 554),
        (limits.room_on_disk, {"has_room": False}, "defer", 452),
    ],
)
def test_one_more_is_too_many(check: object, known: dict, action: str, code: int) -> None:  # type: ignore[type-arg]
    verdict = check(facts(**known), RULES)  # type: ignore[operator]
    assert verdict.action is Action(action)
    assert verdict.reply.code == code
    assert verdict.why
