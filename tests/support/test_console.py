"""The serial console driver against a real shell on a real terminal."""

from __future__ import annotations

import os
import pty
import select
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.console import CommandFailed, Console
from tests.support.wait import TimedOut


@pytest.fixture
def console(tmp_path: Path) -> Iterator[Console]:
    """bash on a pty, its other end behind a unix socket, as QEMU gives it."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "console"))
    listener.listen(1)
    ours, theirs = pty.openpty()
    shell = subprocess.Popen(
        ["bash", "--norc", "-i"],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
        env={"PATH": os.environ["PATH"], "TERM": "vt220", "HOME": str(tmp_path)},
    )
    os.close(theirs)
    running = Console(tmp_path / "console")
    peer, _ = listener.accept()
    threading.Thread(target=_carry, args=(ours, peer), daemon=True).start()
    yield running
    running.close()
    shell.kill()
    shell.wait()
    peer.close()
    listener.close()


def _carry(terminal: int, peer: socket.socket) -> None:
    while True:
        try:
            ready, _, _ = select.select([terminal, peer], [], [], 30)
            if terminal in ready:
                peer.sendall(os.read(terminal, 4096))
            if peer in ready:
                data = peer.recv(4096)
                if not data:
                    return
                os.write(terminal, data)
        except (OSError, ValueError):
            return


def test_it_returns_what_a_command_printed_and_its_code(console: Console) -> None:
    assert console.run("echo one; echo 'two \"three\"' >&2") == 'one\ntwo "three"'
    assert console.ask("echo no; exit 3").code == 3
    assert console.run("true") == ""


def test_a_failing_command_says_what_it_printed(console: Console) -> None:
    with pytest.raises(CommandFailed, match="no such thing"):
        console.run("echo no such thing; false")


def test_long_output_comes_whole(console: Console) -> None:
    assert console.run("seq 1 5000") == "\n".join(str(n) for n in range(1, 5001))


def test_a_command_that_hangs_is_told_with_its_name(console: Console) -> None:
    with pytest.raises(TimedOut, match="sleep 30"):
        console.ask("sleep 30", timeout_seconds=0.5)
