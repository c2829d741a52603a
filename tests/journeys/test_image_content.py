"""Nothing on the image is secret or the same on two devices. Looks at the .img itself."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.disk import partitions, read_partition

pytestmark = [pytest.mark.image, pytest.mark.timeout(3600)]
# The words that open a private key in PEM form; split so that this file has none.
_PRIVATE = re.compile(rb"-----BEGIN (?:[A-Z]+ )*PRIVATE " + rb"KEY-----\s*\n[A-Za-z0-9+/=]{40}")


@pytest.fixture(scope="module")
def tree(image: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The files of root_a, unpacked from the image."""
    folder = tmp_path_factory.mktemp("root") / "tree"
    unpack(image, "root_a", folder)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def unpack(image: Path, label: str, folder: Path) -> None:
    offset = partitions(image)[label].offset
    subprocess.run(
        [
            *("unsquashfs", "-quiet", "-no-progress", "-no-xattrs", "-ignore-errors"),
            *("-offset", str(offset), "-dest", str(folder), str(image)),
        ],
        check=False,  # device nodes cannot be made without root; they matter to nobody here
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        timeout=600,
    )
    assert (folder / "etc/os-release").exists() or (folder / "vmlinuz").exists()


def files(tree: Path) -> Iterator[Path]:
    for path in tree.rglob("*"):
        if path.is_file() and not path.is_symlink():
            yield path


# Dovecot's library carries the key of its own test certificate, the same in every Debian; the
# box's programs get theirs by name and never use it.
_PUBLISHED = "usr/lib/dovecot/libdovecot.so.0.0.0"


def test_no_private_key_lies_on_the_root(tree: Path) -> None:
    found = [str(path.relative_to(tree)) for path in files(tree) if has_key(path.read_bytes())]
    assert set(found) <= {_PUBLISHED}
    assert len(_PRIVATE.findall((tree / _PUBLISHED).read_bytes())) == 1


def test_no_private_key_lies_on_the_boot_partitions(image: Path) -> None:
    assert not has_key(read_partition(image, "esp"))


def has_key(data: bytes) -> bool:
    return _PRIVATE.search(data) is not None


def test_there_is_no_machine_id_no_host_key_and_no_random_seed(tree: Path) -> None:
    machine_id = tree / "etc/machine-id"
    if machine_id.exists() and not machine_id.is_symlink():
        assert machine_id.read_text().strip() in ("", "uninitialized")
    assert list((tree / "etc/ssh").glob("ssh_host_*")) == []
    assert not (tree / "var/lib/systemd/random-seed").exists()
    assert not (tree / "var/lib/dbus/machine-id").is_file()


def test_nobody_has_a_password(tree: Path) -> None:
    lines = (tree / "etc/shadow").read_text().splitlines()
    open_doors = [line.split(":")[0] for line in lines if line.split(":")[1][:1] not in ("!", "*")]
    assert open_doors == []


def test_no_administrators_ssh_key_lies_on_the_image(tree: Path) -> None:
    assert not (tree / "root/.ssh/authorized_keys").exists()


def test_the_second_slot_and_the_data_partition_are_empty(image: Path) -> None:
    parts = partitions(image)
    for label in ("boot_b", "root_b"):
        assert not any(read_partition(image, label, limit=1 << 20)), label
    if "data" in parts:
        assert not any(read_partition(image, "data", limit=1 << 20))


def test_no_build_host_shows_on_the_image(tree: Path, root: Path) -> None:
    """Neither the checkout's path nor the mirror the packages came from."""
    path = str(root).encode()
    names = [p for p in files(tree) if p.stat().st_size < 1 << 20 and path in p.read_bytes()]
    assert names == []
    sources = [*(tree / "etc/apt").glob("sources.list*"), *(tree / "etc/apt").rglob("*.sources")]
    assert all(not p.is_file() or b"://" not in p.read_bytes() for p in sources)
