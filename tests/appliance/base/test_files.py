"""Atomic files: all old or all new, never in between."""

import os
from pathlib import Path

import pytest

from appliance.base.files import remove_file, replace_file


def test_the_new_content_and_rights_are_there(tmp_path: Path) -> None:
    target = tmp_path / "key.pem"
    replace_file(target, b"one", mode=0o600)
    replace_file(target, b"two", mode=0o640)
    assert target.read_bytes() == b"two"
    assert target.stat().st_mode & 0o777 == 0o640
    assert os.listdir(tmp_path) == ["key.pem"]


def test_a_failed_flush_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "f"
    replace_file(target, b"old")

    def fail(_: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="Input/output"):
        replace_file(target, b"new")
    assert target.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["f"]


def test_file_and_folder_are_flushed_before_it_returns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed: list[str] = []
    real = os.fsync

    def watch(fd: int) -> None:
        flushed.append("folder" if os.path.isdir(f"/proc/self/fd/{fd}") else "file")
        real(fd)

    monkeypatch.setattr(os, "fsync", watch)
    replace_file(tmp_path / "f", b"x")
    assert flushed == ["file", "folder"]


def test_removing_twice_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "f").touch()
    assert remove_file(tmp_path / "f") is True
    assert remove_file(tmp_path / "f") is False
