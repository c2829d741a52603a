"""`make image`: from Debian packages and this repository to a disk image for a board.

`build()` is the whole way, one named step a line. What a step makes is kept under
`build/cache/` by what went into it, so a second run (or one after an interruption)
goes on where the last one was. Finished files get their names only at the very end.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import hashlib
import json
import os
import re
import shutil
import signal
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from image import disk, lock, mirror, overlay, publish, recipe, rootfs, sandbox, tools
from image.recipe import HERE, SOURCE, Recipe
from image.run import BuildError, Steps, die

CLEAN_BYTES = 5 << 30
CACHED_BYTES = 2 << 30


@dataclass(frozen=True, slots=True)
class Options:
    """What a person asked for; `strict` is LOCKED=1."""

    board: str
    folder: Path
    strict: bool
    env: Mapping[str, str]


def build(options: Options) -> Path:
    """Make the image of a board; returns the .img. Raises BuildError."""
    os.umask(0o022)  # the modes of what we write show on the image
    what = recipe.load(options.board)
    tools.check_host(what.arch.debian)
    with workshop(options.folder) as shop:
        locked = lock.read(lock_path(what.arch.debian))
        base = rootfs.cached_base(shop.cache, what, locked)
        check_room(options.folder, CACHED_BYTES if base else CLEAN_BYTES)
        with shop.steps.step("tools tree"):
            kit = tools_tree(shop, strict=options.strict)
        with shop.steps.step(f"Debian packages ({what.arch.debian})"):
            base = base or new_base(shop, kit, what, locked, options.strict)
            tell_moves(shop, base.packages(), locked, what.arch.debian, strict=options.strict)
        with shop.steps.step("system: rootfs/, users, initrd"):
            system = rootfs.system(kit, base, system_files(), locked.epoch, shop.log)
        with shop.steps.step("root slot: appliance/, hw/"):
            named = identity(what, locked)
            root = rootfs.root_slot(kit, system, program_files(named), locked.epoch, shop.log)
            rootfs.check_fits(root, disk.ROOT_BYTES, "the root slot")
        with shop.steps.step("boot slot"):
            boot = rootfs.boot_slot(kit, system, locked.epoch, shop.log)
            rootfs.check_fits(boot, disk.BOOT_BYTES, "the boot slot")
        stamp = rootfs.key(named, root.name, boot.parent.name, (HERE / "grub.cfg").read_text())
        if (ready := up_to_date(shop, options.folder, what.name, stamp)) is not None:
            return ready
        with shop.steps.step("disk image"):
            esp = disk.esp(kit, what, base.grub, locked.epoch, shop.cache / "tmp" / "esp")
            image = shop.cache / "tmp" / f"pennypost-{what.name}.img"
            disk.assemble(disk.Parts(esp, boot, root), image, what.name)
        with shop.steps.step("compressed image, block map, checksums"):
            ready = hand_over(kit, image, base, named, options.folder / "images", shop)
            (shop.cache / f"made-{what.name}").write_text(stamp)
        prune(shop.cache, what.arch.debian, keep=(base.folder, system.folder, root))
        return ready


@dataclass(frozen=True, slots=True)
class Workshop:
    """Where a build works: its cache, its log, its clock."""

    cache: Path
    log: Path
    steps: Steps
    env: Mapping[str, str]

    def request(self, arch: str, packages: tuple[str, ...]) -> lock.Request:
        """A request to apt for packages from the mirror this build uses."""
        return lock.Request(arch, packages, mirror.choose(self.env), tools.apt_options())


@contextlib.contextmanager
def workshop(folder: Path) -> Iterator[Workshop]:
    """Folders for one build at a time; what an interrupted one left is swept out."""
    cache = folder / "cache"
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "lock").open("w") as guard:
        try:
            fcntl.flock(guard, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            die(f"another build is running in {folder}", "wait for it, or end it")
        sandbox.find().remove(cache / "tmp")
        (cache / "tmp").mkdir()
        log = cache / "build.log"
        log.write_bytes(b"")
        try:
            yield Workshop(cache, log, Steps(), os.environ)
        finally:
            sandbox.find().remove(cache / "tmp")


def up_to_date(shop: Workshop, folder: Path, board: str, stamp: str) -> Path | None:
    """The finished image if it was made from just this; its papers lie beside it."""
    image = folder / "images" / f"pennypost-{board}.img"
    made = shop.cache / f"made-{board}"
    names = (image, image.with_suffix(".img.xz"), folder / "images" / "SHA256SUMS")
    if not made.exists() or made.read_text() != stamp or not all(p.exists() for p in names):
        return None
    shop.steps.note("nothing has changed since the last image")
    return image


def prune(cache: Path, arch: str, keep: tuple[Path, ...]) -> None:
    """Drop layers of earlier builds; of each kind one more than the present is kept."""
    for kind in ("base", "system", "root"):
        found = sorted(cache.glob(f"{kind}-{arch}-*"), key=lambda p: p.stat().st_mtime)
        for old in [path for path in found if path not in keep][:-1]:
            sandbox.find().remove(old)


def tools_tree(shop: Workshop, *, strict: bool) -> tools.Tools:
    """The tools; with LOCKED=1 a moved version ends the build before the tree is made."""
    locked, path = lock.read(lock_path("tools")), lock_path("tools")

    def check(plan: tuple[lock.Package, ...]) -> None:
        if strict:
            lock.check_strict(lock.moved(locked, plan), path)

    kit = tools.ready(shop.cache, locked, shop.request, shop.log, check)
    tell_moves(shop, kit.packages(), locked, "tools", strict=strict)
    return kit


def new_base(
    shop: Workshop, kit: tools.Tools, what: Recipe, locked: lock.Lock, strict: bool
) -> rootfs.Base:
    """Plan and install the packages; with LOCKED=1 a moved version ends it before that."""
    request = replace(
        shop.request(what.arch.debian, what.packages), loaded_only=(what.arch.grub_package,)
    )
    plan = lock.plan(request, locked, shop.cache / "tmp" / "apt")
    if strict:
        lock.check_strict(lock.moved(locked, plan), lock_path(what.arch.debian))
    return rootfs.make_base(kit, what, request, locked, plan, shop.log)


def tell_moves(
    shop: Workshop,
    packages: tuple[lock.Package, ...],
    locked: lock.Lock,
    name: str,
    *,
    strict: bool,
) -> None:
    """Say which packages are not the locked ones of the lock file `name`."""
    changes = lock.moved(locked, packages)
    if strict:
        lock.check_strict(changes, lock_path(name))
    if not locked.packages:
        shop.steps.note("no lock file: packages are the mirror's current ones (make relock)")
    elif changes:
        shop.steps.note(f"{len(changes)} packages moved from the locked version:")
        for change in changes:
            shop.steps.note(f"  {change}")


def lock_path(name: str) -> Path:
    """The lock file of an architecture, or of the tools of this host."""
    return HERE / (f"tools-{tools.host_arch()}.lock" if name == "tools" else f"{name}.lock")


def system_files() -> overlay.Overlay:
    """What lies on the image path for path."""
    return overlay.Overlay(((SOURCE / "rootfs", "/"),))


def program_files(named: publish.Build) -> overlay.Overlay:
    """Our programs, and a note of which build this is."""
    place = rootfs.PROGRAMS
    note = {"version": named.version, "board": named.board, "source": named.source}
    return overlay.Overlay(
        (
            (SOURCE / "appliance", f"{place}/appliance"),
            (SOURCE / "hw", f"{place}/hw"),
            (SOURCE / "docs" / "manual", f"{place}/docs/manual"),  # the pages show it
        ),
        ((f"{place}/build.json", (json.dumps(note, sort_keys=True) + "\n").encode()),),
    )


def identity(what: Recipe, locked: lock.Lock) -> publish.Build:
    """The build's name: not a commit (a copy may have none) but a digest of the sources."""
    digest = hashlib.sha256()
    for folder in ("appliance", "hw", "image", "rootfs", "docs/manual"):
        digest.update(overlay.Overlay(((SOURCE / folder, folder),)).digest().encode())
    found = re.search(r'^version = "(.+)"', (SOURCE / "pyproject.toml").read_text(), re.M)
    version = found.group(1) if found else "0"
    return publish.Build(what.name, what.title, version, digest.hexdigest()[:12], locked.epoch)


def check_room(folder: Path, needed: int) -> None:
    """Refuse to start what cannot end."""
    free = shutil.disk_usage(folder).free
    if free < needed:
        die(
            f"{folder} has {free / 1e9:.1f} GB free, the build needs {needed / 1e9:.1f} GB",
            "make room (make clean deletes what earlier builds left), or build on another disk",
        )


def hand_over(
    kit: tools.Tools,
    image: Path,
    base: rootfs.Base,
    named: publish.Build,
    folder: Path,
    shop: Workshop,
) -> Path:
    """Compress, describe and give everything its final name, the image last."""
    packed = publish.compress(kit, image, shop.cache / f"xz-{named.board}", shop.log)
    stem = image.with_suffix("")
    papers = {
        stem.with_suffix(".img.bmap"): publish.block_map(image),
        stem.with_suffix(".cdx.json"): publish.manifest(named, base.packages()),
    }
    for path, text in papers.items():
        path.write_text(text)
    files = [*papers, packed, image]
    sandbox.find().own(*files)
    folder.mkdir(parents=True, exist_ok=True)
    sums = publish.checksums(files)
    for path in files:
        path.replace(folder / path.name)
    _merge_sums(folder / "SHA256SUMS", sums)
    return folder / image.name


def _merge_sums(path: Path, fresh: str) -> None:
    """One checksum file for all boards: keep the other boards' lines that still hold."""
    names = {line.split("  ", 1)[1] for line in fresh.splitlines()}
    old = path.read_text().splitlines() if path.exists() else []
    kept = [line for line in old if line.split("  ", 1)[-1] not in names]
    lines = sorted([*kept, *fresh.splitlines()], key=lambda line: line.split("  ", 1)[-1])
    draft = path.with_suffix(".new")
    draft.write_text("\n".join(lines) + "\n")
    draft.replace(path)


def main() -> int:
    """`scripts/image`: arguments in, messages and an exit code out."""
    parser = argparse.ArgumentParser(description="Build a Pennypost disk image.")
    parser.add_argument("--board", default=os.environ.get("BOARD") or "generic-amd64")
    parser.add_argument("--build", type=Path, default=SOURCE / "build", help="working folder")
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    strict = os.environ.get("LOCKED", "") not in ("", "0")
    try:
        image = build(Options(args.board, args.build.resolve(), strict, os.environ))
    except BuildError as error:
        print(f"\nNo image was made: {error.what}", file=sys.stderr)
        if error.hint:
            print(f"What to do: {error.hint}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nInterrupted. The next run goes on with what is finished.", file=sys.stderr)
        return 130
    print(f"The image is ready: {image}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
