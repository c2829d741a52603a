"""`scripts/dev`: steward, relay and web as processes on loopback; no root, no image.

The supervisor writes the pid of each process under DIR/run/, prints `ready` on a line of its own
when all ports answer, starts again what ends, and ends cleanly on SIGTERM. A child dies with its
supervisor (PR_SET_PDEATHSIG), so that a SIGKILL leaves no orphan holding a port. A start ends
what an earlier one with the same DIR left, if it really is ours.
"""

import argparse
import asyncio
import contextlib
import ctypes
import os
import signal
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from appliance.base import control
from appliance.base.files import replace_file
from appliance.base.finding import PennypostError
from appliance.render.effects import answers_smtp, answers_web
from hw.fake import FakePanel
from hw.patterns import BoxState, Mail, patterns

START_SECONDS = 60
STOP_SECONDS = 40  # the relay lets running transactions end
PAUSE_SECONDS = 0.1
RESTART_PAUSE_SECONDS = 1.0
BOARD_SECONDS = 5.0
LAST_WORDS_CHARACTERS = 2000
PR_SET_PDEATHSIG = 1
SUPERVISOR = "dev"
CHECKOUT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What was asked for on the command line."""

    data: Path
    smtp: int
    submission: int
    submissions: int
    web: int
    resolver: str
    settings: Path | None
    watch: bool

    @property
    def run(self) -> Path:
        return self.data / "run"

    def commands(self) -> dict[str, list[str]]:
        """Program to argv, in the order of their start."""
        where = ["--data", str(self.data), "--run", str(self.run)]
        ports = ["--smtp", str(self.smtp), "--submission", str(self.submission)]
        ports += ["--submissions", str(self.submissions)]
        web = ["--web", str(self.web)]
        resolver = ["--resolver", self.resolver] if self.resolver else []
        settings = ["--settings", str(self.settings)] if self.settings else []
        return {
            "steward": [*_python("steward"), "--dev", *where, *ports, *web, *resolver, *settings],
            "relay": [*_python("relay"), *where, *ports, *resolver],
            "web": [*_python("web"), *where, "--port", str(self.web)],
        }


def _python(room: str) -> list[str]:
    return [sys.executable, "-P", "-m", f"appliance.{room}.main"]


def die_with_parent() -> None:
    """In the child before exec: the kernel kills it when its parent ends, however that ends."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class Supervisor:
    """Runs the three programs until told to end."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._children: dict[str, asyncio.subprocess.Process] = {}
        self._ending = asyncio.Event()

    async def run(self) -> int:
        """Start everything in order, say `ready`, keep it running, end it. The exit status."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._ending.set)
        self._write_pid(SUPERVISOR, os.getpid())
        try:
            if not await self._start_all():
                return 0 if self._ending.is_set() else 1
            print("ready", flush=True)
            await self._keep()
            return 0
        finally:
            await self._stop_all()
            (self._options.run / f"{SUPERVISOR}.pid").unlink(missing_ok=True)

    async def _start_all(self) -> bool:
        for name in self._options.commands():
            await self._start(name)
            if not await self._until_up(name):
                return False
        return True

    async def _start(self, name: str) -> None:
        argv = self._options.commands()[name]
        if name == "steward" and self._children:  # settings are imported once, not at a restart
            argv = _without(argv, "--settings")
        with self._output_of(name) as output:
            child = await asyncio.create_subprocess_exec(
                *argv,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                preexec_fn=die_with_parent,
            )
        self._children[name] = child
        self._write_pid(name, child.pid)

    @contextlib.contextmanager
    def _output_of(self, name: str) -> Iterator[int | None]:
        """A log file: who started us may not read our output, and a full pipe stops a daemon.

        With --watch somebody looks at the terminal, so there it goes.
        """
        if self._options.watch:
            yield None
            return
        log = self._options.data / "log"
        log.mkdir(parents=True, exist_ok=True)
        with (log / f"{name}.log").open("ab") as file:
            yield file.fileno()

    def _last_words(self, name: str) -> str:
        """The end of a program's log, for the one who waits for `ready`."""
        log = self._options.data / "log" / f"{name}.log"
        if self._options.watch or not log.exists():
            return ""
        return "\n" + log.read_text(errors="replace")[-LAST_WORDS_CHARACTERS:].rstrip()

    async def _until_up(self, name: str) -> bool:
        """Wait until `name` answers; False when it ended, we were told to end, or it took long."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and not self._ending.is_set():
            if self._children[name].returncode is not None:
                status = self._children[name].returncode
                return _complain(f"{name} ended with {status}.{self._last_words(name)}")
            if await asyncio.to_thread(self._is_up, name):
                return True
            await asyncio.sleep(PAUSE_SECONDS)
        return self._ending.is_set() or _complain(
            f"{name} does not answer.{self._last_words(name)}"
        )

    def _is_up(self, name: str) -> bool:
        options = self._options
        if name == "web":
            return answers_web(options.web, tls=False)
        try:
            verb = "claim.status" if name == "steward" else "status"
            control.call(options.run / f"{name}.sock", verb, timeout_seconds=5)
        except PennypostError:
            return False
        if name == "steward" or not self._mail_is_wanted():
            return True
        return (
            answers_smtp(options.smtp, tls=False)
            and answers_smtp(options.submission, tls=False)
            and answers_smtp(options.submissions, tls=True)
        )

    def _mail_is_wanted(self) -> bool:
        shown = control.call(self._options.run / "steward.sock", "settings.show")
        return bool(shown["settings"]["mail.enabled"])

    async def _keep(self) -> None:
        """Start again what ends by itself, or all of it when the code changed."""
        tasks = [self._watch(), self._show_board()] if self._options.watch else []
        beside = [asyncio.create_task(task) for task in tasks]
        ending = asyncio.create_task(self._ending.wait())
        while not self._ending.is_set():
            ends = {asyncio.create_task(c.wait()): name for name, c in self._children.items()}
            await asyncio.wait([*ends, ending], return_when=asyncio.FIRST_COMPLETED)
            for end, name in ends.items():
                if end.done() and not self._ending.is_set():
                    _complain(f"{name} ended with {end.result()}; it is started again.")
                    await self._pause(RESTART_PAUSE_SECONDS)
                    await self._start(name)
                end.cancel()
        for task in beside:
            task.cancel()

    async def _watch(self) -> None:
        """For `make dev`: end everything when a file changed; `_keep` starts it again."""
        seen = _newest_change()
        while True:
            await asyncio.sleep(1)
            if (newest := _newest_change()) != seen:
                seen = newest
                print("the code changed; starting again", flush=True)
                for child in self._children.values():
                    _signal(child, signal.SIGTERM)

    async def _show_board(self) -> None:
        """The fake board: a line whenever its LEDs change."""
        panel, shown = FakePanel(), ""
        while True:
            state = await asyncio.to_thread(self._box_state)
            for role, pattern in patterns(state).items():
                panel.show(role, pattern)
            if panel.text() != shown:
                shown = panel.text()
                print(f"board: {shown}", flush=True)
            await asyncio.sleep(BOARD_SECONDS)

    def _box_state(self) -> BoxState:
        steward = self._options.run / "steward.sock"
        try:
            services = {s["name"]: s for s in control.call(steward, "services.status")}
            claimed = bool(control.call(steward, "claim.status")["claimed"])
        except PennypostError:
            return BoxState(failing=True)
        relay = services["relay"]
        runs = Mail.FLOWS if relay["state"] == "running" else Mail.DOWN
        return BoxState(
            claimed=claimed,
            failing=any(s["state"] == "failing" for s in services.values()),
            attention=claimed and not relay["wanted"],
            mail=runs if relay["wanted"] else Mail.OFF,
        )

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._ending.wait(), seconds)

    async def _stop_all(self) -> None:
        """The web first, then the relay, then the steward that both may ask."""
        for name, child in reversed(self._children.items()):
            _signal(child, signal.SIGTERM)
            try:
                await asyncio.wait_for(child.wait(), STOP_SECONDS)
            except TimeoutError:
                _complain(f"{name} does not end; it is killed.")
                _signal(child, signal.SIGKILL)
                await child.wait()
            (self._options.run / f"{name}.pid").unlink(missing_ok=True)

    def _write_pid(self, name: str, pid: int) -> None:
        replace_file(self._options.run / f"{name}.pid", f"{pid}\n".encode())


def _signal(child: asyncio.subprocess.Process, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        if child.returncode is None:
            child.send_signal(number)


def _complain(text: str) -> bool:
    print(f"dev: {text}", file=sys.stderr, flush=True)
    return False


def _without(argv: Sequence[str], option: str) -> list[str]:
    if option not in argv:
        return list(argv)
    at = argv.index(option)
    return [*argv[:at], *argv[at + 2 :]]


def _newest_change() -> int:
    """The newest time of change of any file that the daemons load."""
    here = Path(__file__).resolve().parent
    suffixes = (".py", ".html", ".css", ".js", ".svg")
    return max(p.stat().st_mtime_ns for p in here.rglob("*") if p.suffix in suffixes)


def end_left_over(run: Path) -> None:
    """End what an earlier start with this folder left: first its supervisor, then the others."""
    pids = [pid for name in (SUPERVISOR, "web", "relay", "steward") if (pid := _ours(run, name))]
    for number, seconds in ((signal.SIGTERM, STOP_SECONDS), (signal.SIGKILL, STOP_SECONDS)):
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        if _wait_until_gone(pids, seconds):
            break
    for name in ("steward", "relay"):
        (run / f"{name}.sock").unlink(missing_ok=True)


def _ours(run: Path, name: str) -> int | None:
    """The pid in a pid file if that process is one of this folder's: pids are used again."""
    try:
        pid = int((run / f"{name}.pid").read_text())
        argv = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except (OSError, ValueError):
        return None
    room = b"appliance.dev" if name == SUPERVISOR else f"appliance.{name}.main".encode()
    # The supervisor's own DIR may have been given as a relative path; its pid file lies here.
    is_ours = room in argv and (name == SUPERVISOR or str(run.parent).encode() in argv)
    return pid if is_ours and pid != os.getpid() else None


def _wait_until_gone(pids: Iterable[int], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while any(_runs(pid) for pid in pids):
        if time.monotonic() > deadline:
            return False
        time.sleep(PAUSE_SECONDS)
    return True


def _runs(pid: int) -> bool:
    """A zombie has ended: nobody may have collected it yet, but its ports are free."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="scripts/dev", description="Relay and pages on loopback, without root or an image."
    )
    parser.add_argument("--data", type=Path, default=CHECKOUT / "build" / "dev", metavar="DIR")
    for name, port in (("smtp", 2525), ("submission", 5870), ("submissions", 4650), ("web", 8080)):
        parser.add_argument(f"--{name}", type=int, default=port, metavar="PORT")
    parser.add_argument("--resolver", default="", metavar="ADDR:PORT", help="a name server to ask")
    parser.add_argument("--settings", type=Path, metavar="FILE.json", help="import at the start")
    parser.add_argument("--watch", action="store_true", help="start again when the code changes")
    args = parser.parse_args(argv)
    data = args.data.resolve()
    options = Options(**{**vars(args), "data": data})
    if options.settings is not None and not options.settings.is_file():
        parser.error(f"there is no file {options.settings}")
    options.data.mkdir(mode=0o700, parents=True, exist_ok=True)
    options.run.mkdir(exist_ok=True)
    end_left_over(options.run)
    return asyncio.run(Supervisor(options).run())


if __name__ == "__main__":
    sys.exit(main())
