"""The mirror is the host's own: every form apt sources come in."""

from __future__ import annotations

from pathlib import Path

import pytest

from image import mirror

ONE_LINE = """
# deb http://old.example/debian bookworm main
deb [arch=amd64 signed-by=/k.gpg] http://mirror.example/debian/ bookworm main contrib
deb-src http://src.example/debian bookworm main
deb http://security.example/debian-security bookworm-security main
deb http://mirror.example/debian bookworm-backports main
deb https://other.example/node nodistro main
"""
DEB822 = """
Types: deb deb-src
# a comment between fields
URIs: https://mirror.example/debian
Suites: trixie trixie-updates
Components: main

Enabled: no
Types: deb
URIs: http://off.example/debian
Suites: trixie

Types: deb
URIs: https://mirror.example/debian-security
Suites:
 trixie-security
Components: main
"""


def host(folder: Path, **files: str) -> Path:
    (folder / "sources.list.d").mkdir(parents=True)
    for name, text in files.items():
        place = folder if name == "list" else folder / "sources.list.d"
        (place / {"list": "sources.list", "deb822": "debian.sources"}[name]).write_text(text)
    return folder


def test_one_line_sources_give_both_archives(tmp_path: Path) -> None:
    found = mirror.choose({}, host(tmp_path, list=ONE_LINE))
    assert found.main == "http://mirror.example/debian"
    assert found.security == "http://security.example/debian-security"


def test_deb822_sources_give_both_archives_and_a_disabled_one_does_not(tmp_path: Path) -> None:
    found = mirror.choose({}, host(tmp_path, deb822=DEB822))
    assert found.main == "https://mirror.example/debian"
    assert found.security == "https://mirror.example/debian-security"


def test_the_sources_are_for_trixie_whatever_the_host_is(tmp_path: Path) -> None:
    lines = mirror.choose({}, host(tmp_path, list=ONE_LINE)).sources()
    suites = [line.split("] ")[1].split()[1] for line in lines]
    assert suites == ["trixie", "trixie-updates", "trixie-security"]


def test_a_mirror_named_by_hand_beats_the_hosts(tmp_path: Path) -> None:
    apt = host(tmp_path, list=ONE_LINE)
    found = mirror.choose({"MIRROR": "http://near.example/debian/"}, apt)
    assert (found.main, found.security) == (
        "http://near.example/debian",
        "http://near.example/debian-security",
    )
    env = {"MIRROR": "http://near.example/debian", "MIRROR_SECURITY": "none"}
    assert len(mirror.choose(env, apt).sources()) == 2


def test_a_file_with_the_mirror_in_it_is_followed(tmp_path: Path) -> None:
    (tmp_path / "mirrors").write_text("https://cloud.example/debian/\n")
    text = f"Types: deb\nURIs: mirror+file://{tmp_path}/mirrors\nSuites: bookworm\n"
    found = mirror.choose({}, host(tmp_path / "apt", deb822=text))
    assert found.main == "https://cloud.example/debian"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "deb http://archive.ubuntu.example/ubuntu noble main\n",
        "deb cdrom:[x]/debian trixie main",
    ],
)
def test_a_host_without_a_debian_mirror_takes_debians_own(tmp_path: Path, text: str) -> None:
    chosen = mirror.choose({}, host(tmp_path, list=text))
    assert chosen.main == mirror.DEBIAN
    assert chosen.security == f"{mirror.DEBIAN}-security"


def test_only_the_way_to_the_mirror_is_taken_from_the_hosts_apt_options() -> None:
    dump = """APT::Install-Recommends "1";
Acquire::http::Proxy "http://proxy.example:3128";
Acquire::Check-Valid-Until "false";
Acquire::http::Proxy-Auto-Detect "";
DPkg::Post-Invoke:: "rm -f /var/cache/apt/archives/*.deb || true";
"""
    assert mirror.apt_options(dump) == [
        'Acquire::http::Proxy "http://proxy.example:3128";',
        'Acquire::Check-Valid-Until "false";',
    ]
