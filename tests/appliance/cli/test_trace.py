"""`pennypost trace`, `queue` and `ledger check` against a relay that runs."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest

from appliance.cli.main import main
from tests.support.relay_process import RelayProcess
from tests.support.smtp_client import SmtpClient
from tests.support.wait import wait_until

LETTER = b"From: a@example.com\r\nSubject: x\r\n\r\nhello\r\n"


@pytest.mark.full
def test_where_is_my_mail(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    relay = RelayProcess(tmp_path, {"relay.trusted_networks": ["127.0.0.2/32"]})
    where = ["--data", str(tmp_path), "--run", str(relay.socket_path.parent)]

    def said(*words: str, status: int = 0) -> str:
        assert main([*where, *words]) == status
        return capsys.readouterr().out

    relay.start()
    try:
        with SmtpClient("127.0.0.1", relay.port) as client:
            client.hello()
            client.send_message("anna@example.com", ["bert@example.org"], LETTER)
            client.command("MAIL FROM:<anna@example.com>")
            assert client.command("RCPT TO:<carl@elsewhere.example>").code == 550
            client.command("RSET")
            client.envelope("anna@example.com", ["eva@example.org", "finn@example.org"])
            assert client.data(b"Subject: x\r\n\r\na NUL \0 inside\r\n").code == 550
        wait_until(lambda: "without success" in said("trace", "bert@"), what="a first try")
        story = said("trace", "bert@", "--since", "1h")
        assert "anna@example.com -> bert@example.org: deferred" in story
        assert "Received from 127.0.0.1" in story
        assert "The next mail server refuses connections" in story
        assert "what helps" in story
        refused = said("trace", "--recipient", "carl@")
        assert "Refused: anna@example.com to carl@elsewhere.example" in refused
        assert "The other side was told: 550 5.7." in refused
        for name in ("eva@", "finn@"):
            assert "a NUL in the content" in said("trace", name)
        (item,) = json.loads(said("trace", "carl@", "--json"))
        assert item["fate"] == "refused"
        assert "Nothing is known" in said("trace", "--sender", "dora", "--until", "2026-01-01")
        said("trace", status=1)
        said("trace", "x", "--since", "whenever", status=1)

        assert "1 messages." in said("queue", "hold", "--all")
        assert "Held by cli:" in said("trace", "bert@")
        assert "All 1 messages accepted since" in said("ledger", "check")
        db = sqlite3.connect(tmp_path / "spool" / "spool.db", timeout=30)
        with db:
            db.execute("DELETE FROM ledger WHERE recipient = 'bert@example.org'")
        db.close()
        books = said("ledger", "check", status=1)
        assert "A message in the queue has no entry in the ledger." in books
        assert "Entries of the ledger were removed by hand. 1: #1" in books
    finally:
        relay.stop()
