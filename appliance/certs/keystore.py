"""Where keys lie and which pair is live.

    keys/ca/key.pem (0600), cert.pem      the root; made once, never replaced
    keys/public/ca.crt                    the root certificate for everybody
    keys/tls.<n>/key.pem, cert.pem        host pairs; each folder is whole or absent
    keys/tls -> tls.<n>                   the live pair

A pair is written into a folder under another name which is then renamed, so a power cut leaves a
whole pair or none. A configuration names the folder of its own pair (`tls.<n>`), not the link:
going back to the old configuration is going back to the old pair. The link is for everything else.
"""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from appliance.base.clock import Clock
from appliance.base.files import fsync_directory, replace_file
from appliance.certs import local_ca
from appliance.certs.local_ca import KeyPair, Subject

KEPT_PAIRS = 2


@dataclass(frozen=True, slots=True)
class HostPair:
    """The folder of a host pair, and whether it was made just now and why."""

    folder: Path
    renewed_because: str = ""

    @property
    def key(self) -> Path:
        return self.folder / "key.pem"

    @property
    def certificate(self) -> Path:
        return self.folder / "cert.pem"


class Keystore:
    """The keys of one box. `tls_group` may read the host key (the relay does TLS itself)."""

    def __init__(self, folder: Path, clock: Clock, *, tls_group: str | None = None) -> None:
        self._folder = folder
        self._clock = clock
        self._tls_group = tls_group

    @property
    def public_root(self) -> Path:
        return self._folder / "public" / "ca.crt"

    def root(self) -> KeyPair:
        """The root of this box; made when there is none."""
        folder = self._folder / "ca"
        if not folder.exists():
            self._write_pair(folder, local_ca.make_root(self._clock.now()), group=None)
        pair = _read_pair(folder)
        if not _holds(self.public_root, pair.certificate_pem):
            self.public_root.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
            replace_file(self.public_root, pair.certificate_pem, mode=0o644)
        return pair

    def live(self) -> HostPair | None:
        """The pair behind the link; None before the first one."""
        link = self._folder / "tls"
        return HostPair(link.resolve()) if link.exists() else None

    def why_due(self, subject: Subject) -> str:
        """Why the live pair does not do for `subject`; empty when it does."""
        live = self.live()
        if live is None:
            return "there is none yet"
        try:
            certificate = live.certificate.read_bytes()
            live.key.read_bytes()
        except OSError:
            return "its files cannot be read"
        root = self.root().certificate_pem
        return local_ca.why_renew(certificate, root, subject, self._clock.now())

    def pair_for(self, subject: Subject) -> HostPair:
        """The live pair if it covers `subject` and is in time, else a new one (not yet live)."""
        root, live, why = self.root(), self.live(), self.why_due(subject)
        if live is not None and not why:
            return live
        folder = self._folder / f"tls.{self._last_number() + 1}"
        pair = local_ca.make_host(root, subject, self._clock.now())
        self._write_pair(folder, pair, group=self._tls_group)
        return HostPair(folder, renewed_because=why)

    def make_live(self, pair: HostPair) -> None:
        """Point the link at `pair`, and forget old pairs."""
        link = self._folder / "tls"
        if not (link.is_symlink() and os.readlink(link) == pair.folder.name):
            fresh = self._folder / "tls.link"
            fresh.unlink(missing_ok=True)
            fresh.symlink_to(pair.folder.name)
            fresh.rename(link)
            fsync_directory(self._folder)
        self._forget_old(pair.folder)

    def discard(self, pair: HostPair) -> None:
        """Take away a pair that did not become live."""
        live = self.live()
        if live is None or live.folder != pair.folder.resolve():
            shutil.rmtree(pair.folder, ignore_errors=True)

    def _write_pair(self, folder: Path, pair: KeyPair, *, group: str | None) -> None:
        draft = folder.with_name(folder.name + ".new")
        shutil.rmtree(draft, ignore_errors=True)  # left by a power cut
        # Everybody may walk through keys/ (the root certificate is public); not into the pairs.
        self._folder.mkdir(mode=0o755, parents=True, exist_ok=True)
        draft.mkdir(mode=0o700)
        key_mode = 0o640 if group else 0o600
        replace_file(draft / "key.pem", pair.key_pem, mode=key_mode, group=group)
        replace_file(draft / "cert.pem", pair.certificate_pem, mode=0o644)
        if group:
            shutil.chown(draft, group=group)
            draft.chmod(0o750)
        draft.rename(folder)
        fsync_directory(self._folder)

    def _numbers(self) -> dict[int, Path]:
        found = {}
        for path in self._folder.glob("tls.*"):
            number = path.name.removeprefix("tls.")
            if number.isdecimal() and path.is_dir():
                found[int(number)] = path
        return found

    def _last_number(self) -> int:
        return max(self._numbers(), default=0)

    def _forget_old(self, live: Path) -> None:
        """Keep the live pair and the one before: a running nginx may still read that."""
        kept = sorted(self._numbers().items())[-KEPT_PAIRS:]
        for _, path in sorted(self._numbers().items()):
            if path.name != live.name and path not in [kept_path for _, kept_path in kept]:
                shutil.rmtree(path, ignore_errors=True)


def _read_pair(folder: Path) -> KeyPair:
    return KeyPair((folder / "key.pem").read_bytes(), (folder / "cert.pem").read_bytes())


def _holds(path: Path, data: bytes) -> bool:
    return path.is_file() and path.read_bytes() == data
