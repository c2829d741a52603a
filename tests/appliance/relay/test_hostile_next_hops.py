"""Servers that misbehave: a message is delivered, or waits, or comes back as one report.

It is never lost, and nothing that they say gets out of its place.
"""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.relay_box import RelayBox
from tests.support.smtp_client import SmtpClient
from tests.support.smtp_sink import SmtpSink
from tests.support.wait import wait_until

Script = Callable[["Talk"], None]


class Talk:
    """The server's side of one connection."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.lines = sock.makefile("rb")

    def say(self, *lines: str | bytes) -> None:
        for line in lines:
            self.sock.sendall((line.encode() if isinstance(line, str) else line) + b"\r\n")

    def hear(self) -> bytes:
        line = self.lines.readline()
        if not line:
            raise ConnectionError
        return line

    def until_data(self, ehlo: str = "250 mx", rcpt: str = "250 ok") -> None:
        """Greet and take everything up to DATA."""
        self.say("220 mx")
        self.hear()
        self.say(ehlo)
        self.hear()
        self.say("250 ok")
        self.hear()
        self.say(rcpt)

    def swallow(self) -> None:
        """DATA and the message."""
        self.hear()
        self.say("354 go")
        while self.hear() != b".\r\n":
            pass


class Hostile:
    """A server that plays a script for each connection."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.connections = 0
        self.server = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self.server.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                sock, _ = self.server.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._play, args=(sock,), daemon=True).start()

    def _play(self, sock: socket.socket) -> None:
        sock.settimeout(20)
        try:
            self.script(Talk(sock))
        except OSError:
            pass
        finally:
            sock.close()


def closes_at_once(talk: Talk) -> None:
    return


def speaks_http(talk: Talk) -> None:
    talk.say("HTTP/1.1 400 Bad Request", "Connection: close", "")


def endless_banner(talk: Talk) -> None:
    for _ in range(100_000):
        talk.say("220-" + "x" * 70)


def endless_line(talk: Talk) -> None:
    for _ in range(2_000):
        talk.sock.sendall(b"220 " + b"x" * 8192)


def changing_codes(talk: Talk) -> None:
    talk.say("220 mx")
    talk.hear()
    talk.say("250-mx", "550 no")


def binary_banner(talk: Talk) -> None:
    talk.say(b"\x16\x03\x01\x00\xff\x00\n\n")


def no_helo(talk: Talk) -> None:
    talk.say("220 mx")
    for _ in range(2):
        talk.hear()
        talk.say("550 go away")


def full_at_banner(talk: Talk) -> None:
    talk.say("421 4.7.0 too many connections")


def refuses_banner(talk: Talk) -> None:
    talk.say("554 5.7.1 no service")


def closes_after_rcpt(talk: Talk) -> None:
    talk.until_data()


def closes_in_data(talk: Talk) -> None:
    talk.until_data()
    talk.hear()
    talk.say("354 go")
    talk.hear()


def closes_after_dot(talk: Talk) -> None:
    talk.until_data()
    talk.swallow()


def silent_in_the_end(talk: Talk) -> None:
    talk.until_data()
    talk.swallow()
    talk.hear()


def strange_354(talk: Talk) -> None:
    talk.until_data()
    talk.swallow()
    talk.say("354 again")


def putting_off_after_dot(talk: Talk) -> None:
    talk.until_data()
    talk.swallow()
    talk.say("452 4.3.1 full")


def starttls_that_is_none(talk: Talk) -> None:
    talk.say("220 mx")
    talk.hear()
    talk.say("250-mx", "250 STARTTLS")
    if talk.hear().startswith(b"STARTTLS"):
        talk.say("220 go on")
        talk.say("this is no TLS")


WAITS = [
    closes_at_once, speaks_http, endless_banner, endless_line, changing_codes, binary_banner,
    no_helo, full_at_banner, refuses_banner, closes_after_rcpt, closes_in_data, closes_after_dot,
    silent_in_the_end, strange_354, putting_off_after_dot, starttls_that_is_none,
]  # fmt: skip


def refuses_mail(talk: Talk) -> None:
    talk.say("220 mx")
    talk.hear()
    talk.say("250 mx")
    talk.hear()
    talk.say("550 5.7.1 not from you")


def refuses_rcpt(talk: Talk) -> None:
    talk.until_data(rcpt="550 5.1.1 nobody")


def refuses_data(talk: Talk) -> None:
    talk.until_data()
    talk.hear()
    talk.say("554 5.7.1 no data")


def refuses_after_dot(talk: Talk) -> None:
    talk.until_data()
    talk.swallow()
    talk.say("550-5.7.1 spam", "550 5.7.1 really")


def small_size(talk: Talk) -> None:
    talk.say("220 mx")
    talk.hear()
    talk.say("250-mx", "250 SIZE 10")
    talk.hear()


def forging_words(talk: Talk) -> None:
    talk.until_data(rcpt="550 5.1.1 no\r250 2.0.0 id=FAKE event=delivered \x1b[2J <script>")


def pipelining_and_refusing_all(talk: Talk) -> None:
    talk.say("220 mx")
    talk.hear()
    talk.say("250-mx", "250 PIPELINING")
    for _ in range(3):
        talk.hear()
    talk.say("250 ok", "550 5.1.1 nobody", "354 go anyway")
    assert talk.hear() == b".\r\n"
    talk.say("554 no valid recipients")


COMES_BACK = [
    refuses_mail, refuses_rcpt, refuses_data, refuses_after_dot, small_size, forging_words,
    pipelining_and_refusing_all,
]  # fmt: skip


def started(folder: Path, hostile: Hostile, home: SmtpSink, **more: object) -> RelayBox:
    return RelayBox(
        folder,
        {
            "mail.relay_domains": [f"example.org | {hostile.address}"],
            "outbound.route_overrides": [f"client.example|{home.address}"],
            "outbound.reply_timeout_seconds": 1,
            "outbound.connect_timeout_seconds": 2,
            "queue.retry_seconds": [60],
            **{key.replace("__", "."): value for key, value in more.items()},
        },
    )


def send(box: RelayBox) -> None:
    with SmtpClient("127.0.0.1", box.port()) as client:
        body = b"Subject: x\r\n\r\nx\r\n"
        assert client.send_message("a@client.example", ["b@example.org"], body).code == 250


@pytest.mark.parametrize("script", WAITS, ids=lambda script: script.__name__)
def test_a_message_waits_where_nobody_said_no_for_good(script: Script, tmp_path: Path) -> None:
    hostile = Hostile(script)
    with SmtpSink() as home, started(tmp_path, hostile, home) as box:
        send(box)
        wait_until(lambda: box.events("deferred"), what="a deferral", timeout_seconds=30)
        assert not box.events("bounced")
        assert home.messages == []
        assert all(line.isprintable() for line in box.log)


@pytest.mark.parametrize("script", COMES_BACK, ids=lambda script: script.__name__)
def test_a_clear_no_brings_exactly_one_report(script: Script, tmp_path: Path) -> None:
    hostile = Hostile(script)
    with SmtpSink() as home, started(tmp_path, hostile, home) as box:
        send(box)
        (report,) = home.wait_for_messages(1, timeout_seconds=30)
        wait_until(lambda: len(box.events("delivered")) == 1, what="the log", timeout_seconds=30)
        assert report.mail_from == ""
        assert b"Action: failed\r\n" in report.data
        assert len(re.findall(rb"^Diagnostic-Code|^Status", report.data, re.MULTILINE)) <= 2
        assert b"\x1b" not in report.data
        assert len(box.events("bounced")) == 1
        assert all(line.isprintable() for line in box.log)


def test_what_comes_with_the_220_of_starttls_is_not_believed(tmp_path: Path) -> None:
    """The reply to EHLO inside TLS must not be one that was sent in the clear."""
    seen: list[bytes] = []

    def injecting(talk: Talk) -> None:
        talk.say("220 mx")
        talk.hear()
        talk.say("250-mx", "250 STARTTLS")
        seen.append(talk.hear())
        talk.sock.sendall(b"220 go on\r\n250-evil\r\n250 AUTH PLAIN\r\n")
        seen.append(talk.sock.recv(1))

    hostile = Hostile(injecting)
    with SmtpSink() as home, started(tmp_path, hostile, home) as box:
        send(box)
        wait_until(lambda: box.events("deferred"), what="a deferral", timeout_seconds=30)
    assert seen[0] == b"STARTTLS\r\n"
    assert seen[1] == b"\x16"  # a TLS record, and nothing in the clear


def test_a_kept_connection_that_went_stale_is_opened_anew(tmp_path: Path) -> None:
    taken: list[int] = []

    def one_message_each(talk: Talk) -> None:
        talk.until_data()
        talk.swallow()
        taken.append(1)
        talk.say("250 ok")

    hostile = Hostile(one_message_each)
    with (
        SmtpSink() as home,
        started(tmp_path, hostile, home, outbound__connections_per_destination=1) as box,
    ):
        for _ in range(3):
            send(box)
        wait_until(lambda: len(box.events("delivered")) == 3, what="all", timeout_seconds=30)
        assert not box.events("deferred")
    assert len(taken) == 3
