"""What `apply` does to the world, behind one small protocol, so that tests can make any of it fail.

`Machine` is the real thing, in a checkout as on a box.
"""

import contextlib
import os
import shutil
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Protocol

from appliance.base import control
from appliance.base.finding import Refused, Unreachable
from appliance.base.run import run
from appliance.render.programs import Action, Command, HostName, Tell

COMMAND_TIMEOUT_SECONDS = 60
PROBE_TIMEOUT_SECONDS = 30  # a small board starts a daemon in several seconds
PROBE_PAUSE_SECONDS = 0.1
# The rendered files whose content is where a symbolic link points.
LINKS = frozenset({"localtime"})
# Files with secrets, and who may read them beside root.
SECRET_FILES: Mapping[str, str] = {"relay.json": "pp-relay", "issue": "root"}


class Effects(Protocol):
    """Every method raises on failure and has then done nothing, or something `apply` undoes."""

    def write_set(self, folder: Path, files: Mapping[str, bytes]) -> None:
        """Make `folder` with `files` in it."""
        ...

    def check(self, argv: tuple[str, ...]) -> None:
        """Have a program check a new file of its own."""
        ...

    def point(self, link: Path, folder: Path) -> None:
        """Make `link` point to `folder`, atomically."""
        ...

    def do(self, action: Action) -> None:
        """Tell a program that its files changed."""
        ...

    def probe_smtp(self, port: int, *, tls: bool) -> None:
        """See that a relay greets on `port` of this machine and answers EHLO."""
        ...

    def probe_web(self, port: int, *, tls: bool) -> None:
        """See that the pages answer on `port`."""
        ...


class Machine:
    """The machine we run on. `run_folder` is where the control sockets and the link are."""

    def __init__(self, run_folder: Path) -> None:
        self._run = run_folder

    def write_set(self, folder: Path, files: Mapping[str, bytes]) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(mode=0o755, parents=True)
        folder.chmod(0o755)  # sshd wants its key file in a folder that only root may write
        for name, data in files.items():
            if name in LINKS:
                (folder / name).symlink_to(data.decode())
            else:
                _write_file(folder / name, data)

    def check(self, argv: tuple[str, ...]) -> None:
        run(argv, timeout_seconds=COMMAND_TIMEOUT_SECONDS)

    def point(self, link: Path, folder: Path) -> None:
        fresh = link.with_name(link.name + ".link")
        fresh.unlink(missing_ok=True)
        fresh.symlink_to(folder.name)
        fresh.rename(link)

    def do(self, action: Action) -> None:
        match action:
            case HostName(name):
                socket.sethostname(name)
            case Command(argv):
                rendered = self._run / "rendered"
                argv = tuple(part.format(rendered=rendered) for part in argv)
                run(argv, timeout_seconds=COMMAND_TIMEOUT_SECONDS)
            case Tell():
                self._tell(action)

    def _tell(self, action: Tell) -> None:
        try:
            control.call(
                self._run / f"{action.daemon}.sock",
                action.verb,
                timeout_seconds=COMMAND_TIMEOUT_SECONDS,
            )
        except Unreachable:
            if action.otherwise is None:
                raise
            self.do(action.otherwise)

    def probe_smtp(self, port: int, *, tls: bool) -> None:
        _until_it_answers(lambda: _greet_relay(port, tls=tls))

    def probe_web(self, port: int, *, tls: bool) -> None:
        _until_it_answers(lambda: _ask_page(port, tls=tls))


def _until_it_answers(probe: Callable[[], None]) -> None:
    """A daemon that was just told may need a moment; the last finding is the one that counts."""
    deadline = time.monotonic() + PROBE_TIMEOUT_SECONDS
    while True:
        try:
            return probe()
        except Refused:
            if time.monotonic() > deadline:
                raise
            time.sleep(PROBE_PAUSE_SECONDS)


def answers_smtp(port: int, *, tls: bool) -> bool:
    """Whether a relay answers on `port` just now."""
    return _holds(lambda: _greet_relay(port, tls=tls))


def answers_web(port: int, *, tls: bool) -> bool:
    """Whether pages are answered on `port` just now."""
    return _holds(lambda: _ask_page(port, tls=tls))


def _holds(probe: Callable[[], None]) -> bool:
    try:
        probe()
    except Refused:
        return False
    return True


def _greet_relay(port: int, *, tls: bool) -> None:
    with _connection(port, tls=tls, what="The mail service") as sock:
        _expect(sock, b"220", port)
        sock.sendall(b"EHLO localhost\r\n")
        _expect(sock, b"250", port)
        sock.sendall(b"QUIT\r\n")


def _ask_page(port: int, *, tls: bool) -> None:
    """Any answer of its own will do, also 421 for the name; not nginx's 502 and 504."""
    with _connection(port, tls=tls, what="The web interface") as sock:
        sock.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        status = sock.makefile("rb").readline(512).split(b" ")
        if len(status) < 2 or not status[1].isdigit() or status[1] in (b"502", b"504"):
            raise Refused.because("probe.web", f"No page is answered on port {port}.")


def _write_file(path: Path, data: bytes) -> None:
    """A file of a set; nobody reads it before the set is in force."""
    group = SECRET_FILES.get(path.name)
    mode = 0o640 if group else 0o644
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(fd, "wb") as file:
        os.fchmod(fd, mode)
        if group and os.geteuid() == 0:
            with contextlib.suppress(LookupError):  # a checkout has no such group
                shutil.chown(path, group=group)
        file.write(data)


@contextlib.contextmanager
def _connection(port: int, *, tls: bool, what: str) -> Iterator[socket.socket]:
    """A connection to this machine; a failure in it is a finding about `what`."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # we ask whether it answers; who it is we know
    try:
        with socket.create_connection(("127.0.0.1", port), PROBE_TIMEOUT_SECONDS) as plain:
            if not tls:
                yield plain
                return
            with context.wrap_socket(plain) as sock:
                yield sock
    except OSError as error:
        raise Refused.because("probe", f"{what} does not answer on port {port}: {error}.") from None


def _expect(sock: socket.socket, code: bytes, port: int) -> None:
    """Read one reply of any number of lines."""
    reply = b""
    while not (lines := reply.splitlines(keepends=True)) or not _is_last(lines[-1]):
        data = sock.recv(4096)
        if not data:
            break
        reply += data
    if not reply.startswith(code):
        text = reply[:200].decode("ascii", "replace").strip()
        raise Refused.because("probe.smtp", f"The relay says on port {port}: {text or 'nothing'}.")


def _is_last(line: bytes) -> bool:
    # RFC 5321 §4.2.1: a reply's last line has a space, not a hyphen, after the code.
    return line.endswith(b"\n") and line[3:4] != b"-"
