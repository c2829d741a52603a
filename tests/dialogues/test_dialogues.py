"""Plays each `*.smtp` file against a real relay on loopback.

# a comment; `#! port=submission trusted=yes tls=yes ...` chooses the set-up
S: 250 2.1.0         the server's next reply begins with this (of a multi-line one: any line)
C: MAIL FROM:<a@b>   the client sends this line with CR LF
R: a\\nb              the client sends these octets, \\r \\n \\0 \\xhh written out
S: closed            the server has hung up
T:                   TLS starts
"""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.policy.verdict import Port
from tests.support.plain_replies import trouble_of_line
from tests.support.relay_box import RelayBox
from tests.support.tls import self_signed

FILES = sorted(Path(__file__).parent.glob("*.smtp"))
STRANGER, FRIEND = "127.0.0.1", "127.0.0.9"


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RelayBox]:
    folder = tmp_path_factory.mktemp("dialogues")
    self_signed(folder)
    pem = folder / "sink.example.com.pem"
    settings = {
        "relay.trusted_networks": [f"{FRIEND}/32"],
        "mail.additional_domains": ["example.net"],
        "mail.max_message_bytes": 65_536,
        "mail.max_recipients": 100,
        "relay.max_hops": 25,
        "relay.errors_per_session": 5,
        "submission.sign_in": True,
    }
    people = {"anna": "correct-horse-battery-4711"}
    with RelayBox(folder, settings, certificate=(pem, pem), deliver=False, accounts=people) as box:
        yield box


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_the_conversation_goes_as_written(file: Path, box: RelayBox) -> None:
    lines = [line for line in file.read_text().splitlines() if line.strip()]
    setup = dict(
        word.split("=")
        for line in lines
        if line.startswith("#!")
        for word in line.removeprefix("#!").split()
    )
    spoken = [line for line in lines if not line.startswith("#")]
    with Player(box, Port(setup.get("port", "smtp")), trusted="trusted" in setup) as player:
        for number, line in enumerate(spoken, 1):
            player.play(line, f"{file.name}, line {number}: {line}")


def test_there_are_dialogues() -> None:
    assert len(FILES) >= 30


class Player:
    """The client's side of a dialogue."""

    def __init__(self, box: RelayBox, port: Port, *, trusted: bool) -> None:
        self._sock: socket.socket = socket.create_connection(
            ("127.0.0.1", box.port(port)),
            timeout=10,
            source_address=(FRIEND if trusted else STRANGER, 0),
        )
        if port is Port.SUBMISSIONS:
            self._start_tls()
        self._buffer = b""

    def __enter__(self) -> Player:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._sock.close()

    def play(self, line: str, where: str) -> None:
        kind, text = line[:2], line[3:]
        if kind == "C:":
            self._sock.sendall(text.encode() + b"\r\n")
        elif kind == "R:":
            self._sock.sendall(text.encode("latin-1").decode("unicode_escape").encode("latin-1"))
        elif kind == "T:":
            self._start_tls()
        elif text == "closed":
            assert self._reply() == [], where
        else:
            got = self._reply()
            assert any(one.startswith(text) for one in got), f"{where}\ngot: {got}"
            assert all(one.isprintable() for one in got), where
            assert "Error" not in "".join(got), where
            for line in got:
                if line[:1] in ("4", "5"):
                    assert trouble_of_line(line) == "", where

    def _start_tls(self) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        self._sock = context.wrap_socket(self._sock)

    def _reply(self) -> list[str]:
        lines: list[str] = []
        while True:
            while b"\r\n" not in self._buffer:
                try:
                    got = self._sock.recv(65_536)
                except ConnectionError:
                    got = b""
                if not got:
                    return lines
                self._buffer += got
            line, self._buffer = self._buffer.split(b"\r\n", 1)
            lines.append(line.decode())
            if line[3:4] != b"-":
                return lines
