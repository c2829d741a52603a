"""Processes of a checkout for tests: the command line, and a steward with a stand-in relay."""

import asyncio
import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import threading
import unittest.mock
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from appliance.base.control import Request, call, serve
from appliance.cli.main import main
from tests.support.wait import wait_until

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}


@dataclass(frozen=True, slots=True)
class Answer:
    """What the command line left: its status and both outputs."""

    status: int
    out: str
    err: str

    def json(self) -> Any:
        return json.loads(self.out)


class CommandLine:
    """`pennypost --data DIR ...`, in this process: a start of Python for each call adds up."""

    def __init__(self, data: Path) -> None:
        self.data = data

    def __call__(self, *words: str, stdin: str = "") -> Answer:
        out, err = io.StringIO(), io.StringIO()
        with (
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
            unittest.mock.patch("sys.stdin", io.StringIO(stdin)),
        ):
            try:
                status = main(["--data", str(self.data), *words])
            except SystemExit as end:  # argparse's way of saying 2
                status = int(end.code or 0)
        return Answer(status, out.getvalue(), err.getvalue())


class StandInRelay:
    """Answers on the relay's control socket, and remembers what it was asked."""

    def __init__(self, run: Path) -> None:
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self._path = run / "relay.sock"
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    async def _answer(self, request: Request) -> Any:
        self.asked.append((request.verb, request.args))
        if request.verb == "queue.list":
            return {"total": 0, "items": []}
        return {"accepting": True, "count": 3}

    def _serve(self) -> None:
        verbs = ("status", "reload", "queue.list", "queue.send", "queue.hold", "queue.delete")
        self._loop.run_until_complete(serve(dict.fromkeys(verbs, self._answer), path=self._path))
        self._loop.run_forever()

    def __enter__(self) -> "StandInRelay":
        self._thread.start()
        wait_until(lambda: self._path.exists(), what="the stand-in relay")
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)


@contextlib.contextmanager
def steward(data: Path, *, web_port: int, settings: Path | None = None) -> Iterator[int]:
    """A steward of a checkout; its pid."""
    argv = [sys.executable, "-m", "appliance.steward.main", "--dev", "--data", str(data)]
    argv += ["--web", str(web_port), *(["--settings", str(settings)] if settings else [])]
    process = subprocess.Popen(argv, env=ENVIRONMENT, stderr=subprocess.DEVNULL)
    try:
        wait_until(
            lambda: process.poll() is not None or call(data / "run/steward.sock", "claim.status"),
            what="the steward answers",
            ignore=(Exception,),
        )
        assert process.poll() is None, "the steward ended"
        yield process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)
