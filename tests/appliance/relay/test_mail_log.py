"""One line an event; nobody can forge one."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from appliance.relay.mail_log import LINES_A_MINUTE, MailLog, line

WORD = re.compile(r'([a-z_]+)=("(?:[^"\\]|\\.)*"|[^ "=\\]+)(?: |\Z)')


def test_a_line_reads_well() -> None:
    assert line("3ABC", "queued", from_="<a@example.com>", size=10, empty="", why="two words") == (
        'id=3ABC event=queued from=<a@example.com> size=10 why="two words"'
    )


@given(st.text(), st.text(), st.text())
def test_any_values_make_one_line_with_just_these_fields(one: str, two: str, three: str) -> None:
    written = line("3ABC", "queued", from_=one, to=two, helo=three)
    assert "\n" not in written
    assert "\r" not in written
    fields = WORD.findall(written)
    assert "".join(f"{k}={v} " for k, v in fields).strip() == written.strip()
    read = {key: json.loads(v) if v.startswith('"') else v for key, v in fields}
    expected = {"from": one, "to": two, "helo": three}
    assert read == {
        "id": "3ABC",
        "event": "queued",
        **{key: value for key, value in expected.items() if value},
    }


def test_lines_reach_the_file(tmp_path: object) -> None:
    path = tmp_path / "mail.log"  # type: ignore[operator]
    log = MailLog(path, echo=False)
    log.event("3A", "queued", size=1)
    log.event("3B", "queued", size=2)
    log.close()
    assert path.read_text().splitlines() == [
        "id=3A event=queued size=1",
        "id=3B event=queued size=2",
    ]


def test_a_flood_is_summed_up_and_what_matters_is_not(tmp_path: Path) -> None:
    path = tmp_path / "mail.log"

    async def flood() -> None:
        log = MailLog(path, echo=False)
        for number in range(10_000):
            log.event("", "refused", check="connections", client=f"192.0.2.{number % 256}")
        log.event("", "refused", check="spf", client="192.0.2.1")
        for _ in range(LINES_A_MINUTE + 10):
            log.event("3ABC", "delivered")
        log.close()

    asyncio.run(flood())
    written = path.read_text().splitlines()
    assert sum("check=connections client" in one for one in written) == LINES_A_MINUTE
    assert f"id=- event=and-more of=refused check=connections count={9_700}" in written
    assert sum("check=spf" in one for one in written) == 1
    assert sum("event=delivered" in one for one in written) == LINES_A_MINUTE + 10
