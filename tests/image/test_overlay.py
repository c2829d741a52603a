"""A checkout's accidents (umask, owner, dates, caches) stay off the image."""

from __future__ import annotations

import tarfile
from pathlib import Path

from image.overlay import Overlay


def checkout(folder: Path) -> Path:
    (folder / "usr/bin").mkdir(parents=True)
    (folder / "usr/bin/tool").write_text("#!/bin/sh\n")
    (folder / "usr/bin/tool").chmod(0o755)
    (folder / "usr/bin/link").symlink_to("tool")
    (folder / "usr/note").write_text("x")
    return folder


def members(overlay: Overlay, path: Path) -> list[tarfile.TarInfo]:
    overlay.write_tar(path, 1000)
    with tarfile.open(path) as archive:
        return archive.getmembers()


def test_umask_dates_and_caches_do_not_show(tmp_path: Path) -> None:
    one, two = checkout(tmp_path / "one"), checkout(tmp_path / "two")
    (two / "usr/bin/tool").chmod(0o700)
    (two / "usr/note").chmod(0o600)
    (two / "usr/bin").chmod(0o700)
    (two / "usr/__pycache__").mkdir()
    (two / "usr/__pycache__/x.pyc").write_bytes(b"x")
    first, second = Overlay(((one, "/"),)), Overlay(((two, "/"),))
    assert first.digest() == second.digest()
    members(first, tmp_path / "1.tar")
    members(second, tmp_path / "2.tar")
    assert (tmp_path / "1.tar").read_bytes() == (tmp_path / "2.tar").read_bytes()


def test_everything_is_roots_with_plain_modes_and_one_date(tmp_path: Path) -> None:
    found = members(Overlay(((checkout(tmp_path / "one"), "/opt"),)), tmp_path / "x.tar")
    assert {(m.uid, m.gid, m.mtime) for m in found} == {(0, 0, 1000)}
    assert {m.name: oct(m.mode) for m in found if m.isreg()} == {
        "opt/usr/bin/tool": "0o755",
        "opt/usr/note": "0o644",
    }


def test_a_new_name_another_mode_or_another_link_is_another_digest(tmp_path: Path) -> None:
    folder = checkout(tmp_path / "one")
    seen = {Overlay(((folder, "/"),)).digest(), Overlay(((folder, "/opt"),)).digest()}
    (folder / "usr/note").chmod(0o755)
    seen.add(Overlay(((folder, "/"),)).digest())
    (folder / "usr/bin/link").unlink()
    (folder / "usr/bin/link").symlink_to("../note")
    seen.add(Overlay(((folder, "/"),)).digest())
    assert len(seen) == 4
