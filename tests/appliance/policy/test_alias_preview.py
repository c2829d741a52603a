"""Where mail goes, in sentences."""

from __future__ import annotations

import pytest

from appliance.base.finding import Refused
from appliance.policy.alias_preview import preview, refuse_boundless
from appliance.policy.people import People, Person
from appliance.policy.rules import Rules
from appliance.settings import schema


def sentences(alias: str, *aliases: str) -> list[str]:
    settings = schema.from_json(
        {
            "mail.main_domain": "example.com",
            "delivery.lmtp": "127.0.0.1:24",
            "mail.relay_domains": ["relay.example | 192.0.2.1"],
            "rules.aliases": list(aliases),
        }
    )
    people = People.of([Person("r.johnson"), Person("j.smith")])
    rules = Rules.from_settings(settings, people)
    return [f"{s.result}: {s}" for s in preview(rules, alias).sentences]


def test_all_ends_are_named_by_kind() -> None:
    assert sentences("info", "info: r.johnson, a@relay.example, x@away.example") == [
        "ok: Mail to info ends in the mailboxes: r.johnson.",
        "ok: It is handed to the next server for: a@relay.example.",
        "ok: It leaves the box, with its sender rewritten, for: x@away.example.",
    ]


def test_a_holiday_cover_says_whether_the_mailbox_keeps_a_copy() -> None:
    keeps = sentences("r.johnson", "r.johnson: j.smith, r.johnson")
    assert keeps[-1] == "ok: The mailbox r.johnson keeps a copy."
    on = sentences("r.johnson", "r.johnson: j.smith")
    assert "gets nothing" in on[-1]


def test_doubts_are_named() -> None:
    assert "warn: These send mail to each other in a circle: j.smith, r.johnson." in " ".join(
        sentences("r.johnson", "r.johnson: j.smith, r.johnson", "j.smith: r.johnson")
    )
    assert sentences("info", "info: gone") == [
        "warn: Nobody here has the address: gone@example.com. It is left out.",
        "bad: Mail to info arrives nowhere, so it is refused.",
    ]
    assert sentences("a@else.example", "a@else.example: r.johnson")[0].startswith("warn: ")
    chain = [f"a{n}: a{n + 1}" for n in range(25)]
    assert sentences("a0", *chain)[0].startswith("bad: a0 leads too far")


def test_an_alias_that_leads_too_far_is_refused_on_saving() -> None:
    chain = [f"a{n}: a{n + 1}" for n in range(25)]
    with pytest.raises(Refused, match="over more than 20 aliases in a row"):
        refuse_boundless(schema.from_json({"rules.aliases": chain}))
    refuse_boundless(schema.from_json({"rules.aliases": chain[6:]}))
