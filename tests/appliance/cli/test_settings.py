"""`pennypost settings ...`, with a steward and without."""

import http.server
import json
import socketserver
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.checkout import ENVIRONMENT, CommandLine, StandInRelay, steward
from tests.support.ports import free_ports

MAIL = ("mail.hostname=mail.example.com", "mail.main_domain=example.com")


@pytest.fixture
def stopped(tmp_path: Path) -> CommandLine:
    """A checkout where nothing runs."""
    return CommandLine(tmp_path / "data")


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CommandLine]:
    """A checkout with a steward, a stand-in relay and something on the web's port."""
    data = tmp_path_factory.mktemp("checkout") / "data"
    (port,) = free_ports(1)
    handler = http.server.SimpleHTTPRequestHandler
    handler.log_message = lambda *_: None  # type: ignore[assignment,method-assign]
    with (
        socketserver.TCPServer(("127.0.0.1", port), handler) as web,
        steward(data, web_port=port),
        StandInRelay(data / "run"),
    ):
        threading.Thread(target=web.serve_forever, daemon=True).start()
        yield CommandLine(data)
        web.shutdown()


@pytest.fixture
def pennypost(running: CommandLine) -> Iterator[CommandLine]:
    """The running checkout; each test begins with the defaults."""
    running("settings", "import", "-", stdin="{}")
    return running


def test_a_setting_is_set_and_got(pennypost: CommandLine) -> None:
    done = pennypost("settings", "set", *MAIL, "--json")
    assert done.status == 0
    assert done.json()["changed"] == ["mail.main_domain", "mail.hostname"]
    assert pennypost("settings", "get", "mail.hostname").out == "mail.example.com\n"
    assert pennypost("settings", "show", "--json").json()["mail.main_domain"] == "example.com"


def test_a_change_is_in_force_at_once(pennypost: CommandLine) -> None:
    pennypost("settings", "set", "relay.connections_total=77")
    document = json.loads((pennypost.data / "run/rendered/relay.json").read_text())
    assert document["settings"]["relay.connections_total"] == 77


@pytest.mark.parametrize(
    ("words", "value"),
    [
        (("box.dns_forwarders=192.0.2.1, 192.0.2.2@5353",), ["192.0.2.1", "192.0.2.2@5353"]),
        (('box.dns_forwarders=["192.0.2.3"]',), ["192.0.2.3"]),
        (("box.dns_forwarders", "192.0.2.4"), ["192.0.2.4"]),
        (("box.dns_forwarders=",), []),
    ],
)
def test_a_list_is_read_as_people_write_it(
    pennypost: CommandLine, words: tuple[str, ...], value: list[str]
) -> None:
    assert pennypost("settings", "set", *words).status == 0
    assert pennypost("settings", "get", "box.dns_forwarders", "--json").json() == value


def test_a_refusal_has_status_1_and_names_field_and_remedy(pennypost: CommandLine) -> None:
    refused = pennypost("settings", "set", "mail.enabled=true", "--json")
    assert refused.status == 1
    assert refused.json()["finding"]["check"] == "settings.mail.main_domain"
    assert refused.json()["finding"]["fix"]
    plain = pennypost("settings", "set", "mail.enabled=true")
    assert plain.out == ""
    assert "main mail domain" in plain.err


def test_wrong_usage_has_status_2(pennypost: CommandLine) -> None:
    assert pennypost("settings", "frobnicate").status == 2
    assert pennypost("settings", "get").status == 2
    assert pennypost().status == 2


def test_an_unknown_setting_is_refused(pennypost: CommandLine) -> None:
    assert pennypost("settings", "get", "mail.nothing").status == 1
    assert pennypost("settings", "set", "mail.nothing=1").status == 1
    assert pennypost("settings", "set", "mail.hostname").status == 1


def test_an_export_goes_back_in_with_its_secrets(pennypost: CommandLine, tmp_path: Path) -> None:
    pennypost("settings", "set", "outbound.smarthost_user=u", "outbound.smarthost_password=12345")
    file = tmp_path / "settings.json"
    assert pennypost("settings", "export", str(file)).status == 0
    assert file.stat().st_mode & 0o077 == 0
    pennypost("settings", "set", "outbound.smarthost_password=other")
    assert pennypost("settings", "import", str(file)).status == 0
    assert pennypost("settings", "get", "outbound.smarthost_password").out == "12345\n"
    public = pennypost("settings", "export", "--without-secrets").json()
    assert "outbound.smarthost_password" not in public


def test_an_import_replaces_and_a_merge_keeps(pennypost: CommandLine) -> None:
    pennypost("settings", "set", *MAIL)
    nested = json.dumps({"box": {"language": "de"}})
    assert pennypost("settings", "import", "--merge", "-", stdin=nested).status == 0
    assert pennypost("settings", "get", "mail.hostname").out == "mail.example.com\n"
    assert pennypost("settings", "import", "-", stdin=nested).status == 0
    assert pennypost("settings", "get", "mail.hostname").out == "\n"
    assert pennypost("settings", "get", "box.language").out == "de\n"
    assert pennypost("settings", "import", "-", stdin="no json").status == 1


def test_history_tells_who_and_what_and_undo_takes_it_back(pennypost: CommandLine) -> None:
    done = pennypost("settings", "set", "box.language=de", "--json").json()
    newest = pennypost("settings", "history", "--json").json()[0]
    assert newest["revision"] == done["revision"]
    assert newest["author"].startswith("cli:")
    assert newest["changes"] == {"box.language": ["en", "de"]}
    assert pennypost("settings", "undo", str(done["revision"])).status == 0
    assert pennypost("settings", "get", "box.language").out == "en\n"
    assert pennypost("settings", "undo", "99999").status == 1


def test_the_schema_describes_every_setting(stopped: CommandLine) -> None:
    described = stopped("settings", "schema", "--json").json()
    names = {field["name"] for field in described}
    assert {"mail.hostname", "queue.retry_seconds", "web.session_hours"} <= names
    assert all(field["help"] and field["type"] for field in described)


def test_without_a_steward_the_store_is_changed_and_it_says_so(stopped: CommandLine) -> None:
    done = stopped("settings", "set", *MAIL, "--json")
    assert done.status == 0
    assert done.json()["revision"] == 1
    assert "next start" in done.err
    assert stopped("settings", "get", "mail.hostname").out == "mail.example.com\n"
    assert stopped("settings", "undo", "1").status == 0
    assert stopped("settings", "export").json()["mail.hostname"] == ""
    assert len(stopped("settings", "history", "--json").json()) == 2


def test_what_needs_a_daemon_is_refused_without_one(stopped: CommandLine) -> None:
    for words in (("queue", "list"), ("status",), ("claim", "show"), ("trace", "x")):
        refused = stopped(*words, "--json")
        assert refused.status == 1, words
        assert "does not answer" in refused.json()["finding"]["say"]


def test_the_claim_code_is_shown_until_the_box_has_an_owner(pennypost: CommandLine) -> None:
    code = (pennypost.data / "claim" / "code").read_text().strip()
    assert pennypost("claim", "show").out.strip() == code
    assert pennypost("claim", "close").status == 0
    assert pennypost("claim", "show", "--json").json() == {"claimed": True, "code": ""}


def test_status_tells_each_service_and_the_claim(pennypost: CommandLine) -> None:
    status = pennypost("status", "--json").json()
    states = {service["name"]: service["state"] for service in status["services"]}
    assert states["web"] == "running"
    assert isinstance(status["claimed"], bool)


def test_queue_orders_name_their_messages(pennypost: CommandLine) -> None:
    assert pennypost("queue", "list").out == "The queue is empty.\n"
    assert pennypost("queue", "list", "--json").json() == {"total": 0, "items": []}
    assert pennypost("queue", "send", "--all", "--json").json()["count"] == 3
    assert pennypost("queue", "delete").status == 1


def test_it_is_a_program_with_an_exit_status(tmp_path: Path) -> None:
    argv = [sys.executable, "-P", "-m", "appliance.cli", "--data", str(tmp_path)]
    for words, status in ((["settings", "schema"], 0), (["claim", "show"], 1), (["claim"], 2)):
        done = subprocess.run([*argv, *words], env=ENVIRONMENT, capture_output=True, check=False)
        assert done.returncode == status
