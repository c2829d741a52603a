"""What keeps a slot from being confirmed."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.upkeep import confirm, health
from appliance.upkeep.bootstate import BootState, Marks
from appliance.upkeep.health import Seen

GOOD = Marks(confirmed=True, tries=0)


def seen(**changes: object) -> Seen:
    values: dict[str, object] = {
        "failed_units": (),
        "data_is_writable": True,
        "mail_is_on": True,
        "answers": dict.fromkeys((25, 80, 443, 465, 587), True),
    }
    return Seen(**(values | changes))  # type: ignore[arg-type]


def test_a_box_in_order_has_no_findings() -> None:
    assert health.findings(seen()) == []


@pytest.mark.parametrize(
    ("changes", "check", "word"),
    [
        ({"failed_units": ("nginx.service",)}, "health.units", "nginx.service"),
        ({"data_is_writable": False}, "health.data", "cannot be written"),
        ({"answers": {25: True, 80: True, 443: False, 465: True}}, "health.ports", "443, 587"),
    ],
)
def test_each_fault_is_named(changes: dict[str, object], check: str, word: str) -> None:
    found = health.findings(seen(**changes))
    assert [finding.check for finding in found] == [check]
    assert word in found[0].say


def test_mail_ports_do_not_count_while_mail_is_off() -> None:
    assert health.findings(seen(mail_is_on=False, answers={80: True, 443: True})) == []


@pytest.fixture
def talker() -> Iterator[tuple[int, list[bytes]]]:
    """A port that answers each connection with the next of a list of texts."""
    texts: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    connection.sendall(texts.pop(0))

        threading.Thread(target=serve, daemon=True).start()
        yield server.getsockname()[1], texts
        server.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize(
    ("text", "good"),
    [
        (b"220 mx.example.com ESMTP\r\n", True),
        (b"421 closing\r\n", False),
        (b"", False),
    ],
)
def test_a_greeting_has_to_be_the_right_one(
    talker: tuple[int, list[bytes]], text: bytes, good: bool
) -> None:
    port, texts = talker
    texts.append(text)
    assert health.greets(port, b"220") is good


@pytest.mark.parametrize(("status", "good"), [(b"303 See Other", True), (b"502 Bad", False)])
def test_a_page_that_nginx_could_not_get_is_no_answer(
    talker: tuple[int, list[bytes]], status: bytes, good: bool
) -> None:
    port, texts = talker
    texts.append(b"HTTP/1.1 " + status + b"\r\n\r\n")
    assert health.greets(port, b"HTTP/", say=b"") is good


def test_a_closed_port_does_not_answer() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    assert not health.connects(port)
    assert not health.greets(port, b"220")


def test_a_folder_that_is_no_mount_point_is_not_the_data_partition(tmp_path: Path) -> None:
    assert not health.is_writable(tmp_path)


@pytest.mark.parametrize(
    ("twin", "line", "leads_on"),
    [
        (GOOD, "pennypost.slot=a", True),
        (Marks(confirmed=False, tries=0), "pennypost.slot=a", False),
        (GOOD, "pennypost.slot=a pennypost.recovery=1", False),
    ],
)
def test_a_sick_slot_restarts_only_towards_a_good_one(
    twin: Marks, line: str, leads_on: bool
) -> None:
    state = BootState(sequence=1, order=("a", "b"), a=Marks(confirmed=False, tries=1), b=twin)
    assert confirm.should_restart(state, "a", line) is leads_on
