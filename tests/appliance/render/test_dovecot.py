"""What is rendered for Dovecot, as text: switches, ports, people. The program itself:
test_dovecot_live.py."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from appliance.accounts.users import User
from appliance.render import dovecot, dovecot_users, nftables
from appliance.render.facts import Facts
from appliance.settings import schema
from appliance.settings.mailboxes import LMTP_SOCKET, lmtp

FACTS = Facts(
    data=Path("/data"),
    run=Path("/run/pennypost"),
    dev=False,
    claimed=True,
    tls_key=Path("/k"),
    tls_certificate=Path("/c"),
    local_key=Path("/lk"),
    local_certificate=Path("/lc"),
    root_certificate=Path("/r"),
    memory_bytes=1 << 30,
)
MAIL = {"mail.main_domain": "example.com", "mail.hostname": "box.example.com"}


def anna(**more: object) -> User:
    return User(
        login="anna",
        name="Anna",
        password_hash="$argon2id$x",
        enabled=True,
        made_at=datetime.now(UTC),
        messages_per_hour=0,
        recipients_per_hour=0,
        **more,  # type: ignore[arg-type]
    )


def test_nothing_is_rendered_while_mailboxes_are_off() -> None:
    settings = schema.from_json(MAIL)
    assert dovecot.render(settings, FACTS) == {}
    assert b"993" not in nftables.render(settings, FACTS)[nftables.FILE]
    assert lmtp(settings) == ""


@pytest.mark.parametrize(
    ("switch", "port"), [("imap", 143), ("imaps", 993), ("pop3", 110), ("pop3s", 995)]
)
def test_a_switch_shuts_its_port_in_dovecot_and_in_the_firewall(switch: str, port: int) -> None:
    all_on = dict.fromkeys(("imap", "imaps", "pop3", "pop3s"), True)
    for on in (True, False):
        chosen = {f"mailboxes.{name}": value for name, value in {**all_on, switch: on}.items()}
        settings = schema.from_json({**MAIL, "mailboxes.enabled": True, **chosen})
        text = dovecot.render(settings, FACTS)[dovecot.FILE].decode()
        wall = nftables.render(settings, FACTS)[nftables.FILE].decode()
        assert (f"port = {port}\n" in text) is on
        assert (f" {port}" in wall) is on
    assert lmtp(settings) == LMTP_SOCKET


def test_filters_are_changed_from_trusted_networks_only() -> None:
    on = {**MAIL, "mailboxes.enabled": True, "mailboxes.managesieve": True}
    wall = nftables.render(schema.from_json(on), FACTS)[nftables.FILE].decode()
    assert "4190" not in wall
    on["relay.trusted_networks"] = ["10.0.0.0/8"]
    wall = nftables.render(schema.from_json(on), FACTS)[nftables.FILE].decode()
    assert "ip saddr { 10.0.0.0/8 } tcp dport 4190 accept" in wall


def test_each_account_is_a_line_and_without_the_disk_none_can_be_read() -> None:
    users = [anna(quota_bytes=5, language="de", app_hashes=("{SSHA512}a",))]
    told = dovecot_users.files(users)
    assert told["users"].startswith("anna:{ARGON2ID}$argon2id$x::::::userdb_pp_language=de ")
    assert "userdb_quota/user/storage_size=5B" in told["users"]
    assert "userdb_namespace/inbox/mailbox/Trash/name=Papierkorb" in told["users"]
    assert told["app-1"] == "anna:{SSHA512}a\n"
    away = dovecot_users.files(users, ready=False)
    assert "$argon2id$" not in away["users"]
    assert "userdb_tempfail=yes" in away["users"]
    assert away["app-1"] == ""


def test_a_changed_file_has_another_second_although_its_size_is_the_same(tmp_path: Path) -> None:
    dovecot_users.write_files(tmp_path, [anna()])
    before = int((tmp_path / "users").stat().st_mtime)
    dovecot_users.write_files(tmp_path, [anna()])
    assert int((tmp_path / "users").stat().st_mtime) > before
