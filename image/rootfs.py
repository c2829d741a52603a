"""The root file system: Debian packages, then `rootfs/`, then our own programs.

Three layers, each kept in the cache and made again only when its inputs change:

    base      Debian packages, installed by mmdebstrap              (a minute; arm64: ten)
    system    + rootfs/, users, enabled units, kernel and initrd    (half a minute)
    root      + appliance/ and hw/, byte-compiled; goes into a slot (seconds)

Archives are normalised: sorted names, numeric owners, no date later than the lock
file's. Everything that would tell two devices or two builds apart is left out.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from image import bootstrap, lock, overlay, sandbox
from image.recipe import HERE, Recipe
from image.run import die
from image.tools import Tools

SECONDS_A_DAY = 86_400
PROGRAMS = "/usr/lib/pennypost"
ROOT_SQUASHFS = ("-comp", "zstd", "-Xcompression-level", "9", "-b", "256K")


@dataclass(frozen=True, slots=True)
class Base:
    """The installed Debian packages, and GRUB's own package beside them."""

    folder: Path

    @property
    def archive(self) -> Path:
        """The tree as a tar archive."""
        return self.folder / "base.tar"

    @property
    def grub(self) -> Path:
        """GRUB's monolithic EFI program."""
        return self.folder / "grub.efi"

    def packages(self) -> tuple[lock.Package, ...]:
        """Every package in the tree with version, architecture and checksum."""
        rows = json.loads((self.folder / "packages.json").read_text())
        return tuple(lock.Package(**row) for row in rows)


@dataclass(frozen=True, slots=True)
class System:
    """The tree with `rootfs/` in it, and what a boot slot needs."""

    folder: Path

    @property
    def archive(self) -> Path:
        """The tree as a tar archive."""
        return self.folder / "system.tar"

    @property
    def slot(self) -> Path:
        """The folder with kernel, initrd and device trees."""
        return self.folder / "slot"


def key(*parts: object) -> str:
    """A short name for everything that decides a layer's content."""
    return hashlib.sha256("\0".join(map(str, parts)).encode()).hexdigest()[:16]


def base_key(recipe: Recipe, locked: lock.Lock) -> str:
    """Names the base layer; reads no network, so that a cached one works without."""
    code = [(HERE / name).read_text() for name in ("bootstrap.py", "users.list", "clean.sh")]
    pins = [f"{p.name}={p.version}={p.sha256}" for p in locked.packages]
    return key(recipe.arch.debian, *recipe.packages, locked.epoch, *pins, *code)


def cached_base(cache: Path, recipe: Recipe, locked: lock.Lock) -> Base | None:
    """The base layer if an earlier build left it."""
    folder = cache / f"base-{recipe.arch.debian}-{base_key(recipe, locked)}"
    return Base(folder) if folder.exists() else None


def make_base(
    tools: Tools,
    recipe: Recipe,
    request: lock.Request,
    locked: lock.Lock,
    plan: tuple[lock.Package, ...],
    log: Path,
) -> Base:
    """Install the planned packages into a tree of their own (needs the mirror)."""
    arch = recipe.arch
    work = tools.cache / "tmp" / f"base-{arch.debian}"
    work.mkdir(parents=True)
    debs = tools.cache / "debs" / arch.debian
    debs.mkdir(parents=True, exist_ok=True)
    (work / "pins").write_text(lock.pins(plan))
    hooks = bootstrap.image_hooks(
        debs=tools.inside(debs),
        users=HERE / "users.list",
        clean=f'/src/image/clean.sh "$1" {locked.epoch // SECONDS_A_DAY}',
        grub=(arch.grub_package, arch.grub_file, tools.inside(work / "grub.efi")),
    )
    run = bootstrap.Bootstrap(request, locked.epoch, hooks, bootstrap.path_options())
    tools.run(
        run.argv(tools.inside(work / "base.tar"), tools.inside(work / "pins")),
        env={"TMPDIR": "/cache/tmp"},
        log=log,
        hint=f"the whole log is in {log}",
    )
    (work / "packages.json").write_text(json.dumps([_row(p) for p in plan], indent=1))
    return Base(work.rename(tools.cache / f"base-{arch.debian}-{base_key(recipe, locked)}"))


def _row(package: lock.Package) -> dict[str, str]:
    return {
        "name": package.name,
        "version": package.version,
        "sha256": package.sha256,
        "arch": package.arch,
    }


def system(tools: Tools, base: Base, files: overlay.Overlay, epoch: int, log: Path) -> System:
    """Lay `rootfs/` over the base and finish it; kept until either of them changes."""
    code = [(HERE / name).read_text() for name in ("system.sh", "clean.sh", "rootfs.py")]
    arch = base.folder.name.split("-")[1]
    target = tools.cache / f"system-{arch}-{key(base.folder.name, files.digest(), *code)}"
    if not target.exists():
        _make_system(tools, base, files, epoch, log).rename(target)
    return System(target)


def _make_system(tools: Tools, base: Base, files: overlay.Overlay, epoch: int, log: Path) -> Path:
    box = sandbox.find()
    work = tools.cache / "tmp" / f"{base.folder.name}-system"
    tree, inside = work / "tree", tools.inside(work)
    tree.mkdir(parents=True)
    files.write_tar(work / "rootfs.tar", epoch)
    unpack = "tar -x --numeric-owner --no-overwrite-dir --keep-directory-symlink -C tree -f"
    without_dev = unpack.replace(" -C", " --anchored --exclude='./dev/*' -C")
    copy = f"cd {inside}; {without_dev} {tools.inside(base.archive)}; {unpack} rootfs.tar"
    tools.run(["sh", "-ec", copy], log=log)
    box.run(["cp", str(HERE / "system.sh"), str(tree / "system.sh")])
    env = {"SOURCE_DATE_EPOCH": str(epoch), "LC_ALL": "C"}
    sandbox.chroot(tree, ["sh", "/system.sh"], env=env, log=log, hint=f"see {log}")
    tools.run(["sh", "-ec", _finish(inside, epoch)], log=log, hint=f"see {log}")
    box.own(work, work / "system.tar")
    return work


def _finish(inside: str, epoch: int) -> str:
    """Compile all Python, take the boot files out, clean and pack."""
    return f"""
        cd {inside}
        rm tree/system.sh rootfs.tar
        mv tree/boot/slot slot
        find tree/usr/lib/python3* -name __pycache__ -prune -exec rm -rf {{}} +
        {compile_python("tree", "usr/lib/python3", "usr/lib/python3.13")}
        /src/image/clean.sh "$PWD/tree" {epoch // SECONDS_A_DAY}
        find tree/dev -mindepth 1 -delete
        tar -c --sort=name --numeric-owner --xattrs --xattrs-include='*' \
            --format=pax --pax-option=exthdr.name=%d/%f,delete=atime,delete=ctime \
            --mtime=@{epoch} --clamp-mtime -C tree -f system.tar .
        rm -rf tree
        chmod -R a+rX slot
    """


def compile_python(tree: str, *folders: str) -> str:
    """Byte-compile without asking for dates, which the image changes.

    One process in a fixed order: the bytes of a .pyc depend on what the same
    process compiled before.
    """
    places = " ".join(f"{tree}/{folder}" for folder in folders)
    return (
        f"PYTHONHASHSEED=0 python3 -E -S -m compileall -q --invalidation-mode unchecked-hash"
        f" -s {tree} -p / {places} || true"
    )


def root_slot(tools: Tools, base: System, files: overlay.Overlay, epoch: int, log: Path) -> Path:
    """The finished root as a squashfs: the system layer plus our programs."""
    arch = base.folder.name.split("-")[1]
    name = f"root-{arch}-{key(base.folder.name, files.digest(), *ROOT_SQUASHFS)}.squashfs"
    target = tools.cache / name
    if target.exists():
        return target
    work = tools.cache / "tmp" / target.stem
    (work / "tree").mkdir(parents=True)
    files.write_tar(work / "files.tar", epoch)
    tools.run(["sh", "-ec", _pack_root(tools, base, work, epoch)], log=log, hint=f"see {log}")
    (work / "root").rename(target)
    return target


def _pack_root(tools: Tools, base: System, work: Path, epoch: int) -> str:
    """`-ignore-zeros` lets two archives follow each other."""
    stamp = f"-mkfs-time {epoch} -root-time {epoch} -root-mode 755 -root-uid 0 -root-gid 0"
    return f"""
        cd {tools.inside(work)}
        tar -x -f files.tar -C tree
        {compile_python("tree", PROGRAMS.lstrip("/"))}
        tar -c --sort=name --numeric-owner --owner=0 --group=0 --format=pax \
            --pax-option=exthdr.name=%d/%f,delete=atime,delete=ctime \
            --mtime=@{epoch} -C tree -f programs.tar .
        cat {tools.inside(base.archive)} programs.tar |
            sqfstar -ignore-zeros {" ".join(ROOT_SQUASHFS)} {stamp} -no-progress -quiet root
    """


def boot_slot(tools: Tools, base: System, epoch: int, log: Path) -> Path:
    """Kernel, initrd and device trees as a squashfs that GRUB can read.

    GRUB's squashfs knows xz but not zstd. The files are compressed already, so
    their blocks are stored as they are.
    """
    target = base.folder / "boot.squashfs"
    if not target.exists():
        part = base.folder / "boot.part"
        part.unlink(missing_ok=True)
        options = f"-comp xz -noD -noF -mkfs-time {epoch} -all-time {epoch} -all-root"
        script = f"""
            cd {tools.inside(base.folder)}
            printf 'set slot_format=1\\nset slot_build={base.folder.name}\\n' >slot/slot.cfg
            mksquashfs slot boot.part {options} -no-progress -quiet
        """
        tools.run(["sh", "-ec", script], log=log)
        part.rename(target)
    return target


def check_fits(path: Path, limit_bytes: int, what: str) -> None:
    """A slot has a fixed size; more than that can't be shipped."""
    size = path.stat().st_size
    if size > limit_bytes:
        die(f"{what} has {size >> 20} MiB and must fit into {limit_bytes >> 20} MiB")
