"""The build: told wrong things, interrupted, and done twice."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from image import build, overlay, sandbox
from image.run import BuildError
from tests.support.wait import wait_until

FOLDERS = ("appliance", "docs", "hw", "image", "rootfs", "scripts")


def scripts_image(checkout: Path, *args: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["scripts/image", *args],
        cwd=checkout,
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        timeout=3000,
        check=False,
    )


def test_an_unknown_board_ends_with_the_known_ones(root: Path, tmp_path: Path) -> None:
    done = scripts_image(root, "--board", "toaster", "--build", str(tmp_path))
    assert done.returncode == 1
    assert "no board called 'toaster'" in done.stderr
    assert "generic-amd64, generic-arm64" in done.stderr
    assert "Traceback" not in done.stderr


def test_too_little_room_is_said_in_numbers_before_anything_starts(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match=r"has \d+\.\d GB free, the build needs 9999\.0 GB"):
        build.check_room(tmp_path, 9_999_000_000_000)


def test_two_builds_in_one_folder_do_not_mix(tmp_path: Path) -> None:
    with (
        build.workshop(tmp_path),
        pytest.raises(BuildError, match="another build"),
        build.workshop(tmp_path),
    ):
        pass


def test_what_an_interrupted_build_left_is_swept_out(tmp_path: Path) -> None:
    (tmp_path / "cache/tmp/half").mkdir(parents=True)
    with build.workshop(tmp_path) as shop:
        assert list((shop.cache / "tmp").iterdir()) == []


@pytest.mark.full
def test_an_unreachable_mirror_is_said_and_leaves_no_image(root: Path, tmp_path: Path) -> None:
    done = scripts_image(root, "--build", str(tmp_path), MIRROR="http://127.0.0.1:9/debian")
    assert done.returncode == 1
    assert "MIRROR=" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "images").exists()


def copy_of(root: Path, target: Path) -> Path:
    """Another checkout of the same sources, made under another umask."""
    old = os.umask(0o077)
    try:
        target.mkdir(parents=True)
        for name in FOLDERS:
            shutil.copytree(
                root / name,
                target / name,
                symlinks=True,
                ignore=shutil.ignore_patterns("__pycache__"),
                copy_function=shutil.copyfile,
            )
            for path in overlay.walk(target / name):
                if (
                    not path.is_symlink()
                    and (root / path.relative_to(target)).stat().st_mode & 0o100
                ):
                    path.chmod(0o700)
        shutil.copyfile(root / "pyproject.toml", target / "pyproject.toml")
    finally:
        os.umask(old)
    return target


def lend_cache(source: Path, target: Path) -> None:
    """The second build may use what was loaded, but makes every layer itself."""
    target.mkdir(parents=True)
    for tree in source.glob("tools-*"):
        (target / tree.name).symlink_to(tree)
    if (source / "debs").exists():
        shutil.copytree(source / "debs", target / "debs", copy_function=os.link)


def elsewhere(checkout: Path) -> tuple[list[str], dict[str, str]]:
    """The command of a build on what looks like another machine."""
    env = {**os.environ, "TZ": "Asia/Tokyo", "LANG": "de_DE.UTF-8", "LC_ALL": "C"}
    command = f"umask 077; exec {shlex.quote(str(checkout))}/scripts/image"
    if os.geteuid() == 0:
        command = f"hostname elsewhere; {command}"
        return ["unshare", "--uts", "sh", "-c", command], env
    return ["sh", "-c", command], env


def wait_for_step(process: subprocess.Popen[str], step: str) -> None:
    assert process.stderr is not None
    said = []
    for line in process.stderr:
        said.append(line)
        if step in line and line.rstrip().endswith("..."):
            return
    raise AssertionError(f"the build ended before {step}: {''.join(said)}")


@pytest.mark.image
@pytest.mark.timeout(3600)
def test_a_build_cut_off_and_taken_up_elsewhere_gives_the_same_bytes(
    image: Path, root: Path, tmp_path: Path
) -> None:
    """Another folder, umask, time, time zone, locale and host name; and an interruption."""
    checkout = copy_of(root, tmp_path / "a place" / "of its own")
    lend_cache(root / "build/cache", checkout / "build/cache")
    argv, env = elsewhere(checkout)
    try:
        with subprocess.Popen(argv, env=env, stderr=subprocess.PIPE, text=True) as process:
            wait_for_step(process, "system:")
            half = checkout / "build/cache/tmp"
            wait_until(lambda: any(half.iterdir()), what="half a step", timeout_seconds=300)
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=120)
        assert process.returncode != 0
        assert not (checkout / "build/images").exists()
        assert str(checkout) not in Path("/proc/mounts").read_text()
        done = subprocess.run(argv, env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        took = re.search(r"Debian packages \(amd64\): ([\d.]+) s", done.stderr)
        assert took is not None
        assert float(took[1]) < 5, "the base of the interrupted build was not used"
        sums = [(p / "build/images/SHA256SUMS").read_text() for p in (root, checkout)]
        ours, theirs = ({line for line in text.splitlines() if "amd64" in line} for text in sums)
        assert ours == theirs
    finally:
        sandbox.find().remove(checkout / "build")


def test_scripts_image_runs_with_the_hosts_bare_python(root: Path) -> None:
    """No virtual environment is needed to build; only the standard library is imported."""
    script = "import sys; sys.path.insert(0, '.'); import image.build, image.play, image.relock"
    subprocess.run([sys.executable, "-I", "-S", "-c", script], cwd=root, check=True)
