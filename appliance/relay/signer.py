"""The process that signs beside the relay, so that both cores work (D4).

    python -m appliance.relay.signer        a socket is its standard input

An RSA signature takes a quarter of a millisecond, in which the interpreter does nothing else:
a thread would not help. `signing_desk` starts this process and falls back on signing itself.

First come the keys, then a request for each message, answered in their order. Every frame begins
with the lengths of its parts. The process ends with the socket, so it never outlives the relay.
"""

import json
import socket
import struct
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import BinaryIO

from appliance.policy import dkim
from appliance.policy.dkim import SigningKey

KEYS = struct.Struct(">I")
REQUEST = struct.Struct(">dHII")  # when, then the octets of domain, head and body
ANSWER = struct.Struct(">I")
READY = ANSWER.pack(0)  # the first answer: the keys are loaded

Keys = Mapping[str, Sequence[SigningKey]]


def keys_frame(keys: Keys) -> bytes:
    """The keys, as they are handed over: never on a command line or in a file."""
    told = [
        (domain, key.selector, key.pem().decode("ascii"))
        for domain, pair in keys.items()
        for key in pair
    ]
    text = json.dumps(told).encode()
    return KEYS.pack(len(text)) + text


def request_frame(domain: str, head: bytes, body: bytes, at: float) -> bytes:
    """One message to be signed with the keys of `domain`, at a time in seconds since 1970."""
    name = domain.encode()
    return b"".join((REQUEST.pack(at, len(name), len(head), len(body)), name, head, body))


def main() -> None:
    """Entry point."""
    line = socket.socket(fileno=0)
    with line.makefile("rb") as asked:
        try:
            keys = _read_keys(asked)
            line.sendall(READY)
            while True:
                line.sendall(_answer(asked, keys))
        except (EOFError, ConnectionError):  # the relay is gone, or needs us no more
            return


def _read_keys(asked: BinaryIO) -> Keys:
    (size,) = KEYS.unpack(_exactly(asked, KEYS.size))
    keys: dict[str, list[SigningKey]] = {}
    for domain, selector, pem in json.loads(_exactly(asked, size)):
        key = SigningKey.from_pem(domain, selector, pem.encode("ascii"))
        keys.setdefault(domain, []).append(key)
    return keys


def _answer(asked: BinaryIO, keys: Keys) -> bytes:
    at, *sizes = REQUEST.unpack(_exactly(asked, REQUEST.size))
    domain, head, body = (_exactly(asked, size) for size in sizes)
    fields = dkim.sign_parts(
        head, dkim.blocks_of(body), keys[domain.decode()], now=datetime.fromtimestamp(at, UTC)
    )
    return ANSWER.pack(len(fields)) + fields


def _exactly(asked: BinaryIO, size: int) -> bytes:
    found = asked.read(size)
    if len(found) < size:
        raise EOFError
    return found


if __name__ == "__main__":
    main()
