"""The units and files of `rootfs/`, read as text: what a start on the box relies on."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from appliance.render.programs import ON_A_BOX
from appliance.steward import services
from appliance.web.home import DUTIES
from tests.rootfs.shell import ROOTFS

UNIT_FOLDERS = (ROOTFS / "usr/lib/systemd/system", ROOTFS / "etc/systemd/system")
UNITS = sorted(
    path
    for folder in UNIT_FOLDERS
    for path in folder.iterdir()
    if path.is_file() and path.suffix in {".service", ".socket", ".path", ".timer"}
)
OURS = [path for path in UNITS if path.name.startswith("pennypost-")]
# Units that change the machine itself and cannot be shut in.
UNCONFINED = {
    "pennypost-apply.service",
    "pennypost-claim.service",
    "pennypost-confirm.service",
    "pennypost-console.service",
    "pennypost-disks.service",
    "pennypost-certificate.service",
    "pennypost-grow.service",
    "pennypost-panel-text.service",
    "pennypost-preseed.service",
    "pennypost-slots.service",
    "pennypost-zram.service",
}


def settings(path: Path) -> list[tuple[str, str]]:
    """NAME and value of each line."""
    lines = path.read_text().splitlines()
    return [
        (name, value)
        for name, sign, value in (line.partition("=") for line in lines)
        if sign and not name.startswith("#")
    ]


def values(path: Path, name: str) -> list[str]:
    return [value for key, value in settings(path) if key == name]


def text_files() -> Iterator[Path]:
    return (path for path in ROOTFS.rglob("*") if path.is_file() and not path.is_symlink())


@pytest.mark.parametrize("unit", OURS, ids=lambda path: path.name)
def test_each_program_that_a_unit_starts_is_there(unit: Path) -> None:
    for key, command in settings(unit):
        if not key.startswith("Exec"):
            continue
        if module := re.search(r"python3 -P -m (\S+)", command):
            assert find_spec(module[1]) is not None, module[1]
        elif "/usr/lib/pennypost/" in command:
            program = ROOTFS / command.split()[0].lstrip("/+-!")
            assert os.access(program, os.X_OK), program


@pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.name)
def test_units_named_by_a_unit_exist_or_are_debian_s(unit: Path) -> None:
    names = {path.name for path in UNITS}
    for key, value in settings(unit):
        if key in {"After", "Before", "Wants", "Requires", "PartOf", "Service", "Sockets"}:
            for name in value.split():
                if name.startswith("pennypost-"):
                    assert name in names, f"{key}={name}"


def test_every_link_in_a_wants_folder_leads_to_a_unit() -> None:
    for link in ROOTFS.rglob("*.wants/*"):
        target = os.readlink(link)
        if target.startswith("../"):
            assert (link.parent / target).is_file(), link


def test_what_apply_restarts_are_units_of_the_box() -> None:
    names = {path.name for path in UNITS} | {"ssh.service", "systemd-timesyncd.service"}
    for program in ON_A_BOX:
        assert set(program.units) <= names, program.name


def test_home_watches_every_service_that_is_to_run_on() -> None:
    # The console only shows; the panel ends where there is no button.
    to_run_on = {path.name for path in UNITS if values(path, "Restart")}
    watched = {unit.unit for unit in services.UNITS}
    assert to_run_on - watched == {"pennypost-console.service", "pennypost-panel.service"}
    assert {unit.name for unit in services.UNITS} == set(DUTIES)


def test_each_service_of_ours_says_what_it_may_use() -> None:
    for unit in OURS:
        if unit.suffix == ".service" and unit.name not in UNCONFINED:
            assert values(unit, "NoNewPrivileges") == ["yes"], unit.name
            assert values(unit, "ProtectSystem") == ["strict"], unit.name
            assert values(unit, "MemoryMax"), unit.name
            assert values(unit, "SystemCallFilter"), unit.name


@pytest.mark.parametrize("name", ["relay", "web", "panel"])
def test_the_daemons_have_own_users_and_no_capabilities(name: str) -> None:
    unit = UNIT_FOLDERS[0] / f"pennypost-{name}.service"
    assert values(unit, "User") == [f"pp-{name}"]
    assert values(unit, "CapabilityBoundingSet") == [""]
    hidden = " ".join(values(unit, "InaccessiblePaths"))
    if name == "panel":
        assert hidden.split()[0] == "-/data"
        return
    for folder in ("settings", "keys/ca", "keys/ssh"):
        assert f"/data/pennypost/{folder}" in hidden


def test_only_the_steward_and_what_runs_at_boot_is_root() -> None:
    as_root = {unit.name for unit in OURS if unit.suffix == ".service" and not values(unit, "User")}
    assert as_root == UNCONFINED | {
        "pennypost-spam-tables.service",
        "pennypost-steward.service",
        "pennypost-bays.service",
        "pennypost-disk-test@.service",
    }


def test_the_three_mail_ports_come_under_their_names() -> None:
    found = {
        values(unit, "FileDescriptorName")[0]: values(unit, "ListenStream")[0]
        for unit in OURS
        if unit.suffix == ".socket"
    }
    assert found["smtp"] == "25"
    assert found["submission"] == "587"
    assert found["submissions"] == "465"
    home = next(unit for unit in OURS if unit.name == "pennypost-relay-mailboxes.socket")
    assert values(home, "SocketGroup") == ["pp-mail"]  # who gets in there may send to anybody
    assert not [u for u in UNITS if "pp-mail" in " ".join(values(u, "SupplementaryGroups"))]
    assert values(home, "SocketMode") == ["0660"]


def test_links_under_etc_lead_to_rendered_files_that_are_made() -> None:
    rendered = {name for program in ON_A_BOX for name in program.files}
    rendered |= {"hosts", "resolv.conf", "localtime"}
    for link in (ROOTFS / "etc").rglob("*"):
        if link.is_symlink() and "/rendered/" in os.readlink(link):
            assert Path(os.readlink(link)).name in rendered, link


def test_no_file_is_a_secret_or_names_this_machine() -> None:
    for path in text_files():
        text = path.read_text()
        assert "PRIVATE KEY" not in text, path
        assert str(ROOTFS.parent) not in text, path


def test_what_a_reset_empties_is_opened_after_it() -> None:
    for name in ("web", "apply"):
        unit = UNIT_FOLDERS[0] / f"pennypost-{name}.service"
        assert "pennypost-preseed.service" in " ".join(values(unit, "After")), name


def test_users_have_fixed_numbers() -> None:
    lines = (ROOTFS / "usr/lib/sysusers.d/pennypost.conf").read_text().splitlines()
    users = [line.split() for line in lines if line[:2] in ("u ", "g ")]
    assert all(int(fields[2]) for fields in users)
    assert len({fields[2] for fields in users}) == len(users)


def test_the_log_is_bounded() -> None:
    limits = dict(settings(ROOTFS / "etc/systemd/journald.conf.d/pennypost.conf"))
    assert limits["Storage"] == "persistent"
    assert int(limits["SystemMaxUse"].removesuffix("M")) <= 128


SHELL = [
    path for path in text_files() if path.suffix == ".sh" or path.read_bytes()[:9] == b"#!/bin/sh"
]


@pytest.mark.parametrize("script", SHELL, ids=lambda path: path.name)
def test_scripts_are_clean_for_shellcheck(script: Path) -> None:
    if not shutil.which("shellcheck"):
        pytest.skip("shellcheck is not installed")
    # SC1091: the files that are read in lie elsewhere on the box.
    done = subprocess.run(
        ["shellcheck", "-e", "SC1091", str(script)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout
