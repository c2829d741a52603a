"""A Postfix of our own beside the system's: its own configuration, queue and port."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
from pathlib import Path

from tests.support.wait import wait_until

MASTER = Path("/usr/share/postfix/master.cf.dist")


class Postfix:
    """Accepts mail for example.test and holds it: nothing is delivered. Needs root."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder, self.port = folder, port
        self._etc = folder / "etc"
        self._etc.mkdir(parents=True)
        shutil.copy("/etc/postfix/dynamicmaps.cf", self._etc)
        for name in ("queue", "data", "log"):
            (folder / name).mkdir()
        shutil.chown(folder / "data", "postfix")
        (self._etc / "main.cf").write_text(
            f"""compatibility_level = 3.6
queue_directory = {folder}/queue
data_directory = {folder}/data
maillog_file_prefixes = {folder}
maillog_file = {folder}/log/mail.log
mail_owner = postfix
setgid_group = postdrop
inet_interfaces = loopback-only
myhostname = postfix.test
mydestination =
relay_domains = example.test
relay_transport = relay:[127.0.0.1]:9
disable_dns_lookups = yes
smtpd_peername_lookup = no
smtpd_client_connection_count_limit = 0
smtpd_client_restrictions = check_client_access static:hold
message_size_limit = 60000000
"""
        )
        lines = MASTER.read_text().splitlines()
        kept = [line for line in lines if not line.startswith("smtp      inet")]
        kept = [_without_chroot(line) for line in kept]
        kept.append(f"127.0.0.1:{port} inet n - n - - smtpd")
        (self._etc / "master.cf").write_text("\n".join(kept) + "\n")

    def start(self) -> None:
        """Start and wait for the greeting."""
        self._do("start")
        wait_until(self._greets, what="Postfix's greeting", timeout_seconds=30)

    def stop(self) -> None:
        """Stop all its processes."""
        self._do("stop")

    def _do(self, what: str) -> None:
        command = ["/usr/sbin/postfix", "-c", str(self._etc), what]
        done = subprocess.run(command, capture_output=True, timeout=60, check=False)
        if done.returncode:
            raise RuntimeError(done.stderr.decode(errors="replace"))

    def _greets(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), 2) as sock:
                return sock.recv(100).startswith(b"220 ")
        except OSError:
            return False


def _without_chroot(line: str) -> str:
    words = line.split()
    if len(words) < 8 or line.startswith(("#", " ", "\t")):
        return line
    words[4] = "n"
    return " ".join(words)


def usable() -> str:
    """Why it cannot be run here; empty when it can."""
    if os.geteuid() != 0:
        return "Postfix needs root to run"
    if not Path("/usr/sbin/postfix").exists() or not MASTER.exists():
        return "Postfix is not installed"
    try:
        pwd.getpwnam("postfix")
    except KeyError:
        return "there is no user postfix"
    return ""
