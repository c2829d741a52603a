"""The steward as systemd starts it: a socket is handed over, and it ends by itself when idle."""

import asyncio
import os
import socket
import threading
from pathlib import Path

import pytest

from appliance.base import control, sd
from appliance.base.finding import Refused
from appliance.render.facts import Place
from appliance.steward.main import assemble, main, prepare_checkout, run_desk

IDLE_SECONDS = 1.0


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(data=tmp_path / "data", run=tmp_path / "run", dev=True)


def test_it_answers_on_the_socket_it_was_given_and_ends_when_idle(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare_checkout(place, None)
    path = place.run / "steward.sock"
    with socket.socket(socket.AF_UNIX) as given:
        given.bind(str(path))
        given.listen()
        monkeypatch.setattr(sd, "listen_fds", lambda: {"control": [given]})
        # Signals are for the main thread; the caller is in the other one.
        answers: list[object] = []
        caller = threading.Thread(
            target=lambda: answers.append(control.call(path, "claim.status", timeout_seconds=30))
        )
        caller.start()
        asyncio.run(run_desk(place, assemble(place), idle_seconds=IDLE_SECONDS))
        caller.join(30)
    assert answers == [{"claimed": False}]
    assert path.is_socket(), "systemd still listens on it"


def test_a_settings_file_is_imported_and_makes_a_checkout_claimed(
    place: Place, tmp_path: Path
) -> None:
    file = tmp_path / "settings.json"
    file.write_text('{"box.language": "de"}')
    prepare_checkout(place, file)
    assert (place.data / "claim" / "claimed").exists()
    assert b'"box.language": "de"' in (place.run / "rendered" / "web.json").read_bytes()


@pytest.mark.parametrize("content", ["", "[]", "nonsense", '{"mail.nothing": 1}'])
def test_a_settings_file_that_is_wrong_is_refused(
    place: Place, tmp_path: Path, content: str
) -> None:
    file = tmp_path / "settings.json"
    file.write_text(content)
    with pytest.raises(Refused):
        prepare_checkout(place, file)


def test_the_reason_is_printed_and_the_status_is_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status = main(["--dev", "--data", str(tmp_path / "d"), "--settings", str(tmp_path / "none")])
    assert status == 1
    assert "cannot be read" in capsys.readouterr().err


def test_a_new_data_folder_is_its_owner_s_alone(place: Place) -> None:
    prepare_checkout(place, None)
    assert os.stat(place.data).st_mode & 0o077 == 0
