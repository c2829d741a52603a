"""Lock files: written, read back, compared, pinned."""

from __future__ import annotations

from pathlib import Path

import pytest

from image import lock
from image.lock import Lock, Moved, Package
from image.run import BuildError

A = Package("a", "1:1.0-1", "11")
B = Package("b", "2.0+x", "22")


def test_a_lock_file_reads_back_as_written_and_sorted(tmp_path: Path) -> None:
    path = tmp_path / "amd64.lock"
    lock.write(path, Lock(86400, (B, A)))
    assert lock.read(path) == Lock(86400, (A, B))
    assert path.read_text().splitlines()[2:] == ["epoch 86400", "a 1:1.0-1 11", "b 2.0+x 22"]


def test_no_lock_file_is_an_empty_lock(tmp_path: Path) -> None:
    assert lock.read(tmp_path / "none.lock") == Lock()


def test_a_damaged_lock_file_is_named_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "x.lock").write_text("epoch 1\na 1\n")
    with pytest.raises(BuildError, match=r"x\.lock:2"):
        lock.read(tmp_path / "x.lock")


def test_moved_names_new_versions_new_packages_and_gone_ones() -> None:
    plan = [Package("a", "1:1.0-2", "12"), Package("c", "3", "33")]
    assert lock.moved(Lock(0, (A, B)), plan) == [
        Moved("a", "1:1.0-1", "1:1.0-2"),
        Moved("b", "2.0+x", ""),
        Moved("c", "", "3"),
    ]
    assert lock.moved(Lock(0, (A, B)), [B, A]) == []


def test_the_same_version_with_other_bytes_has_moved() -> None:
    assert lock.moved(Lock(0, (A,)), [Package("a", "1:1.0-1", "99")])


def test_strict_ends_the_build_and_names_what_moved(tmp_path: Path) -> None:
    lock.check_strict([], tmp_path)
    with pytest.raises(BuildError, match="a 1 -> 2") as error:
        lock.check_strict([Moved("a", "1", "2")], tmp_path)
    assert "make relock" in error.value.hint


def test_pins_hold_each_version_above_the_mirrors_newest() -> None:
    assert "Package: a\nPin: version 1:1.0-1\nPin-Priority: 1001\n" in lock.pins([A, B])


def test_apts_plan_is_read_with_epochs_in_versions() -> None:
    text = (
        "Reading package lists...\n"
        "'http://m.example/pool/o/openssh-server_1%3a9.2-1_amd64.deb'"
        " openssh-server_1%3a9.2-1_amd64.deb 12 SHA256:ab12\n"
    )
    assert lock._uris(text) == [
        Package(
            "openssh-server",
            "1:9.2-1",
            "ab12",
            "amd64",
            "http://m.example/pool/o/openssh-server_1%3a9.2-1_amd64.deb",
        )
    ]


@pytest.mark.parametrize("arch", ["amd64", "arm64"])
def test_every_package_asked_for_is_locked(arch: str) -> None:
    from image import recipe
    from image.build import lock_path

    locked = {package.name for package in lock.read(lock_path(arch)).packages}
    wanted = recipe.load(f"generic-{arch}").packages
    assert [name for name in wanted if name not in locked] == []
