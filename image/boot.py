"""An image started in QEMU: for `make run`, and for tests of the boot script.

The image is never written: the machine gets a qcow2 overlay with room for a data
partition. Software emulation is the rule here; KVM is used only after a real kernel
was seen to run under it, since /dev/kvm opens on machines where Linux then dies.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from image.recipe import ARCHES
from image.run import BuildError, die, run
from image.tools import host_arch

FIRMWARE = {
    "amd64": (
        ("/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"),
        ("/usr/share/OVMF/OVMF_CODE.fd", "/usr/share/OVMF/OVMF_VARS.fd"),
    ),
    "arm64": (
        ("/usr/share/AAVMF/AAVMF_CODE.no-secboot.fd", "/usr/share/AAVMF/AAVMF_VARS.fd"),
        ("/usr/share/AAVMF/AAVMF_CODE.fd", "/usr/share/AAVMF/AAVMF_VARS.fd"),
    ),
}
HOST_PACKAGES = {
    "amd64": "qemu-system-x86 qemu-utils ovmf",
    "arm64": "qemu-system-arm qemu-utils qemu-efi-aarch64",
}
MACHINE = {"amd64": "q35", "arm64": "virt"}
KVM_PROBE_SECONDS = 12
CONNECT_SECONDS = 30
ESCAPES = re.compile(r"\x1b\[[0-9;?=]*[A-Za-z]|\x1b[c()][A-Z0-9]?|\r")


@dataclass(frozen=True, slots=True)
class Hardware:
    """The machine. `forwards` maps host ports (on 127.0.0.1) to the box's ports."""

    arch: str = "amd64"
    memory_mib: int = 1024
    processors: int = 2
    kvm: bool = False
    forwards: Mapping[int, int] = field(default_factory=dict)


class Machine:
    """One QEMU process; its files (disk overlay, variables, serial log) lie in `folder`."""

    def __init__(self, folder: Path, hardware: Hardware) -> None:
        self.folder = folder
        self.hardware = hardware
        self.disk = folder / "disk.qcow2"
        self.variables = folder / "vars.qcow2"
        self.serial_log = folder / "serial.log"
        self.process: subprocess.Popen[bytes] | None = None
        self._qmp: socket.socket | None = None
        folder.mkdir(parents=True, exist_ok=True)

    def insert(self, image: Path, disk_bytes: int) -> Self:
        """A fresh disk that holds the image, as if just flashed, and fresh variables."""
        for path in (self.disk, self.variables):
            path.unlink(missing_ok=True)
        overlay = ["qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", str(image)]
        run([*overlay, str(self.disk), str(disk_bytes)])
        _, template = firmware(self.hardware.arch)
        run(["qemu-img", "convert", "-O", "qcow2", str(template), str(self.variables)])
        return self

    def start(self) -> Self:
        """Power on."""
        (self.folder / "qmp").unlink(missing_ok=True)
        self.serial_log.write_bytes(b"")
        with (self.folder / "qemu.log").open("wb") as log:
            self.process = subprocess.Popen(
                self.argv(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        return self

    def argv(self) -> list[str]:
        """QEMU's command line; works with QEMU 7.2 and later."""
        hw = self.hardware
        accel, cpu = ("kvm", "host") if hw.kvm else ("tcg,thread=multi", "max")
        code, _ = firmware(hw.arch)
        forwards = "".join(
            f",hostfwd=tcp:127.0.0.1:{host}-:{guest}" for host, guest in hw.forwards.items()
        )
        return [
            f"qemu-system-{ARCHES[hw.arch].qemu}",
            *("-M", MACHINE[hw.arch], "-accel", accel, "-cpu", cpu),
            *("-smp", str(hw.processors), "-m", str(hw.memory_mib)),
            *("-nodefaults", "-no-user-config", "-display", "none"),
            *("-drive", f"if=pflash,unit=0,format=raw,readonly=on,file={code}"),
            *("-drive", f"if=pflash,unit=1,format=qcow2,file={self.variables}"),
            *("-drive", f"if=none,id=disk,format=qcow2,file={self.disk},discard=unmap"),
            *("-device", "virtio-blk-pci,drive=disk,bootindex=1"),
            *("-netdev", f"user,id=net0{forwards}"),
            *("-device", "virtio-net-pci,netdev=net0,romfile="),
            *("-device", "virtio-rng-pci"),
            *("-chardev", f"file,id=serial,path={self.serial_log},append=on"),
            *("-serial", "chardev:serial"),
            *("-qmp", f"unix:{self.folder / 'qmp'},server=on,wait=off"),
        ]

    @property
    def running(self) -> bool:
        """Whether QEMU is alive."""
        return self.process is not None and self.process.poll() is None

    def serial(self) -> str:
        """What the box has said on its serial line, without terminal escapes."""
        return ESCAPES.sub("", self.serial_log.read_text("utf-8", "replace"))

    def wait_for(self, pattern: str, timeout_seconds: float) -> re.Match[str]:
        """Wait until the serial line matches; raises TimeoutError with its last lines."""
        end = time.monotonic() + timeout_seconds
        while True:
            alive = self.running
            if found := re.search(pattern, self.serial()):
                return found
            if not alive or time.monotonic() > end:
                tail = "\n".join(self.serial().splitlines()[-20:])
                why = "nothing like" if alive else "QEMU ended before"
                said = (self.folder / "qemu.log").read_text("utf-8", "replace")
                raise TimeoutError(f"{why} {pattern!r}; the box said:\n{tail}\n{said}")
            time.sleep(0.05)

    def qmp(self, command: str, **arguments: Any) -> Any:
        """One QMP command; raises RuntimeError with QEMU's own words."""
        if self._qmp is None:
            self._qmp = self._connect()
            self._ask("qmp_capabilities", {})
        return self._ask(command, arguments)

    def _connect(self) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(CONNECT_SECONDS)
        end = time.monotonic() + CONNECT_SECONDS
        while True:
            try:
                connection.connect(str(self.folder / "qmp"))
            except (FileNotFoundError, ConnectionRefusedError):
                if not self.running or time.monotonic() > end:
                    raise
                time.sleep(0.05)
            else:
                connection.makefile("rb").readline()
                return connection

    def _ask(self, command: str, arguments: Mapping[str, Any]) -> Any:
        assert self._qmp is not None
        request = json.dumps({"execute": command, "arguments": dict(arguments)})
        self._qmp.sendall(request.encode() + b"\n")
        lines = self._qmp.makefile("rb")
        while line := lines.readline():
            answer = json.loads(line)
            if "error" in answer:
                raise RuntimeError(f"{command}: {answer['error']['desc']}")
            if "return" in answer:
                return answer["return"]
        raise RuntimeError(f"{command}: QEMU closed the connection")

    def power_off(self, timeout_seconds: float = 60.0) -> None:
        """Press the power button, and pull the plug if that takes too long."""
        if self.running and self.process:
            try:
                self.qmp("system_powerdown")
                self.process.wait(timeout_seconds)
            except (OSError, RuntimeError, subprocess.TimeoutExpired):
                pass
        self.kill()

    def kill(self) -> None:
        """Pull the plug."""
        if self._qmp:
            self._qmp.close()
            self._qmp = None
        if self.process and self.process.poll() is None:
            os.kill(self.process.pid, signal.SIGKILL)
        if self.process:
            self.process.wait()
            self.process = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()


def firmware(arch: str) -> tuple[Path, Path]:
    """UEFI code and an empty variable store for it."""
    for code, variables in FIRMWARE[arch]:
        if Path(code).exists() and Path(variables).exists():
            return Path(code), Path(variables)
    raise BuildError(
        f"this host lacks UEFI firmware for {arch}", f"apt-get install {HOST_PACKAGES[arch]}"
    )


def check_host(arch: str) -> None:
    """QEMU and firmware are there, or the build ends with what to install."""
    for name in (f"qemu-system-{ARCHES[arch].qemu}", "qemu-img"):
        if not shutil.which(name):
            die(f"this host lacks {name}", f"apt-get install {HOST_PACKAGES[arch]}")
    firmware(arch)


def kvm_works(arch: str, image: Path, cache: Path) -> bool:
    """Whether this image's own kernel runs under KVM here; asked once, then remembered."""
    if arch != host_arch() or not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return False
    answer = cache / f"kvm-{arch}-{os.uname().release}"
    if not answer.exists():
        cache.mkdir(parents=True, exist_ok=True)
        answer.write_text("yes\n" if _boots_under_kvm(arch, image, cache / "kvm-probe") else "no\n")
    return answer.read_text().strip() == "yes"


def _boots_under_kvm(arch: str, image: Path, folder: Path) -> bool:
    """A kernel that says a word of its own proves it; opening the device does not."""
    with Machine(folder, Hardware(arch=arch, memory_mib=512, processors=1, kvm=True)) as machine:
        machine.insert(image, image.stat().st_size + (1 << 30)).start()
        try:
            machine.wait_for(r"pennypost: |Welcome to|systemd\[1\]", KVM_PROBE_SECONDS)
        except TimeoutError:
            return False
        finally:
            machine.kill()
            shutil.rmtree(folder, ignore_errors=True)
    return True
