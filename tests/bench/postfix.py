"""A Postfix of our own in its tree: its own configuration, queue and port."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path

from tests.support.wait import wait_until

ALONE = "smtpd_client_restrictions = check_client_access static:hold"


class Postfix:
    """Takes mail for example.test and holds it, or with `sink` hands it to that port.

    Runs in the tree (a chroot on the same disk as everything else). Needs root.
    """

    def __init__(
        self, tree: Path, port: int, *, sink: int | None = None, before: Sequence[str] = ()
    ) -> None:
        self.tree, self.port, self.before = tree, port, list(before)
        self._tracer: subprocess.Popen[bytes] | None = None
        self.folder = tree / "srv" / f"bench-{port}"
        shutil.rmtree(self.folder, ignore_errors=True)
        etc = self.folder / "etc"
        etc.mkdir(parents=True)
        for name in ("queue", "data", "log"):
            (self.folder / name).mkdir()
        self._do(["/bin/chown", "postfix", f"/srv/{self.folder.name}/data"])
        inside = f"/srv/{self.folder.name}"
        (etc / "main.cf").write_text(
            f"""compatibility_level = 3.6
queue_directory = {inside}/queue
data_directory = {inside}/data
maillog_file_prefixes = {inside}
maillog_file = {inside}/log/mail.log
mail_owner = postfix
setgid_group = postdrop
inet_interfaces = loopback-only
inet_protocols = ipv4
myhostname = postfix.test
mydestination =
relay_domains = example.test
relay_transport = relay:[127.0.0.1]:{sink or 9}
smtp_dns_support_level = disabled
smtpd_peername_lookup = no
smtpd_client_connection_count_limit = 0
{"" if sink else ALONE}
message_size_limit = 60000000
"""
        )
        lines = (tree / "usr/share/postfix/master.cf.dist").read_text().splitlines()
        kept = [line for line in lines if not line.startswith("smtp      inet")]
        kept = [_without_chroot(line) for line in kept]
        kept.append(f"127.0.0.1:{port} inet n - n - - smtpd")
        (etc / "master.cf").write_text("\n".join(kept) + "\n")

    @property
    def log(self) -> Path:
        """Its mail log."""
        return self.folder / "log" / "mail.log"

    def start(self) -> None:
        """Start and wait for the greeting."""
        if self.before:  # a tracer stays until all it follows have ended
            command = [*self.before, "chroot", str(self.tree), *self._order("start")]
            self._tracer = subprocess.Popen(
                command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
        else:
            self._do(self._order("start"))
        wait_until(self._greets, what="Postfix's greeting", timeout_seconds=30)

    def stop(self) -> None:
        """Stop all its processes and remove its queue."""
        self._do(self._order("stop"))
        if self._tracer is not None:
            self._tracer.wait(timeout=60)
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Postfix:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _order(self, what: str) -> list[str]:
        return ["/usr/sbin/postfix", "-c", f"/srv/{self.folder.name}/etc", what]

    def _do(self, command: list[str]) -> None:
        done = subprocess.run(
            ["chroot", str(self.tree), *command], capture_output=True, timeout=60, check=False
        )
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
    """Why it cannot be measured here; empty when it can."""
    if os.geteuid() != 0:
        return "Postfix needs root to run"
    for tool in ("/usr/sbin/smtp-source", "/usr/sbin/smtp-sink"):
        if not Path(tool).exists():
            return f"{tool} is not installed (Debian package postfix)"
    return ""
