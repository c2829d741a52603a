"""The appliance in an emulated machine, as a person and their mail servers meet it."""

from __future__ import annotations

import http.client
import re
import socket
import ssl
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.support.console import Console
from tests.support.machine import Frozen, Hardware, Machine
from tests.support.smtp_client import SmtpClient
from tests.support.wait import TimedOut, wait_until

BOOT_LIMIT_SECONDS = 400.0
HOST = "10.0.2.2"  # the test host, as the guest sees it


@dataclass(frozen=True, slots=True)
class Page:
    """An HTTP answer: status, headers in lower case, body."""

    status: int
    headers: dict[str, str]
    body: bytes


class Box:
    """A box that is powered on, cut off, looked into. Use as a context manager."""

    def __init__(self, folder: Path, hardware: Hardware | None = None) -> None:
        self.machine = Machine(folder, hardware)
        self._console: Console | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None:
            print(f"-- the box's serial log ends with:\n{self.machine.log_tail(60)}")
        self.cut_power()

    # --- power ------------------------------------------------------------

    def flash(self, image: Path) -> Self:
        self.machine.insert(image)
        return self

    def power_on(self) -> Self:
        self.machine.start()
        return self

    def cut_power(self) -> None:
        self._hang_up()
        self.machine.kill()

    def freeze(self) -> Frozen:
        """Put the box to sleep on the host's disk, whole; it can be thawed many times."""
        self.root("sync")
        self._hang_up()
        return self.machine.freeze()

    def thaw(self, frozen: Frozen) -> Self:
        """Wake a frozen box as it was, and tell it what time it is now.

        It slept; its own clock stands still meanwhile, the hardware clock does not.
        """
        self.machine.thaw(frozen)
        self.root("date -s @$(cat /sys/class/rtc/rtc0/since_epoch)")
        return self

    def _hang_up(self) -> None:
        if self._console is not None:
            self._console.close()
            self._console = None

    # --- looking in -------------------------------------------------------

    @property
    def console(self) -> Console:
        if self._console is None:
            self._console = Console(self.machine.console_socket)
            self._console.wait_until_ready(timeout_seconds=BOOT_LIMIT_SECONDS)
        return self._console

    def root(self, command: str, *, timeout_seconds: float = 120.0) -> str:
        """Run a command as root on the box that must work; what it printed."""
        return self.console.run(command, timeout_seconds=timeout_seconds)

    def ask(self, command: str, *, timeout_seconds: float = 120.0) -> tuple[int, str]:
        """Run a command as root on the box; its code and what it printed."""
        output = self.console.ask(command, timeout_seconds=timeout_seconds)
        return output.code, output.text

    @property
    def serial(self) -> str:
        """All that the box wrote on its console (the first serial line) so far."""
        if not self.machine.serial_log.exists():
            return ""
        return self.machine.serial_log.read_text("utf-8", "replace").replace("\r", "")

    def failed_units(self) -> list[str]:
        text = self.root("systemctl list-units --failed --plain --no-legend --no-pager")
        return [line.split()[0] for line in text.splitlines() if line.strip()]

    def wait_until_settled(self, *, timeout_seconds: float = BOOT_LIMIT_SECONDS) -> str:
        """Wait until systemd has nothing left to start; its word for the state."""

        def settled() -> str:
            _, text = self.ask("systemctl is-system-running")
            return "" if text in ("initializing", "starting", "offline") else text

        return wait_until(
            settled, what="the box settled", timeout_seconds=timeout_seconds, every_seconds=1.0
        )

    def slot(self) -> str:
        """The slot the box runs from: a or b."""
        found = re.search(r"pennypost\.slot=(\w)", self.root("cat /proc/cmdline"))
        assert found, "the kernel command line names no slot"
        return found[1]

    def claim_code(self, *, timeout_seconds: float = BOOT_LIMIT_SECONDS) -> str:
        """The claim code, read off the console as its owner reads it."""

        def shown() -> str:
            codes = re.findall(r"Claim code: *([A-Za-z0-9]+(?:-[A-Za-z0-9]+)*)", self.serial)
            return next((code for code in reversed(codes) if code != "not"), "")

        return wait_until(
            shown, what="the claim code on the console", timeout_seconds=timeout_seconds
        )

    def wait_for_slots(self, *, timeout_seconds: float = 900.0) -> None:
        """Wait until the box has confirmed its slot and filled the other one."""
        for unit in ("pennypost-confirm.service", "pennypost-slots.service"):

            def done(unit: str = unit) -> bool:
                # Not ActiveState: the copy is "active" from its first moment to its last.
                text = self.root(f"systemctl show -p ActiveState,ExecMainExitTimestamp {unit}")
                if "ActiveState=failed" in text:
                    raise AssertionError(f"{unit} failed: " + self.journal(unit))
                return "ExecMainExitTimestamp=\n" not in f"{text}\n"

            wait_until(
                done, what=f"{unit} done", timeout_seconds=timeout_seconds, every_seconds=1.0
            )

    def journal(self, unit: str, lines: int = 40) -> str:
        return self.ask(f"journalctl --no-pager -q -u {unit} -n {lines} -o cat")[1]

    # --- from outside -----------------------------------------------------

    def port(self, guest_port: int) -> int:
        """The loopback port of the host that leads to a port of the box."""
        return self.machine.ports[guest_port]

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port(443)}"

    def get(self, path: str = "/", *, guest_port: int = 443, timeout_seconds: float = 20) -> Page:
        """One GET; redirects are not followed, the certificate is not checked."""
        port = self.port(guest_port)
        connection: http.client.HTTPConnection
        if guest_port in (443, 8443):
            context = ssl._create_unverified_context()
            connection = http.client.HTTPSConnection(
                "127.0.0.1", port, timeout=timeout_seconds, context=context
            )
        else:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout_seconds)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            headers = {name.lower(): value for name, value in answer.getheaders()}
            return Page(status=answer.status, headers=headers, body=answer.read())
        finally:
            connection.close()

    def wait_for_web(self, *, timeout_seconds: float = BOOT_LIMIT_SECONDS) -> Page:
        """Wait for the first page that is not an error."""

        def answers() -> Page | None:
            if not self.machine.running:
                raise AssertionError(f"the machine ended; {self.machine.log_tail()}")
            page = self.get()
            return page if page.status < 500 else None

        try:
            page = wait_until(
                answers,
                what="the box's web page",
                timeout_seconds=timeout_seconds,
                every_seconds=0.3,
                ignore=(OSError, http.client.HTTPException),
            )
        except TimedOut as error:
            raise TimedOut(f"{error}\nserial log:\n{self.machine.log_tail(80)}") from None
        assert page is not None
        return page

    def smtp(self, guest_port: int = 25, *, tls: bool = False) -> SmtpClient:
        return SmtpClient("127.0.0.1", self.port(guest_port), tls=tls)

    def wait_for_smtp(self, *, timeout_seconds: float = BOOT_LIMIT_SECONDS) -> None:
        """Wait until port 25 greets with 220."""

        def greets() -> bool:
            with SmtpClient("127.0.0.1", self.port(25), timeout_seconds=10) as client:
                return client.banner.code == 220

        wait_until(
            greets,
            what="the relay's greeting",
            timeout_seconds=timeout_seconds,
            every_seconds=0.3,
            ignore=(OSError,),
        )

    def answers_on(self, guest_port: int, *, timeout_seconds: float = 5.0) -> bool:
        """Whether something on the box speaks on a forwarded port, plainly or by TLS.

        The emulator's own side accepts every connection, so accepting proves nothing:
        a byte from the box, or a finished handshake, does.
        """
        return self._speaks(guest_port, timeout_seconds) or self._shakes_hands(
            guest_port, timeout_seconds
        )

    def _speaks(self, guest_port: int, timeout_seconds: float) -> bool:
        address = ("127.0.0.1", self.port(guest_port))
        with socket.create_connection(address, timeout=timeout_seconds) as probe:
            try:
                probe.sendall(b"EHLO probe\r\n\r\n")
                return bool(probe.recv(1))
            except OSError:
                return False

    def _shakes_hands(self, guest_port: int, timeout_seconds: float) -> bool:
        address = ("127.0.0.1", self.port(guest_port))
        context = ssl._create_unverified_context()
        with socket.create_connection(address, timeout=timeout_seconds) as probe:
            try:
                context.wrap_socket(probe).close()
            except OSError:
                return False
            return True
