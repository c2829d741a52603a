"""The box's own Dovecot 2.4, in Debian 13's tree, with the configuration that the box renders.

Its folder lies in the tree, so that the chroot sees it; all is ended by its pid.
"""

from __future__ import annotations

import dataclasses
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import pytest

from appliance.accounts.users import User
from appliance.render import dovecot
from appliance.render.dovecot_users import write_files
from appliance.settings import schema
from tests.support import trixie_tree
from tests.support.ports import free_ports
from tests.support.wait import wait_until

PACKAGES = (
    "dovecot-imapd", "dovecot-pop3d", "dovecot-lmtpd", "dovecot-sieve", "dovecot-managesieved",
    "dovecot-flatcurve", "python3",
)  # fmt: skip
SCRIPTS = Path("rootfs/usr/lib/pennypost").resolve()
MAIL_ID, RELAY_ID = 866, 862  # as rootfs/usr/lib/sysusers.d has them


def make() -> Path:
    """The tree with the users of the box. Raises RuntimeError when it cannot be made here."""
    tree = trixie_tree.make("test-dovecot", PACKAGES)
    for name, number in ((dovecot.MAIL_USER, MAIL_ID), (dovecot.LMTP_GROUP, RELAY_ID)):
        _have_line(tree / "etc/passwd", f"{name}:x:{number}:{number}::/nonexistent:/bin/false")
        _have_line(tree / "etc/group", f"{name}:x:{number}:")
    return tree


def _have_line(path: Path, line: str) -> None:
    text = path.read_text()
    if line not in text.splitlines():
        path.write_text(text + line + "\n")


class DovecotTree:
    """`socket` is the path of its LMTP socket; `ports` are those of IMAP, POP3
    and ManageSieve."""

    def __init__(
        self,
        users: Sequence[User],
        certificate: tuple[Path, Path],
        settings: Mapping[str, Any] | None = None,
        *,
        policy: str = "",
        edit: Callable[[str], str] = lambda text: text,
    ) -> None:
        """`certificate` and its key are copied in. `edit` is what a test does to the
        configuration before Dovecot reads it."""
        try:
            self.tree = make()
        except RuntimeError as error:
            pytest.fail(str(error))
        self.folder = Path(tempfile.mkdtemp(prefix="t-", dir=self.tree / "srv"))
        self.folder.chmod(0o755)
        self.inside = Path("/") / self.folder.relative_to(self.tree)
        self.socket = str(self.folder / "run/lmtp")
        self.relay_socket = self.folder / "relay.sock"  # where filters send what they send
        self.learn_socket = self.folder / "learn/learn.sock"  # the spam filter's
        self.learn_socket.parent.mkdir()
        self.learn_socket.parent.chmod(0o777)
        self.mail = self.folder / "mail"
        self.users_folder = self.folder / "users"
        for path in (self.mail, self.users_folder, self.folder / "run"):
            path.mkdir()
        (self.mail / "homes").mkdir(mode=0o700)
        os.chown(self.mail / "homes", MAIL_ID, MAIL_ID)
        for path, name in zip(certificate, ("certificate.pem", "key.pem"), strict=True):
            shutil.copy(path, self.folder / name)
        names = [field.name for field in dataclasses.fields(dovecot.Ports)]
        self.ports = dovecot.Ports(**dict(zip(names, free_ports(len(names)), strict=True)))
        self.settings = schema.from_json(
            {
                "mail.main_domain": "example.com",
                "mail.hostname": "box.example.com",
                "mailboxes.enabled": True,
                "mailboxes.pop3": True,
                "mailboxes.pop3s": True,
                "mailboxes.managesieve": True,
                **(settings or {}),
            }
        )
        where = dovecot.Where(
            mail=self.inside / "mail",
            users=self.inside / "users",
            base=self.inside / "run",
            rendered=self.inside,
            scripts=self.inside,
            certificate=self.inside / "certificate.pem",
            key=self.inside / "key.pem",
            ports=self.ports,
            listen="127.0.0.1",
            log=f"{self.inside}/log",
            policy=policy,
            relay=self.inside / "relay.sock",
            learn=self.inside / "learn/learn.sock",
        )
        text = edit(dovecot.configuration(self.settings, where))
        (self.folder / dovecot.FILE).write_text(text)
        for name, text in dovecot.beside(where).items():
            (self.folder / name).write_text(text)
        for name in ("bin", "sieve"):
            shutil.copytree(SCRIPTS / name, self.folder / name)
        self.put_users(users)

    def put_users(self, users: Sequence[User], *, ready: bool = True) -> None:
        """Have these accounts from now on; `ready` is whether the mailbox disk is there."""
        write_files(self.users_folder, users, ready=ready)

    def run(self, *command: str, **more: Any) -> subprocess.CompletedProcess[str]:
        """A program of the tree, such as `doveadm`, with this configuration by `-c`."""
        argv = ["chroot", str(self.tree), command[0], "-c", f"{self.inside}/{dovecot.FILE}"]
        return subprocess.run([*argv, *command[1:]], capture_output=True, text=True, **more)

    def home(self, login: str) -> Path:
        """The folder of a mailbox."""
        return self.mail / "homes" / login

    def log(self) -> str:
        """What it has said."""
        path = self.folder / "log"
        return path.read_text() if path.exists() else ""

    def __enter__(self) -> Self:
        command = ["chroot", str(self.tree), "/usr/sbin/dovecot", "-F"]
        self._process = subprocess.Popen(
            [*command, "-c", f"{self.inside}/{dovecot.FILE}"],
            stdin=subprocess.DEVNULL,
            stdout=(self.folder / "output").open("wb"),
            stderr=subprocess.STDOUT,
        )
        wait_until(self._is_up, what="Dovecot 2.4", timeout_seconds=60)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            print(self.log()[-4000:])
        self._process.terminate()
        self._process.wait(30)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _is_up(self) -> bool:
        if self._process.poll() is not None:
            raise AssertionError((self.folder / "output").read_text() + self.log())
        try:
            with socket.socket(socket.AF_UNIX) as lmtp:
                lmtp.settimeout(5)
                lmtp.connect(self.socket)
                return lmtp.recv(100).startswith(b"220 ")
        except OSError:
            return False
