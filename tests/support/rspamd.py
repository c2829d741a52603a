"""A real rspamd with the configuration that the box renders, on a loopback port."""

import os
import shutil
import signal
import subprocess
import tempfile
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from appliance.render import rspamd
from appliance.settings import schema
from tests.support.dns_server import DnsServer
from tests.support.ports import free_ports
from tests.support.wait import wait_until

# rspamd's compiled tables take ten seconds to make: kept for later runs on this machine.
TABLES = Path(tempfile.gettempdir()) / f"pennypost-rspamd-tables-{os.getuid()}"


class Rspamd:
    """`address` is host:port. Its processes are ended by number, the children by their parent.

    `edit` is what a test does to the configuration before rspamd reads it.
    """

    def __init__(
        self,
        settings: Mapping[str, Any] | None = None,
        edit: Callable[[str], str] = lambda text: text,
        *,
        learn: Path | None = None,
    ) -> None:
        """`learn` is the path of the socket for what is to be learnt, in a folder that anybody may
        write to."""
        self.settings = schema.from_json({"content.ask_lists": False, **(settings or {})})
        (self.port,) = free_ports(1)
        self.address = f"127.0.0.1:{self.port}"
        self.dns = DnsServer({})  # nobody has any record
        self._edit = edit
        self._learn = learn
        self._process: subprocess.Popen[bytes] | None = None
        TABLES.mkdir(exist_ok=True)
        TABLES.chmod(0o777)

    def text(self) -> str:
        text = rspamd.configuration(
            self.settings,
            state=TABLES,
            resolver=f"127.0.0.1:{self.dns.port}",
            listen=self.address,
            learn=f"{self._learn} mode=0666" if self._learn else "",
        )
        if self._learn:  # what is learnt here is not for later runs
            text = text.replace(f'path = "{TABLES}/', f'path = "{self._learn.parent}/')
        return self._edit(text)

    def __enter__(self) -> Self:
        self.dns.__enter__()
        self.file = TABLES / f"{self.port}.conf"
        self.file.write_text(self.text())
        program = shutil.which("rspamd") or "rspamd"
        ids = ["-u", "_rspamd", "-g", "_rspamd"] if os.getuid() == 0 else ["--insecure"]
        self._process = subprocess.Popen(
            [program, "-f", *ids, "-c", str(self.file)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        wait_until(self._answers, what="rspamd", timeout_seconds=120)
        return self

    def pids(self) -> list[int]:
        assert self._process is not None
        found = subprocess.run(
            ["ps", "-o", "pid=", "--ppid", str(self._process.pid)], capture_output=True, check=False
        )
        return [self._process.pid, *map(int, found.stdout.split())]

    def pss_bytes(self) -> int:
        """Proportional set size of all its processes."""
        lines = [
            line
            for pid in self.pids()
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
            if line.startswith("Pss:")
        ]
        return sum(int(line.split()[1]) * 1024 for line in lines)

    def pause(self) -> None:
        for pid in self.pids():
            os.kill(pid, signal.SIGSTOP)

    def resume(self) -> None:
        for pid in self.pids():
            os.kill(pid, signal.SIGCONT)

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://{self.address}/ping", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(30)
        self.file.unlink(missing_ok=True)
        self.dns.__exit__(kind, error, trace)
