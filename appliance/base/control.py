"""JSON lines over a unix socket: how the box's programs talk to each other.

    request   {"verb": "queue.list", "args": {...}}
    replies   any number of {"progress": {...}}, then one of
              {"ok": true, "result": ...}   or   {"ok": false, "finding": {...}}

One line each, UTF-8. The server knows who calls by SO_PEERCRED, which the kernel
fills in and no caller can forge.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import socket
import struct
import sys
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from appliance.base.finding import Finding, PennypostError, Refused, Result, Unreachable

JSON = Any  # what json.loads gives; narrowed where it is read
MAX_REQUEST_BYTES = 16 * 1024 * 1024
_UCRED = struct.Struct("3i")
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Peer:
    """Who is at the other end of a unix socket."""

    pid: int
    uid: int
    gid: int


@dataclass(frozen=True, slots=True)
class Request:
    """One call: the verb, its arguments, who calls, and a way to report progress."""

    verb: str
    args: dict[str, JSON]
    peer: Peer
    progress: Callable[[Mapping[str, JSON]], None] = field(repr=False)


Handler = Callable[[Request], Awaitable[JSON]]


def peer_of(sock: socket.socket) -> Peer:
    """The process at the other end of the unix socket `sock`."""
    pid, uid, gid = _UCRED.unpack(
        sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
    )
    return Peer(pid=pid, uid=uid, gid=gid)


async def serve(
    handlers: Mapping[str, Handler],
    *,
    path: Path | None = None,
    sock: socket.socket | None = None,
    mode: int = 0o660,
    allowed_uids: Collection[int] | None = None,
) -> asyncio.Server:
    """Answer `handlers` on the unix socket at `path` (replaced if stale) or on `sock`.

    With `allowed_uids` anybody else is refused before the request is read. A
    handler refuses by raising PennypostError; any other exception is logged and
    the caller is told nothing but that it happened.
    """

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            await _answer(handlers, allowed_uids, reader, writer)
        with contextlib.suppress(ConnectionError):
            writer.close()
            await writer.wait_closed()

    if sock is not None:
        # From 3.13 on asyncio removes a socket's file when it closes the server, also when the
        # socket was handed over: systemd would go on listening where nobody can connect any more.
        keep: dict[str, JSON] = {"cleanup_socket": False} if sys.version_info >= (3, 13) else {}
        return await asyncio.start_unix_server(
            connected, sock=sock, limit=MAX_REQUEST_BYTES, **keep
        )
    if path is None:
        raise ValueError("serve() needs a path or a socket")
    _clear_stale(path)
    server = await asyncio.start_unix_server(connected, path=str(path), limit=MAX_REQUEST_BYTES)
    path.chmod(mode)
    return server


def only(
    handlers: Mapping[str, Handler], uids: Collection[int], verbs: Collection[str]
) -> dict[str, Handler]:
    """The same handlers, of which the callers `uids` may use `verbs` alone."""

    def guarded(verb: str, handler: Handler) -> Handler:
        async def answer(request: Request) -> JSON:
            if request.peer.uid in uids and verb not in verbs:
                raise Refused.because("control.who", f"{verb} is not for this user.")
            return await handler(request)

        return answer

    return {verb: guarded(verb, handler) for verb, handler in handlers.items()}


def _clear_stale(path: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        if path.is_socket():
            path.unlink()


async def _answer(
    handlers: Mapping[str, Handler],
    allowed_uids: Collection[int] | None,
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
) -> None:
    def send(message: Mapping[str, JSON]) -> None:
        writer.write(json.dumps(message, ensure_ascii=False).encode() + b"\n")

    peer = peer_of(writer.get_extra_info("socket"))
    if allowed_uids is not None and peer.uid not in allowed_uids:
        send(_failure("control.peer", f"User {peer.uid} may not give orders here."))
        await writer.drain()
        return
    while True:
        try:
            line = await reader.readline()
        except ValueError:  # the line is longer than the reader's limit
            send(_failure("control.request", "The request is larger than 16 MiB."))
            await writer.drain()
            return
        if not line:
            return
        send(await _dispatch(handlers, line, peer, lambda step: send({"progress": step})))
        await writer.drain()


async def _dispatch(
    handlers: Mapping[str, Handler],
    line: bytes,
    peer: Peer,
    progress: Callable[[Mapping[str, JSON]], None],
) -> Mapping[str, JSON]:
    try:
        raw = json.loads(line)
        verb, args = raw["verb"], raw.get("args") or {}
    except (ValueError, TypeError, KeyError, RecursionError, AttributeError):
        return _failure("control.request", "The request is not of the form {verb, args}.")
    if not isinstance(verb, str) or not isinstance(args, dict) or verb not in handlers:
        return _failure("control.verb", "This verb is not known here.")
    try:
        result = await handlers[verb](Request(verb=verb, args=args, peer=peer, progress=progress))
    except PennypostError as error:
        return {"ok": False, "finding": error.finding.to_json()}
    except Exception:
        _log.exception("verb %s failed", verb)
        return _failure("control.internal", f"{verb} failed unexpectedly; the log has the details.")
    return {"ok": True, "result": result}


def _failure(check: str, say: str) -> Mapping[str, JSON]:
    return {
        "ok": False,
        "finding": Finding(check=check, result=Result.BAD, say=say).to_json(),
    }


def call(
    path: Path,
    verb: str,
    args: Mapping[str, JSON] | None = None,
    *,
    timeout_seconds: float = 30,
    on_progress: Callable[[Mapping[str, JSON]], None] | None = None,
) -> JSON:
    """Ask the daemon at `path` and wait for its answer.

    `timeout_seconds` bounds each wait for a line, so long work stays alive by
    reporting progress. Raises Refused with the daemon's finding, or Unreachable.
    """
    request = json.dumps({"verb": verb, "args": dict(args or {})}, ensure_ascii=False)
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
            sock.settimeout(timeout_seconds)
            sock.connect(str(path))
            # A daemon that turns us away may be gone before the request is: its reason is there.
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                sock.sendall(request.encode() + b"\n")
            with sock.makefile("rb") as lines:
                for line in lines:
                    message = json.loads(line)
                    if "progress" in message:
                        if on_progress is not None:
                            on_progress(message["progress"])
                    elif message.get("ok"):
                        return message.get("result")
                    else:
                        raise Refused(Finding.from_json(message["finding"]))
    except (OSError, ValueError) as error:
        raise _unreachable(path, error) from error
    raise _unreachable(path, None)


def _unreachable(path: Path, error: Exception | None) -> Unreachable:
    name = path.name.removesuffix(".sock")
    why = ""
    if isinstance(error, OSError) and error.errno is not None:
        why = f" ({os.strerror(error.errno)})"
    return Unreachable(
        Finding(
            check=f"control.{name}",
            result=Result.UNKNOWN,
            say=f"The {name} does not answer{why}.",
            fix=f"Look whether pennypost-{name} is running.",
        )
    )
