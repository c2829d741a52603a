"""The tools tree: the programs that make the image, from trixie, whatever the host is.

Debian 12's mksquashfs and Debian 13's give different bytes for the same input. So the
host contributes only mmdebstrap, which makes a small trixie tree once; everything
that leaves a mark on the image runs inside that tree.
"""

from __future__ import annotations

import hashlib
import json
import platform
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from image import lock, mirror, recipe, sandbox
from image.bootstrap import Bootstrap
from image.run import die, run

PACKAGES = (
    "apt",
    "arch-test",
    "debian-archive-keyring",
    "ca-certificates",
    "dosfstools",
    "mmdebstrap",
    "mtools",
    "python3",
    "squashfs-tools",
    "xz-utils",
    "zstd",
)
# What the host itself must have: programs and the Debian package of each.
HOST = {
    "apt-get": "apt",
    "mmdebstrap": "mmdebstrap",
    "unshare": "util-linux",
    "tar": "tar",
}
PLAN = "packages.json"  # in the tree: the packages it was made of
NAMES = {"x86_64": "amd64", "aarch64": "arm64"}


@dataclass(frozen=True, slots=True)
class Tools:
    """The tree, and the folder of the build that its programs see as `/cache`."""

    tree: Path
    cache: Path

    def run(
        self,
        command: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        log: Path | None = None,
        hint: str = "",
    ) -> str:
        """Run a program of the tools tree; `/cache` and `/src` are the build's folders."""
        binds = {self.cache: "/cache", recipe.SOURCE: "/src"}
        for name in ("/etc/resolv.conf", "/etc/hosts"):
            if Path(name).is_file():
                binds[Path(name)] = name
        return sandbox.chroot(self.tree, command, binds=binds, env=env, log=log, hint=hint)

    def packages(self) -> tuple[lock.Package, ...]:
        """What was installed in the tree."""
        rows = json.loads((self.tree / PLAN).read_text())
        return tuple(lock.Package(**row) for row in rows)

    def inside(self, path: Path) -> str:
        """How a path under the cache is called inside the tree."""
        return f"/cache/{path.relative_to(self.cache)}"


def host_arch() -> str:
    """This machine's architecture in Debian's words."""
    machine = platform.machine()
    if machine not in NAMES:
        die(f"images can't be built on {machine}", "use an amd64 or arm64 machine")
    return NAMES[machine]


def check_host(target: str) -> None:
    """The host's own programs, and the emulation a foreign architecture needs."""
    if missing := sorted({pkg for name, pkg in HOST.items() if not shutil.which(name)}):
        die(f"this host lacks {', '.join(missing)}", f"apt-get install {' '.join(missing)}")
    if not mirror.KEYRING.exists():
        die("this host lacks Debian's archive keys", "apt-get install debian-archive-keyring")
    if target == host_arch():
        return
    name = recipe.ARCHES[target].qemu
    if not Path(f"/proc/sys/fs/binfmt_misc/qemu-{name}").exists():
        die(
            f"this {host_arch()} host can't run {target} programs",
            "apt-get install qemu-user-static binfmt-support, and if that is there already:"
            " mount -t binfmt_misc binfmt_misc /proc/sys/fs/binfmt_misc;"
            f" update-binfmts --enable qemu-{name}",
        )


def key(locked: lock.Lock) -> str:
    """Names a tools tree by all that decides its content."""
    parts = [host_arch(), PLAN, *PACKAGES, *(f"{p.name}={p.version}" for p in locked.packages)]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def ready(
    cache: Path,
    locked: lock.Lock,
    request: Callable[[str, tuple[str, ...]], lock.Request],
    log: Path,
    check: Callable[[tuple[lock.Package, ...]], None] = lambda _: None,
) -> Tools:
    """The tools tree, made first if it is not there yet (needs the mirror then).

    `check` looks at the packages before the tree is made of them, and may raise BuildError.
    """
    tree = cache / f"tools-{key(locked)}"
    if not tree.exists():
        wanted = request(host_arch(), PACKAGES)
        plan = lock.plan(wanted, locked, cache / "tmp" / "apt-tools")
        check(plan)
        _make(tree, locked.epoch, wanted, plan, cache, log)
    return Tools(tree, cache)


def _make(
    tree: Path,
    epoch: int,
    request: lock.Request,
    plan: tuple[lock.Package, ...],
    cache: Path,
    log: Path,
) -> None:
    box = sandbox.find()
    preferences = cache / "tmp" / "tools.pref"
    preferences.write_text(lock.pins(plan))
    listed = cache / "tmp" / PLAN
    listed.write_text(json.dumps([asdict(package) for package in plan]))
    archive = cache / "tmp" / "tools.tar"
    unpacked = cache / "tmp" / "tools"
    bootstrap = Bootstrap(request, epoch)
    box.run(
        [*bootstrap.argv(str(archive), str(preferences))],
        log=log,
        hint=f"the whole log is in {log}",
    )
    box.remove(unpacked)
    unpacked.mkdir()
    # Device nodes are not for everybody to make; the host's /dev is mounted there anyway.
    options = ["--numeric-owner", "--anchored", "--exclude=./dev/*"]
    box.run(["tar", "-x", *options, "-C", str(unpacked), "-f", str(archive)])
    box.remove(archive)
    box.run(["mv", str(listed), str(unpacked / PLAN)])
    box.run(["mv", str(unpacked), str(tree)])


def apt_options() -> tuple[str, ...]:
    """The host's way to its mirror, as apt options."""
    return tuple(mirror.apt_options(run(["apt-config", "dump"])))
