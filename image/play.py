"""`make run`: the appliance in a window of this terminal, with its pages on localhost.

The disk is kept under `build/run/<board>/`, so the box is the same one next time. A
new image is laid under a new disk only when asked for (`--fresh`) or when the old
image is gone: an overlay over a changed image would be nonsense.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import signal
import socket
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from image import boot, build, recipe
from image.recipe import SOURCE
from image.run import BuildError

DISK_BYTES = 8 << 30
# The port people are told about first, the box's port, and what answers there.
PORTS = ((8080, 80), (8443, 443), (2525, 25), (5870, 587), (4650, 465))
NAMES = {25: "SMTP", 587: "submission", 465: "submission over TLS"}
CLAIM = re.compile(r"Claim code: (\S+)")
READY_SECONDS = 600


@dataclass(frozen=True, slots=True)
class Kept:
    """The folder of a board's running box."""

    folder: Path

    @property
    def image(self) -> Path:
        """The image its disk is laid over."""
        return self.folder / "flashed.img"


def choose_ports() -> dict[int, int]:
    """Host port for each of the box's ports; another one where the usual is taken."""
    chosen = {}
    for usual, guest in PORTS:
        port = usual if _is_free(usual) else _any_free()
        if port != usual:
            print(f"Port {usual} of this host is taken; the box's port {guest} is at {port}.")
        chosen[port] = guest
    return chosen


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _any_free() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def prepare(kept: Kept, machine: boot.Machine, image: Path, *, fresh: bool) -> str:
    """Lay out the disk if there is none; returns what was done, for the person."""
    if not fresh and machine.disk.exists() and kept.image.exists():
        if kept.image.stat().st_mtime < image.stat().st_mtime:
            return (
                "The box goes on with its own disk and the system it has. The newer image is"
                " used by a new box: scripts/run --fresh"
            )
        return "The box goes on with its own disk (a new one: scripts/run --fresh)."
    kept.image.unlink(missing_ok=True)
    # A hard link costs nothing and keeps this image when the next build replaces it.
    try:
        kept.image.hardlink_to(image)
    except OSError:
        shutil.copyfile(image, kept.image)
    machine.insert(kept.image, DISK_BYTES)
    return "A new box, as if the image had just been written to its disk."


def tell(machine: boot.Machine, ports: dict[int, int]) -> None:
    """Say where everything is."""
    at = {guest: host for host, guest in ports.items()}
    print(f"  The wizard:   http://localhost:{at[80]}   then   https://localhost:{at[443]}")
    for guest, name in NAMES.items():
        print(f"  {name + ':':<13} localhost:{at[guest]}  (the box's port {guest})")
    print(f"  Its console:  {machine.serial_log}")
    print("  Ctrl-C ends it; its disk is kept.\n", flush=True)


def answers(port: int) -> bool:
    """Whether the web server behind a forwarded port says anything like HTTP."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
            connection.sendall(b"GET / HTTP/1.0\r\nHost: localhost\r\n\r\n")
            return connection.recv(5) == b"HTTP/"
    except OSError:
        return False


def watch(machine: boot.Machine, web_port: int) -> Iterator[str]:
    """What is worth saying while the box runs, as it happens; ends with the box."""
    began, ready, code = time.monotonic(), False, ""
    while machine.running:
        found = CLAIM.findall(machine.serial())
        if found and found[-1] != code:
            code = found[-1]
            yield f"Claim code: {code}   (the wizard asks for it)"
        if not ready and answers(web_port):
            ready = True
            yield f"The pages answer after {time.monotonic() - began:.0f} seconds."
        if not ready and time.monotonic() - began > READY_SECONDS:
            ready = True
            yield f"The pages do not answer yet; the console is in {machine.serial_log}"
        time.sleep(0.5)


def play(board: str, folder: Path, *, fresh: bool, memory_mib: int) -> int:
    """Build if need be, start, talk, end. Returns an exit code."""
    what = recipe.load(board)
    arch = what.arch.debian
    boot.check_host(arch)
    strict = os.environ.get("LOCKED", "") not in ("", "0")
    image = build.build(build.Options(board, folder, strict, os.environ))
    kept = Kept(folder / "run" / board)
    kvm = boot.kvm_works(arch, image, folder / "run")
    ports = choose_ports()
    hardware = boot.Hardware(arch, memory_mib, 2, kvm, ports)
    with boot.Machine(kept.folder, hardware) as machine:
        print(prepare(kept, machine, image, fresh=fresh))
        machine.start()
        how = "with KVM" if kvm else "without KVM: the first start takes a minute or two"
        print(f"Starting {what.title} in QEMU ({how}).\n")
        tell(machine, ports)
        try:
            for line in watch(machine, next(iter(ports))):
                print(line, flush=True)
        except KeyboardInterrupt:
            signal.signal(signal.SIGINT, signal.SIG_DFL)  # a second Ctrl-C ends it at once
            print("\nSwitching the box off ...", flush=True)
            machine.power_off()
            print("Off. `make run` starts it again with what it has.")
            return 0
        said = (kept.folder / "qemu.log").read_text("utf-8", "replace").strip()
        print(f"The box has switched itself off. {said}")
        return 1 if said else 0


def main() -> int:
    """`scripts/run`: arguments in, messages and an exit code out."""
    parser = argparse.ArgumentParser(description="Run the appliance in QEMU.")
    parser.add_argument("--board", default=os.environ.get("BOARD") or "generic-amd64")
    parser.add_argument("--build", type=Path, default=SOURCE / "build", help="working folder")
    parser.add_argument("--fresh", action="store_true", help="a new box: forget its disk")
    parser.add_argument("--memory", type=int, default=1024, metavar="MIB")
    args = parser.parse_args()

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, stop)
    # A shell without job control starts background jobs with SIGINT ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return play(args.board, args.build.resolve(), fresh=args.fresh, memory_mib=args.memory)
    except BuildError as error:
        print(f"\nThe box was not started: {error.what}", file=sys.stderr)
        if error.hint:
            print(f"What to do: {error.hint}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nInterrupted.", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
