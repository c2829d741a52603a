"""A raw SMTP client: what is sent is exactly what the test says, byte for byte."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True, slots=True)
class Answer:
    """One reply of the server, RFC 5321 §4.2: its code and its lines without the code."""

    code: int
    lines: tuple[str, ...]

    @property
    def text(self) -> str:
        return "\n".join(self.lines)


class Closed(ConnectionError):
    """The server closed the connection where a reply was due."""


class SmtpClient:
    """A connection to an SMTP server; the banner is read on entering.

    >>> with SmtpClient("127.0.0.1", 2525) as client:
    ...     client.send_message("a@example.org", ["b@example.com"], message)
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        tls: bool = False,
        timeout_seconds: float = 60.0,
        name: str = "client.example.org",
        source: str = "",
    ) -> None:
        """`source` is the address to come from, such as another one of loopback's."""
        self.name = name
        self.socket: socket.socket = socket.create_connection(
            (host, port), timeout_seconds, source_address=(source, 0) if source else None
        )
        if tls:
            self.socket = _any_certificate().wrap_socket(self.socket, server_hostname=host)
        self._buffer = b""
        self.banner = self.read_answer()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def read_line(self) -> bytes:
        while b"\n" not in self._buffer:
            got = self.socket.recv(65536)
            if not got:
                raise Closed(f"the server closed the connection after {self._buffer!r}")
            self._buffer += got
        line, self._buffer = self._buffer.split(b"\n", 1)
        return line + b"\n"

    def read_answer(self) -> Answer:
        lines: list[str] = []
        while True:
            line = self.read_line().decode("utf-8", "backslashreplace").rstrip("\r\n")
            lines.append(line[4:])
            if line[3:4] != "-":
                return Answer(code=int(line[:3]), lines=tuple(lines))

    def command(self, line: str | bytes) -> Answer:
        """Send one command line (CRLF is added) and return the reply."""
        self.send((line.encode() if isinstance(line, str) else line) + b"\r\n")
        return self.read_answer()

    def hello(self) -> Answer:
        return self.command(f"EHLO {self.name}")

    def starttls(self) -> None:
        """Switch to TLS (RFC 3207) without checking the certificate, and greet again."""
        answer = self.command("STARTTLS")
        if answer.code != 220:
            raise AssertionError(f"STARTTLS was refused: {answer}")
        self.socket = _any_certificate().wrap_socket(self.socket)
        self.hello()

    def envelope(self, sender: str, recipients: Sequence[str]) -> Answer:
        """MAIL and RCPT; the first refusal is returned, else the last 250."""
        answer = self.command(f"MAIL FROM:<{sender}>")
        for recipient in recipients:
            if answer.code != 250:
                break
            answer = self.command(f"RCPT TO:<{recipient}>")
        return answer

    def data(self, message: bytes) -> Answer:
        """DATA with dot stuffing (RFC 5321 §4.5.2); `message` has CRLF line ends."""
        answer = self.command("DATA")
        if answer.code != 354:
            return answer
        stuffed = (b"\r\n" + message).replace(b"\r\n.", b"\r\n..")[2:]
        if not stuffed.endswith(b"\r\n"):
            stuffed += b"\r\n"
        self.send(stuffed + b".\r\n")
        return self.read_answer()

    def send_message(self, sender: str, recipients: Sequence[str], message: bytes) -> Answer:
        """A whole transaction on a fresh session; the reply that decided it."""
        self.hello()
        answer = self.envelope(sender, recipients)
        return self.data(message) if answer.code == 250 else answer


def _any_certificate() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
