"""Applying settings is a transaction: whatever fails, and whenever the power goes."""

import json
import os
import shutil
import sqlite3
from pathlib import Path

import pytest

from appliance.base.finding import Finding, PennypostError
from appliance.render.apply import Wanted
from appliance.render.main import boot
from appliance.render.programs import ON_A_BOX, Command, HostName, Tell
from tests.support.applied_box import KEY, MAIL, Box, failing_at

SYSTEMCTL = "/usr/bin/systemctl"
# Touches nearly every program of the table, and the certificate.
BIG_CHANGE = {
    "mail__hostname": "new.example.net",
    "mail__enabled": False,
    "box__dns_forwarders": ["192.0.2.53"],
    "box__ntp_servers": ["ntp.example.com"],
    "box__ssh_authorized_keys": [KEY],
}


@pytest.fixture
def box(tmp_path: Path) -> Box:
    """A claimed box with mail on, which has forgotten what it was told so far."""
    box = Box(tmp_path)
    box.bring(**MAIL)
    box.effects.told.clear()
    return box


def test_the_new_set_is_in_force_stored_and_known_to_the_programs(box: Box) -> None:
    box.bring(**BIG_CHANGE)
    revision, settings = box.store.current()
    files = box.applier.in_force()
    assert settings.mail.hostname == "new.example.net"
    assert json.loads(files["relay.json"])["revision"] == revision
    assert files["hostname"] == b"new\n"
    assert HostName("new") in box.effects.told
    restart = Command((SYSTEMCTL, "restart", "pennypost-relay.service"))
    assert Tell("relay", "reload", otherwise=restart) in box.effects.told
    assert Command((SYSTEMCTL, "start", "ssh.service")) in box.effects.told
    assert not (box.place.run / "rendered.pending").exists()


def test_a_program_whose_files_stay_the_same_is_left_alone(box: Box) -> None:
    box.bring(relay__connections_total=50)
    assert [type(action) for action in box.effects.told] == [Tell]


def test_every_step_is_reported_when_it_begins_and_when_it_ends(box: Box) -> None:
    steps = box.bring(**BIG_CHANGE)
    names = [step["step"] for step in steps if step["state"] == "done"]
    assert names[:4] == ["certificate", "signing keys", "render", "write"]
    assert "verify nginx" in names
    assert names[-1] == "commit"
    assert [step["step"] for step in steps if step["state"] == "running"] == names
    assert all(isinstance(step["seconds"], float) for step in steps)


def test_mail_is_probed_when_it_is_on_and_only_then(box: Box) -> None:
    box.effects.probed.clear()
    box.bring(mail__enabled=False)
    assert box.effects.probed == [443]
    box.effects.probed.clear()
    box.bring(mail__enabled=True)
    assert box.effects.probed == [25, 587, 465, 443]


def test_whichever_step_fails_the_old_set_is_intact_byte_for_byte(box: Box) -> None:
    before = box.snapshot()
    for number in range(100):
        box.effects.before = failing_at(number)
        box.effects.told.clear()
        finding = refusal(box)
        if finding is None:
            break
        assert "fails by intent" in finding.say
        assert "not changed" in finding.means
        assert box.snapshot() == before
        _assert_told_back(box)
    assert number >= 12, "the sweep saw too few steps to mean anything"
    assert box.store.current()[1].mail.hostname == "new.example.net"


def refusal(box: Box) -> Finding | None:
    """Why the big change was refused; None when it was made."""
    try:
        box.bring(**BIG_CHANGE)
    except PennypostError as error:
        return error.finding
    return None


def _assert_told_back(box: Box) -> None:
    """Who was told of the new set was told again when the old one was back."""
    told = box.effects.told
    names = [action.name for action in told if isinstance(action, HostName)]
    assert names in ([], ["mail"], ["new", "mail"])
    ssh = [a.argv[1] for a in told if isinstance(a, Command) and "ssh.service" in a.argv]
    assert ssh in ([], ["start"], ["stop"], ["start", "stop"])  # "stop" alone: the start failed
    reloads = sum(isinstance(action, Tell) for action in told)
    assert reloads in (0, 1, 2)


def test_a_store_that_fails_at_the_last_moment_brings_the_old_set_back(box: Box) -> None:
    before = box.snapshot()

    def disk_full(when: str) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    with pytest.raises(PennypostError, match="disk is full"):
        box.bring(**BIG_CHANGE, commit=disk_full)
    assert box.snapshot() == before


def test_a_programming_error_brings_the_old_set_back_too(box: Box) -> None:
    before = box.snapshot()

    def bug(name: str) -> None:
        if name.startswith("do"):
            box.effects.before = lambda name: None
            raise ZeroDivisionError

    box.effects.before = bug
    with pytest.raises(ZeroDivisionError):
        box.bring(**BIG_CHANGE)
    assert box.snapshot() == before


def test_a_box_where_even_going_back_fails_is_set_right_at_the_next_start(box: Box) -> None:
    old = dict(box.applier.in_force())
    box.effects.before = failing_at(12, times=1000)
    with pytest.raises(PennypostError) as caught:
        box.bring(**BIG_CHANGE)
    assert "tried again" in caught.value.finding.means
    assert box.store.current()[0] == 1
    assert box.applier.is_unfinished()
    box.effects.before = lambda name: None
    _apply_stored(box, live=True)
    assert box.applier.in_force() == old
    assert not box.applier.is_unfinished()


def _apply_stored(box: Box, *, live: bool) -> None:
    """What the start of a box (not live) or of the steward does."""
    revision, settings = box.store.current()
    wanted = Wanted(settings=settings, revision=revision, claimed=True)
    box.applier.apply(wanted, commit=lambda: None, progress=lambda step: None, live=live)


def cut_during(box: Box, number: int) -> bool:
    """Make the big change in a process that ends, with nothing undone, at its effect `number`.

    True when it came to its own end.
    """
    effects = iter(range(10_000))

    def cut(name: str) -> None:
        if next(effects) == number:
            os._exit(9)

    pid = os.fork()
    if pid == 0:
        box.effects.before = cut
        try:
            box.bring(**BIG_CHANGE, commit=cut)
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


@pytest.mark.parametrize(
    "power_goes",
    [
        pytest.param(True, id="power cut"),
        pytest.param(False, id="steward killed", marks=pytest.mark.full),
    ],
)
def test_a_cut_at_any_moment_leaves_the_old_settings_or_the_new_ones(
    tmp_path: Path, power_goes: bool
) -> None:
    Box(tmp_path / "template").bring(**MAIL)
    found = []
    for number in range(100):
        shutil.copytree(tmp_path / "template", tmp_path / str(number), symlinks=True)
        box = Box(tmp_path / str(number))
        ended = cut_during(box, number)
        if power_goes:
            shutil.rmtree(box.place.run)
        box = Box(tmp_path / str(number))  # the next start
        if power_goes or box.applier.is_unfinished():
            _apply_stored(box, live=not power_goes)
        _assert_consistent(box)
        found.append(box.store.current()[1].mail.hostname)
        shutil.rmtree(tmp_path / str(number))
        if ended:
            break
    assert len(found) >= 14, "the sweep saw too few moments to mean anything"
    assert found[0] == "mail.example.com"
    assert found[-1] == "new.example.net"
    assert found == sorted(found), "once the new settings are there, they stay"


def _assert_consistent(box: Box) -> None:
    revision, settings = box.store.current()
    files = box.applier.in_force()
    document = json.loads(files["relay.json"])
    assert document["revision"] == revision
    assert document["settings"]["mail.hostname"] == settings.mail.hostname
    assert ("mail.on" in files) is settings.mail.enabled
    certificate = Path(document["facts"]["tls_certificate"])
    assert certificate.exists()
    assert certificate.parent.name.encode() in files["nginx.conf"]


def test_a_boot_makes_what_a_new_box_lacks_and_tells_nobody(tmp_path: Path) -> None:
    box = Box(tmp_path, dev=True)
    shutil.rmtree(box.place.data)
    boot(box.place, box.effects, box.clock)
    assert box.claim.code()
    assert box.keystore.public_root.exists()
    assert box.applier.in_force()["web.json"]
    assert box.effects.told == []


def test_settings_that_cannot_be_read_do_not_keep_a_box_from_starting(tmp_path: Path) -> None:
    box = Box(tmp_path, dev=True)
    box.place.settings_database.write_bytes(b"not a database" * 1000)
    boot(box.place, box.effects, box.clock)
    document = json.loads(box.applier.in_force()["relay.json"])
    assert document["settings"]["mail.enabled"] is False
    assert box.place.settings_database.read_bytes().startswith(b"not a database")


def test_only_the_set_before_is_kept(box: Box) -> None:
    for number in range(50, 55):
        box.bring(relay__connections_total=number)
    assert len(list(box.place.run.glob("rendered.[0-9]*"))) == 2


def test_every_program_is_named_once_and_run_by_its_whole_path() -> None:
    assert len({program.name for program in ON_A_BOX}) == len(ON_A_BOX)
    commands = [a for p in ON_A_BOX for a in p.changed if isinstance(a, Command)]
    argvs = [c.argv for c in commands] + [p.check for p in ON_A_BOX if p.check]
    assert all(argv[0].startswith("/usr/") for argv in argvs)
