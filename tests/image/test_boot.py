"""The QEMU driver: command lines for old and new QEMU, and how a box is ended."""

from __future__ import annotations

from pathlib import Path

import pytest

from image import boot, play
from image.run import BuildError

needs_qemu = pytest.mark.skipif(
    not Path("/usr/bin/qemu-system-x86_64").exists(), reason="needs qemu-system-x86_64"
)


@needs_qemu
def test_ports_are_forwarded_from_loopback_only(tmp_path: Path) -> None:
    machine = boot.Machine(tmp_path, boot.Hardware(forwards={8080: 80, 2525: 25}))
    line = " ".join(machine.argv())
    assert "hostfwd=tcp:127.0.0.1:8080-:80,hostfwd=tcp:127.0.0.1:2525-:25" in line
    assert "thread=multi" in line
    assert "kvm" not in line


@pytest.mark.full
@needs_qemu
def test_a_machine_starts_answers_and_ends(tmp_path: Path) -> None:
    (tmp_path / "blank.img").write_bytes(bytes(1 << 20))
    with boot.Machine(tmp_path, boot.Hardware(memory_mib=256, processors=1)) as machine:
        machine.insert(tmp_path / "blank.img", 2 << 20).start()
        assert machine.qmp("query-status")["status"] == "running"
        with pytest.raises(RuntimeError, match="no-such-thing"):
            machine.qmp("no-such-thing")
        machine.kill()
        assert not machine.running


def test_a_taken_port_is_replaced_and_that_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(play, "_is_free", lambda port: port != 8080)
    chosen = play.choose_ports()
    assert sorted(chosen.values()) == [25, 80, 443, 465, 587]
    assert 8080 not in chosen
    assert "Port 8080 of this host is taken" in capsys.readouterr().out


def test_terminal_escapes_do_not_hide_what_the_box_says(tmp_path: Path) -> None:
    machine = boot.Machine(tmp_path, boot.Hardware())
    machine.serial_log.write_bytes(b"\x1b[2J\x1b[01;01H\x1b[=3hClaim code: ABCD-EFGH\r\n")
    assert play.CLAIM.findall(machine.serial()) == ["ABCD-EFGH"]


def test_a_host_without_firmware_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(boot.FIRMWARE, "amd64", (("/nowhere/code", "/nowhere/vars"),))
    with pytest.raises(BuildError) as error:
        boot.firmware("amd64")
    assert "ovmf" in error.value.hint
