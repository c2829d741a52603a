"""One run of mmdebstrap: which options, hooks and exclusions make a tree we can use."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path

from image import lock
from image.mirror import SUITE

# Not on the image; dpkg never unpacks it. Licences (copyright files) stay.
UNPACKED_NEVER = (
    "/usr/share/man/*",
    "/usr/share/info/*",
    "/usr/share/locale/*",
    "/usr/share/doc/*",
    "/usr/share/lintian/*",
    "/usr/share/bug/*",
    "/usr/share/bash-completion/*",
    "/usr/share/zsh/*",
    # rspamd's package asks for all of Perl, for a statistics script. What Debian itself needs of
    # Perl is in perl-base. (Its web interface goes too, but later: its postinst copies it.)
    "/usr/share/perl/*",
    "/usr/lib/*/perl/*",
    "/usr/lib/*/libperl.so.*",
    "/usr/bin/rspamd_stats",
    "/usr/lib/modules/*/kernel/sound/*",
    "/usr/lib/modules/*/kernel/drivers/media/*",
    "/usr/lib/modules/*/kernel/drivers/net/wireless/*",
    "/usr/lib/modules/*/kernel/drivers/bluetooth/*",
    "/usr/lib/modules/*/kernel/drivers/infiniband/*",
    "/usr/lib/modules/*/kernel/drivers/comedi/*",
    "/usr/lib/modules/*/kernel/drivers/iio/*",
    "/usr/lib/modules/*/kernel/drivers/isdn/*",
    "/usr/lib/modules/*/kernel/drivers/staging/*",
    "/usr/lib/modules/*/kernel/drivers/accel/*",
    "/usr/lib/modules/*/kernel/drivers/gpu/drm/amd/*",
    "/usr/lib/modules/*/kernel/drivers/gpu/drm/i915/*",
    "/usr/lib/modules/*/kernel/drivers/gpu/drm/nouveau/*",
    "/usr/lib/modules/*/kernel/drivers/gpu/drm/radeon/*",
    "/usr/lib/modules/*/kernel/drivers/gpu/drm/xe/*",
    "/usr/lib/modules/*/kernel/net/bluetooth/*",
    "/usr/lib/modules/*/kernel/net/mac80211/*",
)
UNPACKED_ALWAYS = ("/usr/share/doc/*/copyright",)


@dataclass(frozen=True, slots=True)
class Bootstrap:
    """One run of mmdebstrap; `epoch` is the date of its files, in seconds since 1970."""

    request: lock.Request
    epoch: int
    hooks: tuple[str, ...] = ()
    dpkg_options: tuple[str, ...] = ()

    def argv(self, target: str, preferences: str) -> list[str]:
        """The command that writes the tree as a tar archive to `target`."""
        apt = ('Acquire::Languages "none"', 'Acquire::Retries "2"', *self.request.apt_options)
        pin = f'cp {shlex.quote(preferences)} "$1"/etc/apt/preferences.d/locked'
        return [
            "env",
            f"SOURCE_DATE_EPOCH={self.epoch}",
            "mmdebstrap",
            "--mode=root",
            "--variant=essential",
            f"--architectures={self.request.arch}",
            f"--include={','.join(self.request.packages)}",
            *(f"--aptopt={option.rstrip(';')}" for option in apt),
            # An interrupted tree is thrown away, so nothing needs to be flushed.
            *(f"--dpkgopt={option}" for option in ("force-unsafe-io", *self.dpkg_options)),
            f'--setup-hook=mkdir -p "$1"/etc/apt/preferences.d && {pin}',
            *self.hooks,
            '--customize-hook=rm -f "$1"/etc/apt/preferences.d/locked',
            SUITE,
            target,
            *self.request.mirror.sources(),
        ]


def path_options() -> tuple[str, ...]:
    """dpkg options for what is never unpacked."""
    return (
        *(f"path-exclude={path}" for path in UNPACKED_NEVER),
        *(f"path-include={path}" for path in UNPACKED_ALWAYS),
    )


# Slow things maintainer scripts would do several times; done once, later, by us.
POSTPONED = ("/usr/sbin/update-initramfs", "/usr/bin/py3compile")


def user_hook(users: Path) -> str:
    """A hook that makes the packages' users beforehand, with numbers that never change.

    Packages take the next free number in the order they happen to be configured in;
    but files on the data partition outlive an update, so the numbers must not move.
    """
    lines = []
    for row in users.read_text().splitlines():
        words = row.split("#")[0].split()
        if not words:
            continue
        name, number, home = words
        lines.append(
            f"echo '{name}:x:{number}:{number}::{home}:/usr/sbin/nologin' >>\"$1\"/etc/passwd"
        )
        lines.append(f"echo '{name}:x:{number}:' >>\"$1\"/etc/group")
        lines.append(f"echo '{name}:!*::::::::' | sed s/:$// >>\"$1\"/etc/shadow")
    return "; ".join(lines)


def postpone_hooks() -> tuple[str, str]:
    """Hooks that switch the postponed programs off and on again."""
    off, on = [], []
    for path in POSTPONED:
        divert = f"--local --rename --divert {path}.later {path}"
        off.append(f'chroot "$1" dpkg-divert --quiet {divert.replace("--local", "--local --add")}')
        off.append(f'mkdir -p "$(dirname "$1"{path})"')
        off.append(f'printf "#!/bin/sh\\nexit 0\\n" >"$1"{path}; chmod 755 "$1"{path}')
        on.append(
            f'rm "$1"{path}; chroot "$1" dpkg-divert --quiet --local --rename --remove {path}'
        )
    return "; ".join(off), "; ".join(on)


def deb_cache_hooks(folder: str) -> tuple[str, str]:
    """Hooks that keep every .deb in `folder` (hard links, so it costs nothing)."""
    archives = '"$1"/var/cache/apt/archives'
    fetch = f"mkdir -p {archives}; ln -f {folder}/*.deb {archives}/ 2>/dev/null || true"
    keep = f"ln -f {archives}/*.deb {folder}/ 2>/dev/null || true"
    return fetch, keep


def image_hooks(
    *, debs: str, users: Path, clean: str, grub: tuple[str, str, str]
) -> tuple[str, ...]:
    """All hooks for the image's base layer, in mmdebstrap's own order of stages.

    `grub` is its package, the file wanted from it and where that goes.
    """
    fetch, keep = deb_cache_hooks(debs)
    off, on = postpone_hooks()
    package, file, target = grub
    load = (
        'cd "$1"/tmp && APT_CONFIG="$MMDEBSTRAP_APT_CONFIG" apt-get -q download '
        f"{package} && ln -f ./{package}_*.deb {debs}/"
        f" && dpkg-deb --fsys-tarfile ./{package}_*.deb | tar -xO ./{file} >{target}"
        f" && rm ./{package}_*.deb"
    )
    return (
        "--skip=essential/unlink",
        f"--setup-hook={fetch}",
        f"--essential-hook={user_hook(users)}",
        f"--essential-hook={off}",
        f"--customize-hook={on}",
        f"--customize-hook={keep}",
        f"--customize-hook={load}",
        f"--customize-hook={clean}",
    )
