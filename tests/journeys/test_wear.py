"""How much mail writes to the system medium, an SD card as often as not."""

from __future__ import annotations

import pytest

from tests.journeys.conftest import SATA
from tests.journeys.test_mailboxes import LETTER, letters, post, wait_for_letters, with_mailboxes
from tests.support.box import Box
from tests.support.wait import wait_until

pytestmark = [pytest.mark.image, pytest.mark.soak, pytest.mark.timeout(3600)]
SENT = 200
MOST_MIB_PER_THOUSAND = 300


def written_bytes(box: Box) -> int:
    """To the disk with the data partition, since the start."""
    box.root("sync")
    disk = box.root("lsblk -no PKNAME $(findmnt -no SOURCE /data)").strip()
    sectors = box.root(f"awk '$3 == \"{disk}\" {{print $10}}' /proc/diskstats")
    return int(sectors) * 512


def test_mail_for_the_mailboxes_writes_little_to_the_system_medium(ready_box: Box) -> None:
    box = ready_box
    password = with_mailboxes(box, SATA)
    post(box)
    wait_for_letters(box, password, 1)
    before = written_bytes(box)
    with box.smtp() as stranger:
        for _ in range(SENT):
            answer = stranger.send_message("carl@example.org", ["anna@office.example"], LETTER)
            assert answer.code == 250, answer
    wait_until(
        lambda: "is empty" in box.root("pennypost queue list"),
        what="an empty queue",
        timeout_seconds=600,
    )
    written = written_bytes(box) - before
    per_thousand = written / SENT * 1000 / (1 << 20)
    print(f"{SENT} letters wrote {written / 1024:.0f} KiB: {per_thousand:.0f} MiB for a thousand")
    assert len(letters(box, password)) == SENT + 1
    assert 0 < per_thousand < MOST_MIB_PER_THOUSAND
