"""A real Dovecot 2.3 or 2.4 that takes mail by LMTP, in a folder of its own, ended by its pid."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path
from typing import Self

import pytest

from tests.support.ports import free_port
from tests.support.wait import wait_until

PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
COMMON = """
base_dir = {folder}/run
state_dir = {folder}/state
log_path = {folder}/log
protocols = {protocols}
ssl = no
default_internal_user = {user}
default_login_user = {user}
default_internal_group = {group}
mail_uid = {user}
mail_gid = {group}
first_valid_uid = 1
postmaster_address = postmaster@example.com
service stats {{
  chroot =
}}
service anvil {{
  chroot =
}}
service lmtp {{
  unix_listener {folder}/lmtp {{
    mode = 0666
  }}
  inet_listener lmtp {{
    {listen} = 127.0.0.1
    port = {port}
  }}
}}
"""
IMAP = """
disable_plaintext_auth = no
service imap-login {{
  chroot =
  inet_listener imap {{
    {listen} = 127.0.0.1
    port = {imap_port}
  }}
  inet_listener imaps {{
    port = 0
  }}
}}
"""
OF_2_3 = """
mail_home = {folder}/home/%n
mail_location = maildir:~/Maildir
mail_plugins = quota
plugin {{
  quota = count:User quota
  quota_vsizes = yes
}}
passdb {{
  driver = passwd-file
  args = {folder}/users
}}
userdb {{
  driver = passwd-file
  args = {folder}/users
}}
"""
OF_2_4 = """
mail_home = {folder}/home/%{{user | username}}
mail_driver = maildir
mail_path = ~/Maildir
mail_plugins {{
  quota = yes
}}
quota_storage_grace = 0  # else the last letter may be 10 MB over
quota "User quota" {{
  driver = count
}}
passdb passwd-file {{
  passwd_file_path = {folder}/users
}}
userdb passwd-file {{
  passwd_file_path = {folder}/users
}}
"""


class Dovecot:
    """`socket` is the path of its LMTP socket, `port` the same by TCP. `users`: quota in bytes
    by address, 0 for none; the password of each is x. With `imap`, `imap_port` answers."""

    def __init__(self, users: dict[str, int], *, imap: bool = False) -> None:
        program = shutil.which("dovecot", path=PATH)
        if not program:
            pytest.fail("dovecot is needed: apt-get install dovecot-core dovecot-lmtpd")
        self._program = program
        # Not pytest's folder: its path is long for a socket, and another user has to get in.
        self.folder = Path(tempfile.mkdtemp(prefix="pp-dovecot-"))
        self.folder.chmod(0o755)
        self.socket = str(self.folder / "lmtp")
        self.port, self.imap_port = free_port(), free_port() if imap else 0
        self._configure(users)

    def _configure(self, users: dict[str, int]) -> None:
        said = subprocess.run([self._program, "--version"], capture_output=True, text=True)
        is_2_4 = not said.stdout.startswith("2.3")
        owner = pwd.getpwnam("dovenull") if os.geteuid() == 0 else pwd.getpwuid(os.geteuid())
        group = subprocess.run(["id", "-gn", owner.pw_name], capture_output=True, text=True)
        values = {
            "folder": self.folder,
            "user": owner.pw_name,
            "group": group.stdout.strip(),
            "port": self.port,
            "imap_port": self.imap_port,
            "protocols": "lmtp imap" if self.imap_port else "lmtp",
            "listen": "listen" if is_2_4 else "address",
        }
        first = "dovecot_config_version = 2.4.0\ndovecot_storage_version = 2.4.0\n"
        more = IMAP if self.imap_port else ""
        if is_2_4:
            more = more.replace("disable_plaintext_auth = no", "auth_allow_cleartext = yes")
        text = (first if is_2_4 else "") + (COMMON + more + (OF_2_4 if is_2_4 else OF_2_3)).format(
            **values
        )
        (self.folder / "dovecot.conf").write_text(text)
        field = "userdb_quota_storage_size={}B" if is_2_4 else "userdb_quota_rule=*:bytes={}"
        rows = [
            f"{address}:{{PLAIN}}x::::::{field.format(quota) if quota else ''}\n"
            for address, quota in users.items()
        ]
        (self.folder / "users").write_text("".join(rows))
        home = self.folder / "home"
        home.mkdir()
        if os.geteuid() == 0:
            shutil.chown(home, owner.pw_uid, owner.pw_gid)

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [self._program, "-F", "-c", str(self.folder / "dovecot.conf")],
            stdin=subprocess.DEVNULL,
            stdout=(self.folder / "output").open("wb"),
            stderr=subprocess.STDOUT,
        )
        wait_until(self._greets, what="Dovecot's LMTP", timeout_seconds=30)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(30)
        shutil.rmtree(self.folder, ignore_errors=True)

    def letters(self, user: str) -> list[bytes]:
        """What lies in the mailbox of a user (the local part)."""
        folder = self.folder / "home" / user / "Maildir" / "new"
        return [path.read_bytes() for path in sorted(folder.glob("*"))]

    def _greets(self) -> bool:
        if self._process.poll() is not None:
            told = (self.folder / "output").read_text()
            log = self.folder / "log"
            raise AssertionError(told + (log.read_text() if log.exists() else ""))
        try:
            with socket.create_connection(("127.0.0.1", self.port), 2) as sock:
                sock.settimeout(5)
                return sock.recv(100).startswith(b"220 ")
        except OSError:
            return False
