"""An emulated UEFI machine with one disk: start, freeze, thaw, kill.

Everything a test does to a machine it does to *overlays* in a folder of its own;
the image underneath is never written. The recipe was measured: a frozen machine
answers again after one to two seconds, a boot under software emulation takes half
a minute.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from tests.support.console import root_console_argv
from tests.support.qmp import Qmp, QmpError
from tests.support.wait import wait_until

MIB = 1 << 20
_FIRMWARE = {
    "amd64": (
        Path("/usr/share/OVMF/OVMF_CODE_4M.fd"),
        Path("/usr/share/OVMF/OVMF_VARS_4M.fd"),
    ),
    "arm64": (
        Path("/usr/share/AAVMF/AAVMF_CODE.fd"),
        Path("/usr/share/AAVMF/AAVMF_VARS.fd"),
    ),
}
_QEMU = {"amd64": "qemu-system-x86_64", "arm64": "qemu-system-aarch64"}
_BOARD = {"amd64": ("q35", "max"), "arm64": ("virt", "max,pauth-impdef=on")}
_KEPT = "cache.no-flush=on"  # a file's cache outlives a killed QEMU
_SECOND_LINE = {"amd64": "ttyS1", "arm64": "ttyS0"}  # as the guest's kernel calls it


@dataclass(frozen=True, slots=True)
class Bay:
    """A further disk: how it is attached, and what it says of itself. An amd64 machine only.

    A SATA disk has a controller of its own on a PCIe port, which is the one way that QEMU lets
    one be pulled.
    """

    kind: str  # sata, sas, usb, virtio
    serial: str
    size_bytes: int = 2 << 30

    @property
    def wwn(self) -> int:
        return 0x5000C500_0000_0000 + zlib.crc32(self.serial.encode())

    def argv(self, number: int, file: Path) -> list[str]:
        """QEMU's arguments for the bay with this number."""
        node, facts = f"bay{number}", f"serial={self.serial}"
        blockdev = (
            f"driver=raw,node-name={node},discard=unmap,"
            f"file.driver=file,file.filename={file},file.node-name={node}-file,file.locking=off"
        )
        report = "rerror=report,werror=report"
        name = f"drive={node},id={node}-disk,{facts}"
        devices = {
            "sata": [
                f"pcie-root-port,id=port{number},chassis={number},slot={number}",
                f"ich9-ahci,id=ahci{number},bus=port{number}",
                f"ide-hd,bus=ahci{number}.0,{name},wwn={self.wwn},model=LABSATA,{report}",
            ],
            "sas": [
                f"mptsas1068,id=sas{number}",
                f"scsi-hd,bus=sas{number}.0,{name},wwn={self.wwn},vendor=PENNY,product=LABSAS,"
                f"{report}",
            ],
            "usb": [
                f"qemu-xhci,id=usb{number}",
                f"usb-storage,bus=usb{number}.0,{name}",
            ],
            "virtio": [f"virtio-blk-pci,{name}"],
        }[self.kind]
        return ["-blockdev", blockdev, *(word for d in devices for word in ("-device", d))]


@dataclass(frozen=True, slots=True)
class Hardware:
    """What the machine is. A frozen state thaws only on the same hardware."""

    arch: str = "amd64"
    memory_mib: int = 1024
    processors: int = 2
    disk_bytes: int = 6 << 30
    guest_ports: tuple[int, ...] = (22, 25, 80, 443, 465, 587, 8443)
    root_console: bool = True  # see tests/support/console.py
    bays: tuple[Bay, ...] = ()


@dataclass(frozen=True, slots=True)
class Frozen:
    """A stopped machine on disk: its state and the overlays that belong to it."""

    hardware: Hardware
    state: Path
    disk: Path
    variables: Path
    serial_log: Path


class Machine:
    """One QEMU process and the files it works on, all under `folder`."""

    def __init__(self, folder: Path, hardware: Hardware | None = None) -> None:
        self.folder = folder
        self.hardware = hardware or Hardware()
        self.disk = folder / "disk.qcow2"
        self.variables = folder / "vars.qcow2"
        self.serial_log = folder / "serial.log"
        self.write_log: Path | None = None  # see `record_writes`
        self.ports: dict[int, int] = {}
        self.process: subprocess.Popen[bytes] | None = None
        self.started_at = 0.0
        self._qmp: Qmp | None = None
        folder.mkdir(parents=True, exist_ok=True)

    # --- where the disks come from ---------------------------------------

    def insert(self, image: Path) -> Self:
        """Put a fresh overlay of a raw disk image into the machine (as flashed)."""
        overlay(self.disk, image, base_format="raw", size_bytes=self.hardware.disk_bytes)
        self.serial_log.unlink(missing_ok=True)
        template = _FIRMWARE[self.hardware.arch][1]
        _qemu_img("convert", "-f", "raw", "-O", "qcow2", str(template), str(self.variables))
        return self

    def take_over(self, frozen: Frozen) -> Self:
        """Put fresh overlays of a frozen machine's disks into this one."""
        overlay(self.disk, frozen.disk)
        overlay(self.variables, frozen.variables)
        shutil.copyfile(frozen.serial_log, self.serial_log)
        return self

    def record_writes(self) -> Path:
        """From the next start on keep a log of all writes to the disk (support/block_log.py).

        The guest sees the same disk, so a frozen machine may wake with a log beneath it.
        """
        self.write_log = self.folder / "writes.log"
        self.write_log.write_bytes(b"")
        return self.write_log

    # --- running ----------------------------------------------------------

    def start(self, *, state: Path | None = None, paused: bool = False) -> Self:
        """Power on; with `state`, go on where a machine was frozen."""
        if self.process is not None:
            raise AssertionError("this machine is running already")
        argv = [*self._argv(), *(["-S"] if paused else [])]
        if state is not None:
            argv += ["-incoming", f"exec:cat '{state}'"]
        for name in ("qmp", "console"):
            (self.folder / name).unlink(missing_ok=True)
        log = (self.folder / "qemu.log").open("ab")
        self.started_at = time.monotonic()
        self.process = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
        log.close()
        if state is not None:
            wait_until(
                lambda: self.qmp.status() != "inmigrate",
                what="the machine thawed",
                every_seconds=0.05,
            )
            # Now and then QEMU cannot lock a file again the moment it woke.
            wait_until(
                lambda: self.qmp.command("cont") is not None,
                what="the machine running",
                timeout_seconds=10,
                ignore=(QmpError,),
            )
        self.ports = _forwarded(self.qmp.monitor("info usernet"))
        return self

    @property
    def qmp(self) -> Qmp:
        if self._qmp is None:
            self._qmp = wait_until(
                self._connect,
                what="QEMU's control socket",
                timeout_seconds=30,
                ignore=(FileNotFoundError, ConnectionRefusedError),
            )
        return self._qmp

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    @property
    def console_socket(self) -> Path:
        return self.folder / "console"

    def kill(self) -> None:
        """SIGKILL, the emulated power cut; returns when the process is gone."""
        if self.process is None:
            return
        if self.process.poll() is None:
            os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait(timeout=60)
        self.process = None
        if self._qmp is not None:
            self._qmp.close()
            self._qmp = None

    def wait_for_power_off(self, *, timeout_seconds: float = 180.0) -> None:
        """Wait until the guest has switched itself off."""
        process = self.process
        if process is not None:
            wait_until(
                lambda: process.poll() is not None,
                what="the machine off",
                timeout_seconds=timeout_seconds,
            )
        self.kill()

    def freeze(self) -> Frozen:
        """Write the state to disk and end QEMU. From here on the files are never written."""
        self.qmp.freeze(self.folder / "state")
        self.kill()
        return self.frozen()

    def frozen(self) -> Frozen:
        """What `freeze` left in this machine's folder."""
        return Frozen(
            hardware=self.hardware,
            state=self.folder / "state",
            disk=self.disk,
            variables=self.variables,
            serial_log=self.serial_log,
        )

    def thaw(self, frozen: Frozen) -> Self:
        return self.take_over(frozen).start(state=frozen.state)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def log_tail(self, lines: int = 40) -> str:
        """The last lines of the serial log, for a failure's message."""
        if not self.serial_log.exists():
            return ""
        text = self.serial_log.read_text("utf-8", "replace").replace("\r", "")
        return "\n".join(text.splitlines()[-lines:])

    def _connect(self) -> Qmp:
        if not self.running:
            said = (self.folder / "qemu.log").read_text("utf-8", "replace")
            raise QmpError(f"QEMU ended at once: {said[-2000:]}")
        return Qmp(self.folder / "qmp")

    def _argv(self) -> list[str]:
        hardware = self.hardware
        board, processor = _BOARD[hardware.arch]
        forwards = "".join(f",hostfwd=tcp:127.0.0.1:0-:{port}" for port in hardware.guest_ports)
        return [
            *("setpriv", "--pdeathsig", "KILL", "--"),  # a killed test leaves no machine behind
            _QEMU[hardware.arch],
            *("-M", board, "-cpu", processor, "-accel", "tcg,thread=multi"),
            *("-smp", str(hardware.processors), "-m", str(hardware.memory_mib)),
            *("-nodefaults", "-display", "none", "-no-user-config"),
            *(
                "-drive",
                f"if=pflash,unit=0,format=raw,readonly=on,file={_FIRMWARE[hardware.arch][0]}",
            ),
            *("-drive", f"if=pflash,unit=1,format=qcow2,file={self.variables}"),
            *self._disk_argv(),
            *self._bay_argv(),
            *(
                "-netdev",
                f"user,id=net0{forwards}",
                "-device",
                "virtio-net-pci,netdev=net0,romfile=",
            ),
            *("-device", "virtio-rng-pci"),
            *(root_console_argv(_SECOND_LINE[hardware.arch]) if hardware.root_console else []),
            *("-chardev", f"file,id=serial,path={self.serial_log},append=on"),
            *("-serial", "chardev:serial"),
            *("-chardev", f"socket,id=console,path={self.console_socket},server=on,wait=off"),
            *self._console_argv(),
            *("-qmp", f"unix:{self.folder / 'qmp'},server=on,wait=off"),
        ]

    def _disk_argv(self) -> list[str]:
        if not self.disk.exists():
            return []  # firmware alone: enough to try the driver itself
        if self.write_log is not None:
            return self._recorded_disk_argv(self.write_log)
        return [
            *("-drive", f"if=none,id=disk,format=qcow2,file={self.disk},discard=unmap"),
            *("-device", "virtio-blk-pci,drive=disk,bootindex=1"),
        ]

    def _recorded_disk_argv(self, log: Path) -> list[str]:
        """No flush of the guest waits for the host's disk: only QEMU will be killed."""
        return [
            *("-blockdev", f"driver=file,node-name=disk-file,filename={self.disk},{_KEPT}"),
            *("-blockdev", "driver=qcow2,node-name=disk-plain,file=disk-file"),
            *("-blockdev", f"driver=file,node-name=log-file,filename={log},{_KEPT}"),
            *(
                "-blockdev",
                "driver=blklogwrites,node-name=disk,file=disk-plain,log=log-file,"
                "log-sector-size=512,log-super-update-interval=1",
            ),
            *("-device", "virtio-blk-pci,drive=disk,bootindex=1,write-cache=on"),
        ]

    def bay_file(self, number: int) -> Path:
        """What the disk in a bay holds, raw. It stays when the machine is switched off."""
        return self.folder / f"bay{number}.raw"

    def _bay_argv(self) -> list[str]:
        words = []
        for number, bay in enumerate(self.hardware.bays, 1):
            file = self.bay_file(number)
            if not file.exists():
                file.touch()
                os.truncate(file, bay.size_bytes)
            words += bay.argv(number, file)
        return words

    def _console_argv(self) -> list[str]:
        """The second serial line. The arm64 board has one of its own kind only; PCI gives one."""
        if self.hardware.arch == "amd64":
            return ["-serial", "chardev:console"]
        return ["-device", "pci-serial,chardev=console"] if self.hardware.root_console else []


def missing_programs(arch: str = "amd64") -> str:
    """What this host lacks to run such a machine, or an empty string."""
    lacking = [name for name in (_QEMU[arch], "qemu-img") if shutil.which(name) is None]
    lacking += [str(path) for path in _FIRMWARE[arch] if not path.exists()]
    return ", ".join(lacking)


def overlay(
    path: Path, base: Path, *, base_format: str = "qcow2", size_bytes: int | None = None
) -> None:
    """A qcow2 file that holds only what differs from `base`."""
    size = [str(size_bytes)] if size_bytes else []
    path.unlink(missing_ok=True)
    _qemu_img(
        "create",
        "-q",
        "-f",
        "qcow2",
        "-F",
        base_format,
        "-b",
        str(base.resolve()),
        str(path),
        *size,
    )


def _qemu_img(*arguments: str) -> None:
    subprocess.run(["qemu-img", *arguments], check=True, timeout=120, stdin=subprocess.DEVNULL)


def _forwarded(usernet: str) -> dict[int, int]:
    """Guest port -> host port, from `info usernet`'s HOST_FORWARD lines."""
    found = re.findall(r"TCP\[HOST_FORWARD\]\s+\d+\s+127\.0\.0\.1\s+(\d+)\s+\S+\s+(\d+)", usernet)
    return {int(guest): int(host) for host, guest in found}
