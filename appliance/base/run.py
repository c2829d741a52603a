"""The one door to subprocesses: argv lists, a time limit, failures one can paste into a shell."""

from __future__ import annotations

import shlex
import socket
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from appliance.base.finding import Finding, PennypostError, Result

_SHOWN_OUTPUT_CHARACTERS = 2000


@dataclass(frozen=True, slots=True)
class Completed:
    """What a program left: its exit status and both outputs as bytes."""

    returncode: int
    stdout: bytes
    stderr: bytes


class CommandFailed(PennypostError):
    """A program exited with an error, ran over its time, or is not installed."""

    def __init__(self, argv: Sequence[str], why: str, output: bytes = b"") -> None:
        text = output.decode("utf-8", "replace").strip()[-_SHOWN_OUTPUT_CHARACTERS:]
        super().__init__(
            Finding(
                check=f"command.{argv[0].rpartition('/')[2]}",
                result=Result.BAD,
                say=f"{argv[0].rpartition('/')[2]} {why}" + (f": {text}" if text else "."),
                fix=f"To see it yourself: {shlex.join(argv)}",
            )
        )
        self.argv = tuple(argv)
        self.output = output


def run(
    argv: Sequence[str],
    *,
    timeout_seconds: float,
    input: bytes | None = None,
    check: bool = True,
    env: Mapping[str, str] | None = None,
) -> Completed:
    """Run `argv` to its end without a shell.

    Raises CommandFailed when the program is missing, takes longer than
    `timeout_seconds` (it is killed then) or, with `check`, exits non-zero.
    """
    try:
        done = subprocess.run(
            list(argv),
            input=input,
            stdin=subprocess.DEVNULL if input is None else None,
            capture_output=True,
            timeout=timeout_seconds,
            env=dict(env) if env is not None else None,
            check=False,
        )
    except FileNotFoundError as error:
        raise CommandFailed(argv, "is not installed") from error
    except subprocess.TimeoutExpired as error:
        why = f"did not end within {timeout_seconds:g} seconds"
        raise CommandFailed(argv, why, error.stderr or b"") from error
    if check and done.returncode != 0:
        raise CommandFailed(
            argv, f"failed with exit status {done.returncode}", done.stderr or done.stdout
        )
    return Completed(done.returncode, done.stdout, done.stderr)


class Child:
    """A program that runs beside us, told by a socket what to do, until that is closed."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    @property
    def pid(self) -> int:
        """Its number."""
        return self._process.pid

    def end(self, patience_seconds: float = 2.0) -> None:
        """Wait for its end, which the closed socket has asked for; then make it."""
        try:
            self._process.wait(patience_seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def begin(argv: Sequence[str], *, stdin: socket.socket) -> Child:
    """Start `argv` with a socket as its standard input; its errors go where ours go.

    Raises OSError.
    """
    return Child(subprocess.Popen(list(argv), stdin=stdin.fileno(), stdout=subprocess.DEVNULL))
