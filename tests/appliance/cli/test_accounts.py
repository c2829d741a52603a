"""`pennypost account ...` and `pennypost mailboxes import`, with a real steward and relay."""

from __future__ import annotations

import smtplib
import ssl
from pathlib import Path

import pytest

from tests.support.checkout import CommandLine, steward
from tests.support.ports import free_ports
from tests.support.relay_process import RelayProcess
from tests.support.tls import self_signed
from tests.support.wait import wait_until

pytestmark = pytest.mark.full
PASSWORD = "correct horse battery"


def test_an_account_is_shown_with_its_last_log_in(tmp_path: Path) -> None:
    self_signed(tmp_path, "box.example.com")
    certificate = tmp_path / "box.example.com.pem"
    data = tmp_path / "data"
    pennypost = CommandLine(data)
    with steward(data, web_port=free_ports(1)[0]):
        pennypost("account", "add", "anna", "--name", "Anna B.", stdin=f"{PASSWORD}\n")
        without = pennypost("account", "show", "anna")
        assert without.status == 0
        assert "name           Anna B.\n" in without.out
        assert "mailbox size   as for all\n" in without.out
        assert "relay does not run" in without.err
        assert pennypost("account", "show", "berta").status == 1

        relay = RelayProcess(data, {"submission.sign_in": True}, certificate=certificate)
        relay.start()
        try:
            context = ssl.create_default_context(cafile=str(certificate))
            context.check_hostname = False
            where = ("127.0.0.1", relay.submissions_port)
            with smtplib.SMTP_SSL(*where, context=context) as client:
                client.login("anna", PASSWORD)
            shown = wait_until(
                lambda: pennypost("account", "show", "anna", "--json").json()["last_log_ins"],
                what="the log-in",
            )
            assert [(one["way"], one["client"]) for one in shown] == [("smtp", "127.0.0.1")]
            assert "\nlast by SMTP   20" in pennypost("account", "show", "anna").out
        finally:
            relay.stop()


def test_mail_is_imported_only_from_its_folder_and_into_open_mailboxes(tmp_path: Path) -> None:
    data = tmp_path / "data"
    pennypost = CommandLine(data)
    with steward(data, web_port=free_ports(1)[0]):
        elsewhere = pennypost("mailboxes", "import", "anna", "/tmp/Maildir")
        assert elsewhere.status == 1
        assert "cp -r /tmp/Maildir /srv/mail/import/" in elsewhere.err
        shut = pennypost("mailboxes", "import", "anna", "/srv/mail/import/old")
        assert shut.status == 1
        assert "The mailboxes are shut." in shut.err
