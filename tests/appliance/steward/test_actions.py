"""The closed list: whatever is asked, nothing but the table is run."""

import asyncio
import json
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from appliance.base.control import Peer, Request
from appliance.base.finding import PennypostError, Refused
from appliance.base.run import Completed
from appliance.render.claim import Press
from appliance.render.programs import ON_A_BOX, Command
from appliance.steward import actions, services
from appliance.steward.actions import Steward
from appliance.steward.main import Desk
from appliance.upkeep import resets
from tests.support.applied_box import Box

ROOT, WEB, PANEL = 0, 4711, 4712
VERBS = {
    "settings.show",
    "settings.change",
    "settings.replace",
    "settings.history",
    "settings.undo",
    "settings.export",
    "settings.apply",
    "services.status",
    "certificate.refresh",
    "claim.status",
    "claim.close",
    "claim.code",
    "claim.press",
    "facts.show",
    "dkim.show",
    "dkim.rotate",
    "dkim.switch",
    "dkim.tend",
    "box.reboot",
    "box.identify",
    "box.reset",
    "account.list",
    "account.add",
    "account.edit",
    "account.password",
    "account.enable",
    "account.disable",
    "account.delete",
    "disk.list",
    "disk.status",
    "disk.plan",
    "disk.connect",
    "disk.take",
    "disk.detach",
    "disk.replace",
    "disk.mirror",
    "disk.grow",
    "disk.cancel",
    "account.removals",
    "account.app_add",
    "account.app_remove",
    "account.import",
    "mailboxes.sync",
    "mailboxes.tidy",
    "mailboxes.import",
}


class Ran:
    """Every argv that the steward's own modules had run."""

    def __init__(self) -> None:
        self.argvs: list[tuple[str, ...]] = []

    def run(self, argv: tuple[str, ...], **_: Any) -> Completed:
        self.argvs.append(tuple(argv))
        return Completed(0, b"", b"")


@pytest.fixture
def box(tmp_path: Path) -> Box:
    return Box(tmp_path)


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> Ran:
    """No test restarts the machine it runs on."""
    ran = Ran()
    monkeypatch.setattr(actions, "run", ran.run)
    monkeypatch.setattr(services, "run", ran.run)
    return ran


@pytest.fixture
def desk(box: Box, ran: Ran) -> Desk:
    (box.place.data / "accounts").mkdir(parents=True, exist_ok=True)
    steward = Steward(
        box.place, store=box.store, applier=box.applier, claim=box.claim, clock=box.clock
    )
    return Desk(steward.table(), root_uids={ROOT}, panel_uids={PANEL})


def ask(desk: Desk, verb: str, args: Mapping[str, Any] | None = None, *, uid: int = ROOT) -> Any:
    request = Request(
        verb=verb,
        args=dict(args or {}),
        peer=Peer(pid=1, uid=uid, gid=uid),
        progress=lambda step: None,
    )
    return asyncio.run(desk.handle(request))


def refused(desk: Desk, verb: str, args: Mapping[str, Any], *, uid: int = ROOT) -> str:
    with pytest.raises(Refused) as caught:
        ask(desk, verb, args, uid=uid)
    return caught.value.finding.say


MAIL = {"mail.hostname": "mail.example.com", "mail.main_domain": "example.com"}


def test_the_list_is_closed(desk: Desk) -> None:
    assert set(desk.handlers()) == VERBS


def test_a_change_is_stored_applied_and_can_be_undone(desk: Desk, box: Box) -> None:
    done = ask(desk, "settings.change", {"changes": MAIL, "author": "anna"})
    assert done == {"revision": 1, "changed": ["mail.main_domain", "mail.hostname"]}
    assert b"mail.example.com" in box.applier.in_force()["hosts"]
    (line,) = ask(desk, "settings.history")
    assert line["author"] == "anna"
    ask(desk, "settings.undo", {"revision": 1, "author": "bert"})
    assert box.store.current()[1].mail.hostname == ""
    assert b"mail.example.com" not in box.applier.in_force()["hosts"]


def test_a_change_that_changes_nothing_is_not_applied(desk: Desk, box: Box) -> None:
    done = ask(desk, "settings.change", {"changes": {"box.language": "en"}, "author": "anna"})
    assert done == {"revision": 0, "changed": []}
    assert box.effects.told == []


def test_who_saw_an_older_revision_is_told(desk: Desk) -> None:
    ask(desk, "settings.change", {"changes": MAIL, "author": "anna"})
    late = {"changes": {"box.language": "de"}, "author": "bert", "base_revision": 0}
    assert "somebody else" in refused(desk, "settings.change", late)


def test_secrets_are_for_root_only(desk: Desk) -> None:
    secret = {"outbound.smarthost_user": "u", "outbound.smarthost_password": "s3cret"}
    ask(desk, "settings.change", {"changes": secret, "author": "anna"}, uid=WEB)
    assert "s3cret" not in str(ask(desk, "settings.show", uid=WEB))
    assert "s3cret" not in str(ask(desk, "settings.history", uid=WEB))
    assert "not given" in refused(desk, "settings.export", {"secrets": True}, uid=WEB)
    assert "s3cret" in str(ask(desk, "settings.export", {"secrets": True}))


def test_an_import_without_secrets_keeps_them(desk: Desk, box: Box) -> None:
    secret = {"outbound.smarthost_user": "u", "outbound.smarthost_password": "s3cret"}
    ask(desk, "settings.change", {"changes": secret, "author": "anna"})
    exported = ask(desk, "settings.export")
    ask(desk, "settings.replace", {"settings": {**exported, **MAIL}, "author": "anna"})
    assert box.store.current()[1].outbound.smarthost_password == "s3cret"


def test_accounts_are_kept_and_no_password_comes_back(desk: Desk, box: Box) -> None:
    ask(desk, "settings.change", {"changes": MAIL, "author": "anna"})
    given = {"login": "Anna", "name": "Anna Smith", "password": "correct-horse-battery-4711"}
    made = ask(desk, "account.add", given, uid=WEB)
    assert made["addresses"] == ["anna@example.com"]
    assert "correct" not in str(made)
    assert "too short" in refused(desk, "account.password", {"login": "anna", "password": "x"})
    assert len(ask(desk, "account.password", {"login": "anna"})["password"]) == 23
    assert not ask(desk, "account.disable", {"login": "anna"})["enabled"]
    changed = ask(desk, "account.edit", {"login": "anna", "messages_per_hour": 5})
    assert (changed["messages_per_hour"], changed["name"]) == (5, "Anna Smith")
    (listed,) = ask(desk, "account.list", uid=WEB)
    assert "hash" not in str(listed)
    assert ask(desk, "account.delete", {"login": "anna"})["login"] == "anna"
    assert "no account" in refused(desk, "account.enable", {"login": "anna"})
    assert "missing" in refused(desk, "account.add", {"name": "x"})


def test_the_claim_code_is_for_root_only(desk: Desk, box: Box) -> None:
    code = box.claim.ensure_code()
    assert "not for user" in refused(desk, "claim.code", {}, uid=WEB)
    assert ask(desk, "claim.code") == {"claimed": False, "code": code}


def test_the_panel_may_do_what_its_buttons_order_and_nothing_else(desk: Desk, box: Box) -> None:
    assert ask(desk, "claim.press", uid=PANEL) == {"seconds": 120.0}
    press = Press(box.place.claim_press)
    assert press.name(box.clock.monotonic())
    box.clock.advance(120)
    assert press.name(box.clock.monotonic()) == ""
    assert "not for user" in refused(desk, "claim.press", {}, uid=WEB)
    for verb in VERBS - {"claim.press", "box.identify", "box.reset"}:
        assert "not for user" in refused(desk, verb, {}, uid=PANEL)
    box.claim.close()
    assert "has an owner" in refused(desk, "claim.press", {}, uid=PANEL)


def test_the_box_blinks_for_some_minutes_when_it_is_to_be_found(desk: Desk, box: Box) -> None:
    assert ask(desk, "box.identify", {"on": True}, uid=WEB) == {"seconds": 300.0}
    noted = json.loads((box.place.run / "identify").read_text())
    assert noted == {"until": box.clock.monotonic() + 300}
    for _ in range(2):
        assert ask(desk, "box.identify", {"on": False}, uid=PANEL) == {"seconds": 0.0}
        assert not (box.place.run / "identify").exists()
    assert "true or false" in refused(desk, "box.identify", {"on": "yes"})


def test_a_reset_leaves_its_mark_and_restarts(desk: Desk, box: Box, ran: Ran) -> None:
    assert "not for user" in refused(desk, "box.reset", {"what": "factory"}, uid=WEB)
    assert "password, network or factory" in refused(desk, "box.reset", {"what": "mail"})
    assert resets.due(box.place.data) is None
    assert ran.argvs == []
    ask(desk, "box.reset", {"what": "network"}, uid=PANEL)
    assert resets.due(box.place.data) == resets.Mark(resets.Reset.NETWORK)
    assert ran.argvs == [("/usr/bin/systemctl", "--no-block", "reboot")]


def test_closing_the_claim_opens_what_the_settings_open(desk: Desk, box: Box) -> None:
    box.claim.ensure_code()
    change = {"changes": {**MAIL, "mail.enabled": True}, "author": "anna"}
    ask(desk, "settings.change", change, uid=WEB)
    assert "mail.on" not in box.applier.in_force()
    ask(desk, "claim.close", uid=WEB)
    assert "mail.on" in box.applier.in_force()
    assert ask(desk, "claim.status") == {"claimed": True}
    assert box.claim.code() == ""
    told = len(box.effects.told)
    ask(desk, "claim.close", uid=WEB)
    assert len(box.effects.told) == told, "closed once is closed"


def test_a_reboot_is_one_fixed_command(desk: Desk, ran: Ran) -> None:
    ask(desk, "box.reboot", uid=WEB)
    assert ran.argvs == [("/usr/bin/systemctl", "--no-block", "reboot")]


@pytest.mark.parametrize(
    ("verb", "args"),
    [
        ("settings.change", {}),
        ("settings.change", {"changes": [], "author": "a"}),
        ("settings.change", {"changes": {}, "author": "a" * 101}),
        ("settings.change", {"changes": {}, "author": "a\nb"}),
        ("settings.change", {"changes": {}, "author": "a", "base_revision": True}),
        ("settings.history", {"limit": 0}),
        ("settings.history", {"limit": 10**9}),
        ("settings.undo", {"revision": "1", "author": "a"}),
        ("settings.export", {"secrets": 1}),
        ("box.reboot", {"when": "now"}),
        ("claim.close", {"path": "/etc"}),
    ],
)
def test_arguments_are_checked_on_the_root_side(
    desk: Desk, box: Box, verb: str, args: dict[str, Any]
) -> None:
    refused(desk, verb, args)
    assert box.effects.told == []
    assert box.store.current()[0] == 0


HOSTILE_TEXT = st.one_of(
    st.text(max_size=40),
    st.sampled_from(
        [
            "; reboot",
            "$(reboot)",
            "`id`",
            "--help",
            "-o",
            "../../etc/shadow",
            "/etc/passwd",
            "a\x00b",
            "a\nb",
            "{rendered}",
            "{folder}/x",
            "{0.__class__}",
            "%n%s",
            "x" * 100_000,
            "‮exe.txt",
            "user@host -oProxyCommand=id",
        ]
    ),
)
HOSTILE_VALUE = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), HOSTILE_TEXT),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(HOSTILE_TEXT, inner, max_size=3)
    ),
    max_leaves=6,
)
SETTING_NAMES = st.sampled_from(
    [
        "mail.hostname",
        "mail.main_domain",
        "mail.relay_domains",
        "box.time_zone",
        "box.ntp_servers",
        "box.ssh_authorized_keys",
        "box.dns_forwarders",
        "outbound.smarthost_host",
        "web.allowed_hosts",
    ]
)
ARGUMENTS = st.dictionaries(
    st.one_of(
        st.sampled_from(["changes", "settings", "author", "revision", "limit", "secrets", "login"]),
        HOSTILE_TEXT,
    ),
    st.one_of(HOSTILE_VALUE, st.dictionaries(SETTING_NAMES, HOSTILE_VALUE, max_size=3)),
    max_size=4,
)

_started: list[tuple[str, Any]] = []
_watching = False


def _audit(event: str, args: tuple[Any, ...]) -> None:
    if _watching and event in {"subprocess.Popen", "os.exec", "os.system", "os.posix_spawn"}:
        _started.append((event, args[0]))


@pytest.fixture
def no_process() -> Iterator[None]:
    """Python itself tells of each process that is started, by whatever door."""
    global _watching
    if "pennypost_audit" not in sys.__dict__:
        sys.addaudithook(_audit)
        sys.__dict__["pennypost_audit"] = True
    _started.clear()
    _watching = True
    yield
    _watching = False
    assert _started == []


@settings(
    max_examples=400,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(verb=st.sampled_from(sorted(VERBS)), args=ARGUMENTS, uid=st.sampled_from([ROOT, WEB]))
def test_nothing_but_the_table_is_run_and_nothing_written_but_the_box_s_own(
    desk: Desk,
    box: Box,
    ran: Ran,
    no_process: None,
    tmp_path: Path,
    verb: str,
    args: dict[str, Any],
    uid: int,
) -> None:
    allowed = {SYSTEMCTL_REBOOT, *(a for p in ON_A_BOX for a in _commands_of(p))}
    working_folder, said = sorted(os.listdir()), ""
    try:
        ask(desk, verb, args, uid=uid)
    except PennypostError as error:
        said = error.finding.say
    assert "Traceback" not in said
    shown = [argv for argv in ran.argvs if argv[1] == "show"]
    assert all(argv[:2] == ("/usr/bin/systemctl", "show") for argv in shown)
    assert set(ran.argvs) - set(shown) <= allowed
    assert {a.argv for a in box.effects.told if isinstance(a, Command)} <= allowed
    checkers = {p.check[0] for p in ON_A_BOX if p.check}
    assert {argv[0] for argv in box.effects.checked} <= checkers
    assert {path.name for path in tmp_path.iterdir()} <= {"data", "run"}
    assert sorted(os.listdir()) == working_folder


SYSTEMCTL_REBOOT = ("/usr/bin/systemctl", "--no-block", "reboot")


def _commands_of(program: Any) -> Iterator[tuple[str, ...]]:
    """All that a program can ever be told, whatever the files."""
    files = dict.fromkeys((*program.files, program.switch), b"x")
    for old, new in (({}, files), (files, {}), (files, dict.fromkeys(files, b"y"))):
        for action in program.actions(old, new):
            if isinstance(action, Command):
                yield action.argv
