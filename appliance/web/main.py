"""pennypost-web: the pages under waitress.

    python3 -m appliance.web.main                     on the box: socket from systemd
    python3 -m appliance.web.main --socket PATH       the same with a socket of its own
    python3 -m appliance.web.main --data DIR --port 8080 [--resolver ADDR:PORT]

On the box it listens on a unix socket behind nginx, whose X-Forwarded-For and -Proto say who
calls and how; with `--port` it listens on loopback only and heeds no such header. The log goes
to stderr. Ends on SIGTERM.
"""

from __future__ import annotations

import argparse
import logging
import signal
import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import waitress
from werkzeug.middleware.proxy_fix import ProxyFix

from appliance.base import sd
from appliance.dns.live import LiveResolver
from appliance.web.app import create_app
from appliance.web.config import WebConfig
from appliance.web.rendered import Rendered

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

THREADS = 8
LOOPBACK = "127.0.0.1"


def arguments(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="pennypost-web", description="The pages of the box.")
    parser.add_argument("--data", type=Path, default=Path("/data/pennypost"))
    parser.add_argument("--run", type=Path, help="default: /run/pennypost, or DATA/run in dev")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--socket", type=Path, help="unix socket behind nginx")
    where.add_argument("--port", type=int, help="port on loopback, without a proxy")
    parser.add_argument("--resolver", default="", help="name server, ADDR:PORT")
    return parser.parse_args(argv)


def name_server(given: str, facts: Mapping[str, Any]) -> str:
    """The name server to ask: as given, else the one of the facts, else the host's own."""
    if given or facts.get("resolver"):
        return given or str(facts["resolver"])
    try:
        lines = Path("/etc/resolv.conf").read_text().splitlines()
    except OSError:
        lines = []
    servers = [
        parts[1] for parts in map(str.split, lines) if parts[:1] == ["nameserver"] and parts[1:]
    ]
    return servers[0] if servers else LOOPBACK


def _unix_socket(path: Path) -> socket.socket:
    """systemd's socket when it hands one over, else a new one at `path`, for nginx's group."""
    for handed in sd.listen_fds().values():
        return handed[0]
    if path.is_socket():
        path.unlink()
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.bind(str(path))
    path.chmod(0o660)
    return sock


def _stop(_signal: int, _frame: FrameType | None) -> None:
    raise SystemExit(0)


def main(argv: list[str] | None = None) -> int:
    args = arguments(sys.argv[1:] if argv is None else argv)
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    on_the_box = args.port is None
    run = args.run or (Path("/run/pennypost") if on_the_box else args.data / "run")
    config = WebConfig(data=args.data, run=run, behind_proxy=on_the_box)
    server_name = name_server(args.resolver, Rendered(config.rendered).view().facts)
    app = create_app(config, LiveResolver.from_text(server_name, lifetime_seconds=6))
    wsgi: WSGIApplication = app
    listen: dict[str, object] = {"listen": f"{LOOPBACK}:{args.port}"}
    if on_the_box:
        # Only nginx reaches the socket, so the last entry of each header is nginx's own.
        wsgi = ProxyFix(app, x_for=1, x_proto=1, x_host=0, x_port=0, x_prefix=0)
        listen = {"sockets": [_unix_socket(args.socket or run / "web.sock")]}
    signal.signal(signal.SIGTERM, _stop)
    server = waitress.create_server(
        wsgi,
        **listen,
        threads=THREADS,
        ident=None,
        connection_limit=200,
        channel_timeout=60,
        max_request_body_size=4 * 1024 * 1024,
        clear_untrusted_proxy_headers=not config.behind_proxy,
    )
    sd.notify("READY=1")
    server.run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
