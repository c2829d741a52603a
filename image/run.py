"""The one door to other programs and the words for failure, for everything in `image/`.

    BuildError               something a person can mend: what happened and what to do
    └── CommandFailed        a program ended badly; holds the line to paste into a shell

`image/` is a tower of its own (it never imports `appliance/`), so it has its own small door.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NoReturn

TAIL_LINES = 25


class BuildError(Exception):
    """A failure told to a person: `what` happened, `hint` what to do about it."""

    def __init__(self, what: str, hint: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.hint = hint


class CommandFailed(BuildError):
    """A program ended with an error; `output` is what it last printed."""

    def __init__(self, argv: Sequence[str], code: int, output: str, hint: str = "") -> None:
        tail = "\n".join(output.rstrip().splitlines()[-TAIL_LINES:])
        super().__init__(f"this command ended with {code}:\n  {shlex.join(argv)}\n{tail}", hint)
        self.code = code
        self.output = output


def die(what: str, hint: str = "") -> NoReturn:
    """Stop the build: one line for what happened, one for what to do."""
    raise BuildError(what, hint)


def clean_environment() -> dict[str, str]:
    """An environment in which programs give the same bytes on every host."""
    kept = ("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
    env = {name: os.environ[name] for name in kept if name in os.environ}
    path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    return env | {"PATH": path, "LC_ALL": "C.UTF-8", "TZ": "UTC", "HOME": "/root"}


def run(
    argv: Sequence[str],
    *,
    log: Path | None = None,
    stdin: bytes | None = None,
    env: Mapping[str, str] | None = None,
    hint: str = "",
) -> str:
    """Run a program to its end and return what it printed; its errors end the build.

    With `log` the output goes to that file while the program runs, so that an
    interrupted build leaves a trace.
    """
    with contextlib.ExitStack() as stack:
        sink = stack.enter_context(log.open("ab")) if log else subprocess.PIPE
        start = log.stat().st_size if log else 0
        with subprocess.Popen(
            list(argv),
            stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE,
            stdout=sink,
            stderr=subprocess.STDOUT,
            env={**clean_environment(), **(env or {})},
            umask=0o022,
        ) as process:
            try:
                out, _ = process.communicate(stdin)
            except BaseException:
                process.terminate()
                process.wait()
                raise
        raw = log.read_bytes()[start:] if log else out
    text = raw.decode(errors="replace")
    if process.returncode:
        raise CommandFailed(argv, process.returncode, text, hint)
    return text


class Steps:
    """Prints one line a step with the seconds it took, and remembers them."""

    def __init__(self, *, quiet: bool = False) -> None:
        self.seconds: dict[str, float] = {}
        self._quiet = quiet
        self._began = time.monotonic()

    @contextlib.contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Time what is done inside; a failure shows at which step it came."""
        self._say(f"{self._clock()}  {name} ...")
        began = time.monotonic()
        yield
        self.seconds[name] = time.monotonic() - began
        self._say(f"{self._clock()}  {name}: {self.seconds[name]:.1f} s")

    def note(self, text: str) -> None:
        """Tell something that belongs to the running step."""
        self._say(f"{self._clock()}    {text}")

    def total(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._began

    def _clock(self) -> str:
        minutes, seconds = divmod(int(self.total()), 60)
        return f"[{minutes:2d}:{seconds:02d}]"

    def _say(self, line: str) -> None:
        if not self._quiet:
            print(line, flush=True, file=sys.stderr)
