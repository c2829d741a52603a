"""The control socket: verbs, progress, refusals, and callers that are up to no good."""

import asyncio
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import pytest

from appliance.base import control
from appliance.base.control import Request
from appliance.base.finding import Refused, Unreachable


async def _echo(request: Request) -> object:
    request.progress({"step": "think", "state": "done"})
    return {"args": request.args, "uid": request.peer.uid}


async def _refuse(request: Request) -> object:
    raise Refused.because("a.check", "No.", "Ask differently.")


async def _break(request: Request) -> object:
    raise KeyError("secret detail")


HANDLERS = {"echo": _echo, "refuse": _refuse, "break": _break}


class Daemon:
    """A control server in a thread of its own."""

    def __init__(self, path: Path, **options: object) -> None:
        self._loop = asyncio.new_event_loop()
        self._server = self._loop.run_until_complete(
            control.serve(HANDLERS, path=path, **options)  # type: ignore[arg-type]
        )
        self._thread = Thread(target=self._loop.run_forever)
        self._thread.start()

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._server.close)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()


@pytest.fixture
def path(tmp_path: Path) -> Iterator[Path]:
    daemon = Daemon(tmp_path / "x.sock")
    yield tmp_path / "x.sock"
    daemon.stop()


def test_a_verb_gets_its_arguments_and_the_callers_user(path: Path) -> None:
    answer = control.call(path, "echo", {"a": "ü"})
    assert answer == {"args": {"a": "ü"}, "uid": os.getuid()}


def test_progress_comes_before_the_answer(path: Path) -> None:
    seen: list[object] = []
    control.call(path, "echo", on_progress=seen.append)
    assert seen == [{"step": "think", "state": "done"}]


def test_a_refusal_arrives_as_the_finding_it_was(path: Path) -> None:
    with pytest.raises(Refused) as refused:
        control.call(path, "refuse")
    assert refused.value.finding.fix == "Ask differently."


def test_an_unexpected_error_tells_the_caller_no_details(path: Path) -> None:
    with pytest.raises(Refused) as refused:
        control.call(path, "break")
    assert "secret" not in str(refused.value.finding)
    assert "KeyError" not in str(refused.value.finding)


@pytest.mark.parametrize(
    "line",
    [
        b"{",
        b"[]",
        b"null",
        b'{"verb": 3}',
        b'{"verb":"nope"}',
        b'{"verb":"echo","args":3}',
        b"[" * 100_000,
        b"\xff\xfe",
    ],
)
def test_a_malformed_request_is_answered_and_the_server_lives(path: Path, line: bytes) -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(str(path))
        sock.sendall(line + b"\n")
        answer = json.loads(sock.makefile("rb").readline())
    assert answer["ok"] is False
    assert control.call(path, "echo")["args"] == {}


def test_other_users_are_turned_away(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path / "y.sock", allowed_uids={os.getuid() + 1})
    try:
        with pytest.raises(Refused, match="may not give orders"):
            control.call(tmp_path / "y.sock", "echo")
    finally:
        daemon.stop()


def test_a_daemon_that_is_not_there_is_said_to_be_not_there(tmp_path: Path) -> None:
    with pytest.raises(Unreachable, match="relay does not answer"):
        control.call(tmp_path / "relay.sock", "status")


def test_a_stale_socket_is_replaced(tmp_path: Path) -> None:
    stale = tmp_path / "z.sock"
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(stale))
    daemon = Daemon(stale)
    try:
        assert control.call(stale, "echo")["args"] == {}
    finally:
        daemon.stop()


def test_a_socket_that_was_handed_over_outlives_the_server(tmp_path: Path) -> None:
    """systemd keeps listening on it; Python 3.13 would take its file away."""
    path = tmp_path / "given.sock"

    async def serve_and_end() -> None:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.bind(str(path))
            server = await control.serve({}, sock=sock)
            server.close()

    asyncio.run(serve_and_end())
    assert path.is_socket()


def test_a_caller_may_be_held_to_a_few_verbs() -> None:
    def ask(verb: str, uid: int) -> object:
        handlers = control.only(HANDLERS, {864}, {"echo"})
        peer = control.Peer(pid=1, uid=uid, gid=uid)
        request = Request(verb=verb, args={}, peer=peer, progress=lambda step: None)
        return asyncio.run(handlers[verb](request))  # type: ignore[arg-type]

    assert ask("echo", 864) == ask("echo", 0) | {"uid": 864}  # type: ignore[operator]
    with pytest.raises(Refused, match="not for this user"):
        ask("refuse", 864)
    with pytest.raises(Refused, match="No"):
        ask("refuse", 0)
