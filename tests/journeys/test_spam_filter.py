"""The box's own spam filter, on the image, in a machine of 1 GB."""

from __future__ import annotations

import pytest

from tests.support.box import Box
from tests.support.wait import wait_until

pytestmark = [pytest.mark.image, pytest.mark.timeout(3600)]
GTUBE = "XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X"
ASK = (
    f"printf 'Subject: x\\r\\n\\r\\n{GTUBE}\\r\\n' > /tmp/gtube;"
    ' python3 -c "import urllib.request as r;'
    "print(r.urlopen('http://127.0.0.1:11333/checkv2', open('/tmp/gtube', 'rb').read())"
    '.read().decode())"'
)
PSS = (
    "cat $(for p in $(pgrep rspamd); do echo /proc/$p/smaps_rollup; done)"
    " | awk '/^Pss:/ {sum += $2} END {print sum}'"
)


def wait_for_spam_filter(box: Box) -> None:
    """Until its tables are compiled and it was started again without what that took."""
    settled = (
        '[ "$(systemctl is-active pennypost-spam-tables.service)" = inactive ]'
        ' && [ -z "$(systemctl list-jobs --no-legend)" ]'
        " && ss -Hltn 'sport = :11333' | wc -l || true"
    )
    wait_until(
        lambda: box.root(settled).strip() == "1",
        what="rspamd's port, its tables compiled",
        timeout_seconds=600,
    )


def test_it_runs_once_the_box_has_an_owner_and_knows_spam(ready_box: Box) -> None:
    active = "systemctl is-active rspamd.service || true"
    assert ready_box.root(active).strip() == "active"
    wait_for_spam_filter(ready_box)
    assert "GTUBE" in ready_box.root(ASK)
    assert int(ready_box.root(PSS)) < 200 * 1024


def test_before_that_it_does_not(fresh_box: Box) -> None:
    assert fresh_box.root("systemctl is-active rspamd.service || true").strip() == "inactive"
