"""A client of ManageSieve (RFC 5804), as far as tests need one."""

from __future__ import annotations

import base64
import re
import socket
import ssl
from typing import Self


class ManageSieve:
    """Connected; raises AssertionError with the server's words when it says NO."""

    def __init__(self, port: int) -> None:
        self._sock: socket.socket = socket.create_connection(("127.0.0.1", port), 20)
        self._answers = self._sock.makefile("rb")
        self.capabilities = self._read()

    def start_tls(self, context: ssl.SSLContext) -> None:
        self.say("STARTTLS")
        self._sock = context.wrap_socket(self._sock)
        self._answers = self._sock.makefile("rb")
        self.capabilities = self._read()

    def sign_in(self, login: str, password: str) -> None:
        secret = base64.b64encode(f"\0{login}\0{password}".encode()).decode()
        self.say(f'AUTHENTICATE "PLAIN" "{secret}"')

    def put(self, name: str, script: str) -> None:
        """Put a filter in, and have it act."""
        octets = script.encode()
        self._sock.sendall(f'PUTSCRIPT "{name}" {{{len(octets)}+}}\r\n'.encode() + octets + b"\r\n")
        self._read()
        self.say(f'SETACTIVE "{name}"')

    def say(self, line: str) -> str:
        self._sock.sendall(line.encode() + b"\r\n")
        return self._read()

    def _read(self) -> str:
        said = ""
        while line := self._answers.readline().decode():
            said += line
            if literal := re.search(r"\{(\d+)\}\r\n\Z", line):
                said += (
                    self._answers.read(int(literal[1])).decode() + self._answers.readline().decode()
                )
            if line.startswith(("OK", "NO", "BYE")):
                break
        assert line.startswith("OK"), said
        return said

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._answers.close()
        self._sock.close()
