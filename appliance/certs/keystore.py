"""Where keys lie and which pairs are live.

    keys/ca/key.pem (0600), cert.pem      the root; made once, never replaced
    keys/public/ca.crt                    the root certificate for everybody
    keys/tls.<n>/key.pem, cert.pem        pairs for the mail server's name
    keys/tls -> tls.<n>                   the live one of them
    keys/local.<n>/..., keys/local        the same for pennypost.local and addresses
    keys/dkim/<domain>/                   what mail is signed with (dkim_keys.py)

There are two lines of pairs so that somebody who sets the box up over pennypost.local, and has
told the browser to accept that certificate, does not lose the page when the host name is saved.

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
from appliance.certs.dkim_keys import DkimKeys
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
    """The keys of one box.

    `tls_group` may read host keys (the relay does TLS itself), `signing_group` those of mail.
    """

    def __init__(
        self,
        folder: Path,
        clock: Clock,
        *,
        tls_group: str | None = None,
        signing_group: str | None = None,
    ) -> None:
        self.folder = folder
        self.clock = clock
        self.tls_group = tls_group
        self.host = Line(self, "tls")
        self.local = Line(self, "local")
        self.dkim = DkimKeys(folder / "dkim", clock, group=signing_group)

    @property
    def public_root(self) -> Path:
        return self.folder / "public" / "ca.crt"

    def root(self) -> KeyPair:
        """The root of this box; made when there is none."""
        folder = self.folder / "ca"
        if not folder.exists():
            self.write_pair(folder, local_ca.make_root(self.clock.now()), group=None)
        pair = _read_pair(folder)
        if not _holds(self.public_root, pair.certificate_pem):
            self.public_root.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
            replace_file(self.public_root, pair.certificate_pem, mode=0o644)
        return pair

    def write_pair(self, folder: Path, pair: KeyPair, *, group: str | None) -> None:
        """Make `folder` with the pair in it: whole, or not at all."""
        draft = folder.with_name(folder.name + ".new")
        shutil.rmtree(draft, ignore_errors=True)  # left by a power cut
        # Everybody may walk through keys/ (the root certificate is public); not into the pairs.
        self.folder.mkdir(mode=0o755, parents=True, exist_ok=True)
        draft.mkdir(mode=0o700)
        key_mode = 0o640 if group else 0o600
        replace_file(draft / "key.pem", pair.key_pem, mode=key_mode, group=group)
        replace_file(draft / "cert.pem", pair.certificate_pem, mode=0o644)
        if group:
            shutil.chown(draft, group=group)
            draft.chmod(0o750)
        draft.rename(folder)
        fsync_directory(self.folder)


class Line:
    """The pairs for one purpose, one after the other; `name` is the link to the live one."""

    def __init__(self, keystore: Keystore, name: str) -> None:
        self._keystore = keystore
        self._name = name

    @property
    def _link(self) -> Path:
        return self._keystore.folder / self._name

    def live(self) -> HostPair | None:
        """The pair behind the link; None before the first one."""
        return HostPair(self._link.resolve()) if self._link.exists() else None

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
        root = self._keystore.root().certificate_pem
        return local_ca.why_renew(certificate, root, subject, self._keystore.clock.now())

    def pair_for(self, subject: Subject, *, least: Subject | None = None) -> HostPair:
        """The live pair if it does for `least` (else: for `subject`) and is in time.

        If not, a new one for `subject`, which is not live yet.
        """
        root, live, why = self._keystore.root(), self.live(), self.why_due(least or subject)
        if live is not None and not why:
            return live
        number = max(self._numbers(), default=0) + 1
        folder = self._link.with_name(f"{self._name}.{number}")
        pair = local_ca.make_host(root, subject, self._keystore.clock.now())
        self._keystore.write_pair(folder, pair, group=self._keystore.tls_group)
        return HostPair(folder, renewed_because=why)

    def make_live(self, pair: HostPair) -> None:
        """Point the link at `pair`, and forget old pairs."""
        link = self._link
        if not (link.is_symlink() and os.readlink(link) == pair.folder.name):
            fresh = link.with_name(self._name + ".link")
            fresh.unlink(missing_ok=True)
            fresh.symlink_to(pair.folder.name)
            fresh.rename(link)
            fsync_directory(link.parent)
        self._forget_old(pair.folder)

    def discard(self, pair: HostPair) -> None:
        """Take away a pair that did not become live."""
        live = self.live()
        if live is None or live.folder != pair.folder.resolve():
            shutil.rmtree(pair.folder, ignore_errors=True)

    def _numbers(self) -> dict[int, Path]:
        found = {}
        for path in self._link.parent.glob(f"{self._name}.*"):
            number = path.name.removeprefix(f"{self._name}.")
            if number.isdecimal() and path.is_dir():
                found[int(number)] = path
        return found

    def _forget_old(self, live: Path) -> None:
        """Keep the newest ones and the live one: a running nginx may still read the one before."""
        paths = [path for _, path in sorted(self._numbers().items())]
        for path in paths[:-KEPT_PAIRS]:
            if path.name != live.name:
                shutil.rmtree(path, ignore_errors=True)


def _read_pair(folder: Path) -> KeyPair:
    return KeyPair((folder / "key.pem").read_bytes(), (folder / "cert.pem").read_bytes())


def _holds(path: Path, data: bytes) -> bool:
    return path.is_file() and path.read_bytes() == data
