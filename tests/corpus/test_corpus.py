"""Each message of the corpus passes the relay byte for byte; only our trace field is added."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.relay_box import RelayBox
from tests.support.smtp_client import SmtpClient
from tests.support.smtp_sink import SmtpSink

FILES = sorted((Path(__file__).parent / "mail").glob("*.eml"))


@pytest.fixture(scope="module")
def sink() -> Iterator[SmtpSink]:
    with SmtpSink() as sink:
        yield sink


@pytest.fixture(scope="module")
def box(sink: SmtpSink, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RelayBox]:
    settings = {
        "mail.relay_domains": [f"example.org | {sink.address}"],
        "relay.trusted_networks": ["127.0.0.1"],  # a stranger's odd header would be refused
    }
    with RelayBox(tmp_path_factory.mktemp("corpus"), settings) as box:
        yield box


@pytest.mark.parametrize("in_a_file", [False, True], ids=["inline", "file"])
@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_the_message_is_passed_on_as_it_came(
    file: Path, in_a_file: bool, box: RelayBox, sink: SmtpSink
) -> None:
    box.shop.inline_body_bytes = 0 if in_a_file else 65_536
    message, before = file.read_bytes(), len(sink.messages)
    stuffed = (b"\r\n" + message).replace(b"\r\n.", b"\r\n..")[2:]
    with SmtpClient("127.0.0.1", box.port()) as client:
        client.hello()
        client.envelope("a@client.example", ["b@example.org"])
        client.command("DATA")
        client.send(stuffed + b".\r\n")
        assert client.read_answer().code == 250
    got = sink.wait_for_messages(before + 1, timeout_seconds=30)[before].data
    assert got.startswith(b"Received: from ")
    assert got.endswith(message)
    assert got[: len(got) - len(message)].count(b"\r\n") == 4
