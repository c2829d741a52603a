"""Postfix's own test programs at both ends: smtp-source sends, smtp-sink takes."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.base.control import call
from tests.support.ports import free_port
from tests.support.relay_process import RelayProcess
from tests.support.wait import wait_until

pytestmark = pytest.mark.full
PATH = "/usr/sbin:/usr/bin:/bin"


def program(name: str) -> str:
    found = shutil.which(name, path=PATH)
    if not found:
        pytest.fail(f"{name} is needed: apt-get install postfix")
    return found


@pytest.fixture
def sink(tmp_path: Path) -> Iterator[tuple[int, Path]]:
    """smtp-sink on a free port, keeping each message in a file."""
    port, folder = free_port(), tmp_path / "taken"
    folder.mkdir(mode=0o777)
    folder.chmod(0o777)
    tmp_path.chmod(0o755)
    command = [program("smtp-sink"), "-4", "-R", str(folder), "-d", "%M."]
    if os.geteuid() == 0:
        command += ["-u", "nobody"]
        for parent in folder.parents[:3]:
            parent.chmod(0o755)
    process = subprocess.Popen([*command, f"127.0.0.1:{port}", "100"])

    def up() -> bool:
        with socket.socket() as sock:
            return sock.connect_ex(("127.0.0.1", port)) == 0

    wait_until(up, what="smtp-sink", timeout_seconds=20)
    yield port, folder
    process.terminate()
    process.wait(20)


@pytest.mark.parametrize(("size", "many"), [(2_048, True), (2_048, False), (300_000, True)])
def test_every_message_of_smtp_source_reaches_smtp_sink(
    tmp_path: Path, sink: tuple[int, Path], size: int, many: bool
) -> None:
    port, folder = sink
    settings = {
        "mail.relay_domains": [f"example.org | 127.0.0.1:{port}"],
        "relay.connections_per_address": 100,
    }
    relay = RelayProcess(tmp_path / "box", settings)
    relay.start()
    count = 200 if size < 10_000 else 30
    subprocess.run(
        [
            program("smtp-source"), "-s", "20", "-m", str(count), "-l", str(size),
            *(["-d"] if many else []), "-f", "a@client.example", "-t", "b@example.org",
            f"127.0.0.1:{relay.port}",
        ],
        check=True,
        timeout=120,
    )  # fmt: skip
    wait_until(
        lambda: call(relay.socket_path, "status")["counters"].get("delivered") == count,
        what="all to be delivered",
        timeout_seconds=120,
    )
    status = call(relay.socket_path, "status")
    assert relay.stop() == 0
    assert status["queue"]["messages"] == 0
    assert status["counters"]["accepted"] == count
    assert "deferred" not in status["counters"]
    taken = b"".join(path.read_bytes() for path in folder.iterdir())
    assert taken.count(b"by box.example.com with SMTP\n") == count
