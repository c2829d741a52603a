"""When the spam filter runs, and that rspamd itself takes what is rendered."""

import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from appliance.render import rspamd
from appliance.settings import schema
from tests.support.applied_box import facts_of

GIB = 1024**3


@pytest.mark.parametrize(
    ("memory", "spam", "runs"),
    [
        (GIB // 2, "auto", False),
        (GIB * 95 // 100, "auto", True),
        (GIB // 2, "on", True),
        (4 * GIB, "off", False),
    ],
)
def test_memory_and_setting_say_whether_it_runs(
    tmp_path: Path, memory: int, spam: str, runs: bool
) -> None:
    settings = schema.from_json({"content.spam": spam})
    facts = replace(facts_of(tmp_path), memory_bytes=memory, claimed=True)
    assert (rspamd.SWITCH in rspamd.render(settings, facts)) is runs
    assert rspamd.scanner(settings, facts) == ("127.0.0.1:11333" if runs else "")


def test_a_scanner_elsewhere_needs_none_here(tmp_path: Path) -> None:
    settings = schema.from_json({"content.scanner": "http://10.0.0.9/"})
    facts = replace(facts_of(tmp_path), memory_bytes=4 * GIB, claimed=True)
    assert rspamd.render(settings, facts) == {}
    assert rspamd.scanner(settings, facts) == "10.0.0.9:11333"


def test_it_learns_where_mailboxes_are_kept(tmp_path: Path) -> None:
    facts = replace(facts_of(tmp_path), dev=False, memory_bytes=4 * GIB, claimed=True)
    for kept in (False, True):
        settings = schema.from_json({"mailboxes.enabled": kept})
        text = rspamd.render(settings, facts)[rspamd.FILE].decode()
        assert ("pennypost-learn/learn.sock mode=0666" in text) is kept


@pytest.mark.full
@pytest.mark.parametrize(
    "names",
    [{}, {"content.ask_lists": False}, {"content.virus": True, "content.clamav": "10.0.0.1"}],
    ids=["default", "no lists", "virus"],
)
def test_rspamd_takes_the_configuration(tmp_path: Path, names: dict[str, Any]) -> None:
    file = tmp_path / rspamd.FILE
    settings = schema.from_json(names)
    learn = f"{tmp_path}/learn.sock mode=0660"
    text = rspamd.configuration(settings, state=tmp_path, resolver="127.0.0.1:53", learn=learn)
    file.write_text(text)
    done = subprocess.run(
        ["rspamadm", "configtest", "-c", str(file)], capture_output=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
