"""nginx with the rendered file in front of a page on a unix socket."""

import contextlib
import dataclasses
import http.server
import shutil
import socket
import socketserver
import ssl
import subprocess
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.render import nginx
from appliance.settings import schema
from tests.support.applied_box import facts_of
from tests.support.ports import free_port
from tests.support.wait import wait_until

pytestmark = pytest.mark.skipif(shutil.which("nginx") is None, reason="nginx is not installed")


class Page(http.server.BaseHTTPRequestHandler):
    """Answers with the headers it got."""

    def do_GET(self) -> None:
        body = "\n".join(f"{k}: {v}" for k, v in self.headers.items()).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def address_string(self) -> str:
        return "nginx"

    def log_message(self, format: str, *args: object) -> None:
        pass


class UnixServer(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True


@contextlib.contextmanager
def front(folder: Path) -> Iterator[tuple[int, int, Path]]:
    """nginx on two free ports: plain, TLS, and the root to trust."""
    facts = dataclasses.replace(facts_of(folder), run=folder)
    settings = schema.from_json({"mail.hostname": "mail.example.com"})
    plain, tls = free_port(), free_port()
    text = nginx.render(settings, facts)[nginx.FILE].decode()
    for port, other in ((80, plain), (443, tls), (8443, free_port())):
        text = text.replace(f"listen {port} ", f"listen 127.0.0.1:{other} ")
        text = "\n".join(line for line in text.split("\n") if f"[::]:{port} " not in line)
    file = folder / "nginx.conf"
    file.write_text(
        text.replace(nginx.RUNTIME, str(folder)).replace("user www-data;", "user root;")
    )
    process = subprocess.Popen(["nginx", "-c", str(file)], stderr=subprocess.DEVNULL)
    try:
        wait_until(
            lambda: socket.create_connection(("127.0.0.1", tls), 5).close() is None,
            what="nginx listens",
            ignore=(OSError,),
        )
        yield plain, tls, facts.root_certificate
    finally:
        process.terminate()
        process.wait(20)


def test_it_says_who_calls_and_how_and_verifies_with_the_box_s_root(tmp_path: Path) -> None:
    server = UnixServer(str(tmp_path / "web.sock"), Page)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with front(tmp_path) as (plain, tls, root):
        context = ssl.create_default_context(cafile=str(root))
        context.verify_flags |= ssl.VERIFY_X509_STRICT  # the default of Python 3.13
        forged = {"X-Forwarded-For": "192.0.2.66", "Host": "pennypost.local"}
        request = urllib.request.Request(f"https://localhost:{tls}/", headers=forged)
        with urllib.request.urlopen(request, context=context, timeout=20) as answer:
            seen = answer.read().decode().splitlines()
            assert answer.headers["Server"] == "nginx"
        assert "X-Forwarded-For: 127.0.0.1" in seen
        assert "X-Forwarded-Proto: https" in seen
        assert f"X-Forwarded-Port: {tls}" in seen
        assert "Host: pennypost.local" in seen
        with urllib.request.urlopen(f"http://127.0.0.1:{plain}/", timeout=20) as answer:
            assert "X-Forwarded-Proto: http" in answer.read().decode().splitlines()
    server.shutdown()
    server.server_close()


def peer_certificate(port: int, name: str) -> bytes:
    """The certificate that a browser gets which asks for `name`."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with (
        socket.create_connection(("127.0.0.1", port), 20) as plain,
        context.wrap_socket(plain, server_hostname=name) as sock,
    ):
        certificate = sock.getpeercert(binary_form=True)
    assert certificate is not None
    return certificate


def test_saving_the_host_name_does_not_change_what_the_setting_up_browser_sees(
    tmp_path: Path,
) -> None:
    with front(tmp_path) as (_, tls, _):
        mail = peer_certificate(tls, "mail.example.com")
        local = peer_certificate(tls, "pennypost.local")
        assert local == peer_certificate(tls, "localhost")
        assert mail != local
