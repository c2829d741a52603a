"""The machine driver, tried on firmware alone: no image is needed."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from tests.support.machine import Hardware, Machine

pytestmark = pytest.mark.full
SMALL = Hardware(memory_mib=256, processors=1, guest_ports=(25, 443))


def with_firmware_only(folder: Path, image: Path | None = None) -> Machine:
    machine = Machine(folder, SMALL)
    blank = folder / "blank.img"
    blank.write_bytes(bytes(1 << 20))
    machine.insert(blank)
    machine.started_at = 0.0
    return machine


def test_a_frozen_machine_goes_on_twice_at_once_with_ports_of_its_own(tmp_path: Path) -> None:
    with with_firmware_only(tmp_path / "first") as first:
        first.start()
        assert set(first.ports) == {25, 443}
        frozen = first.freeze()
        assert not first.running
    with Machine(tmp_path / "a", SMALL) as a, Machine(tmp_path / "b", SMALL) as b:
        a.thaw(frozen)
        b.thaw(frozen)
        assert a.qmp.status() == b.qmp.status() == "running"
        assert set(a.ports.values()).isdisjoint(b.ports.values())
        socket.create_connection(("127.0.0.1", a.ports[25]), timeout=5).close()


def test_a_killed_machine_starts_again_on_the_same_disk(tmp_path: Path) -> None:
    with with_firmware_only(tmp_path / "box") as machine:
        machine.start()
        machine.kill()
        assert not machine.running
        machine.start()
        assert machine.running
