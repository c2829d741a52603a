"""The settings store: transactional, with history and undo."""

import sqlite3
from pathlib import Path

import pytest

from appliance.base.clock import FakeClock
from appliance.base.finding import Refused
from appliance.settings import schema
from appliance.settings.store import HIDDEN, Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "settings.db", FakeClock())


def test_a_new_box_has_the_defaults_as_revision_zero(store: Store) -> None:
    assert store.current() == (0, schema.Settings())


def test_a_change_is_read_back_by_another_process(store: Store, tmp_path: Path) -> None:
    store.change({"mail.hostname": "Mail.Example.COM."}, author="anna")
    revision, settings = Store(tmp_path / "settings.db", FakeClock()).current()
    assert (revision, settings.mail.hostname) == (1, "mail.example.com")


def test_a_refused_change_leaves_everything_as_it_was(store: Store) -> None:
    store.change({"mail.main_domain": "example.com"}, author="anna")
    with pytest.raises(Refused) as refused:
        store.change(
            {"mail.hostname": "mail.example.com", "mail.relay_domains": ["example.com|10.0.0.1"]},
            author="anna",
        )
    assert refused.value.finding.check == "settings.mail.relay_domains"
    assert refused.value.finding.fix
    assert store.current()[0] == 1
    assert store.current()[1].mail.hostname == ""


def test_a_change_that_changes_nothing_makes_no_revision(store: Store) -> None:
    assert store.change({"box.language": "en"}, author="anna") == (0, ())


def test_two_administrators_do_not_overwrite_each_other(store: Store) -> None:
    store.change({"box.language": "de"}, author="anna", base_revision=0)
    with pytest.raises(Refused, match="somebody else"):
        store.change({"box.language": "en"}, author="ben", base_revision=0)


def test_the_history_names_author_time_and_difference(store: Store) -> None:
    store.change({"mail.max_recipients": 200}, author="anna")
    change = store.history()[0].to_json()
    assert change["author"] == "anna"
    assert change["at"].startswith("2026-01-01T00:00:00")
    assert change["changes"] == {"mail.max_recipients": [1000, 200]}


def test_the_history_never_shows_a_secret(store: Store) -> None:
    store.change(
        {"outbound.smarthost_user": "u", "outbound.smarthost_password": "hush"}, author="anna"
    )
    shown = store.history()[0].to_json()
    assert shown["changes"]["outbound.smarthost_password"] == [HIDDEN, HIDDEN]
    assert "hush" not in str(shown)


def test_undo_takes_back_one_change_and_keeps_the_later_ones(store: Store) -> None:
    store.change({"mail.max_recipients": 200}, author="anna")
    store.change({"box.language": "de"}, author="ben")
    store.commit(store.planned_undo(1), author="anna")
    settings = store.current()[1]
    assert settings.mail.max_recipients == 1000
    assert settings.box.language == "de"


def test_an_import_resets_what_it_does_not_name_but_keeps_secrets(store: Store) -> None:
    store.change(
        {
            "outbound.smarthost_password": "hush",
            "outbound.smarthost_user": "u",
            "mail.max_recipients": 200,
        },
        author="anna",
    )
    planned = store.planned_replacement({"outbound.smarthost_user": "u"})
    assert planned.outbound.smarthost_password == "hush"
    assert planned.mail.max_recipients == 1000


def test_names_of_a_newer_version_survive_a_change_by_this_one(
    store: Store, tmp_path: Path
) -> None:
    store.change({"box.language": "de"}, author="anna")
    with sqlite3.connect(tmp_path / "settings.db") as database:
        database.execute(
            "UPDATE revisions SET settings = json_set(settings, '$.\"future.thing\"', 7)"
        )
    store.change({"box.language": "en"}, author="anna")
    with sqlite3.connect(tmp_path / "settings.db") as database:
        newest = database.execute(
            "SELECT settings ->> '$.\"future.thing\"' FROM revisions ORDER BY revision DESC"
        ).fetchone()
    assert newest == (7,)


def test_a_stored_value_that_this_version_refuses_falls_back_to_the_default(
    store: Store, tmp_path: Path
) -> None:
    store.change({"box.language": "de", "mail.hostname": "mx.example.com"}, author="anna")
    with sqlite3.connect(tmp_path / "settings.db") as database:
        database.execute(
            "UPDATE revisions SET settings = json_set(settings, '$.\"box.language\"', 'tlh')"
        )
    settings = store.current()[1]
    assert settings.box.language == "en"
    assert settings.mail.hostname == "mx.example.com"
