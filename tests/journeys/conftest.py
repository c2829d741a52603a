"""The image, built once; a box before and after the wizard, each frozen once.

`unclaimed` and `ready` are those two; a test asks for `fresh_box` or `ready_box` and
gets a copy of its own that woke a second ago.

To work on the journeys themselves, `PENNYPOST_LAB=folder` keeps the two frozen boxes there
for the next run, which saves the boot. They are those of the image they were made from:
empty the folder after building another.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.box import HOST, Box
from tests.support.browser import browser
from tests.support.machine import Bay, Frozen, Hardware, Machine, missing_programs
from tests.support.smtp_sink import Plan, SmtpSink
from tests.support.wizard import Answers, Visitor

_BUILD_LIMIT_SECONDS = 2400
# Beside the mail and web ports: some on which nothing may ever answer.
SHUT_PORTS = (53, 111, 143, 631, 993, 2525, 3306, 4190, 5355, 8000, 8080)
SATA, SAS = Bay("sata", "PPSATA01", 1 << 30), Bay("sas", "PPSAS02", 1 << 30)
HARDWARE = Hardware(
    guest_ports=(22, 25, 80, 443, 465, 587, 995, 8443, *SHUT_PORTS), bays=(SATA, SAS)
)


@pytest.fixture(scope="session")
def image(root: Path) -> Path:
    """The amd64 disk image of this checkout: built now, or already being built."""
    if lacking := missing_programs():
        pytest.fail(f"this host lacks {lacking}; run scripts/setup-host run", pytrace=False)
    return built_image(root, "generic-amd64")


def built_image(root: Path, board: str) -> Path:
    """Build a board's image (a quick look when it is up to date) and return its path.

    `PENNYPOST_IMAGE=path/to.img` takes one that was built elsewhere instead.
    """
    if given := os.environ.get("PENNYPOST_IMAGE"):
        return Path(given)
    ready = os.environ.get("PENNYPOST_IMAGE_BUILD")  # scripts/test builds it in the background
    if ready and board == "generic-amd64":
        # tests/conftest.py has waited for it
        code, log = int((root / ready).read_text()), root / "build/test/image.log"
    else:
        log = root / f"build/test/{board}.log"
        code = _build(root, board, log)
    if code != 0:
        tail = log.read_text("utf-8", "replace").splitlines()[-40:]
        pytest.fail("the image could not be built:\n" + "\n".join(tail), pytrace=False)
    images = sorted((root / "build/images").glob(f"*{board}*.img"), key=lambda p: p.stat().st_mtime)
    if not images:
        pytest.fail(f"the build says it is done but there is no *{board}*.img", pytrace=False)
    return images[-1]


def _build(root: Path, board: str, log: Path) -> int:
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        return subprocess.run(
            ["make", "image", f"BOARD={board}"],
            cwd=root,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            timeout=_BUILD_LIMIT_SECONDS,
            check=False,
        ).returncode


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the frozen boxes are put."""
    kept = os.environ.get("PENNYPOST_LAB")
    return Path(kept).resolve() if kept else tmp_path_factory.mktemp("lab")


@pytest.fixture(scope="session")
def office(lab: Path) -> Iterator[SmtpSink]:
    """The mail server of the office on the local network: the box's next hop."""
    known = lab / "office-port"
    with SmtpSink(port=int(known.read_text()) if known.exists() else 0) as sink:
        known.parent.mkdir(parents=True, exist_ok=True)
        known.write_text(str(sink.port))
        yield sink


def kept(folder: Path, hardware: Hardware) -> Frozen | None:
    """A box that an earlier run left frozen in `folder`."""
    return Machine(folder, hardware).frozen() if (folder / "done").exists() else None


@pytest.fixture
def next_hop(office: SmtpSink) -> Iterator[SmtpSink]:
    """The office's mail server, empty and willing."""
    office.come_up()
    office.plan = Plan()
    office.messages.clear()
    yield office
    office.come_up()


@pytest.fixture(scope="session")
def unclaimed(image: Path, lab: Path) -> Frozen:
    """A box as it is when it waits for its wizard, its slots in order, frozen."""
    if frozen := kept(lab / "unclaimed", HARDWARE):
        return frozen
    with Box(lab / "unclaimed", HARDWARE) as box:
        box.flash(image).power_on()
        start = time.monotonic()
        box.wait_for_web()
        print(f"first boot: the wizard answered after {time.monotonic() - start:.1f} s")
        box.wait_until_settled()
        box.wait_for_slots()
        print(f"first boot: slot B was ready after {time.monotonic() - start:.1f} s")
        frozen = box.freeze()
    (lab / "unclaimed" / "done").touch()
    return frozen


@pytest.fixture(scope="session")
def answers(office: SmtpSink) -> Answers:
    """What our office answers in the wizard."""
    return Answers(relay_domain="example.com", next_hop=f"{HOST}:{office.port}")


@pytest.fixture(scope="session")
def ready(unclaimed: Frozen, answers: Answers, lab: Path) -> Frozen:
    """A box that has been through the wizard in a browser, frozen."""
    if frozen := kept(lab / "ready", HARDWARE):
        return frozen
    with Box(lab / "ready", unclaimed.hardware) as box:
        box.thaw(unclaimed)
        box.wait_for_web()
        with browser() as running:
            start = time.monotonic()
            visitor = Visitor(running, box.url)
            visitor.go_through(answers, claim_code=box.claim_code())
            print(f"the wizard took {time.monotonic() - start:.1f} s")
        box.wait_for_smtp()
        frozen = box.freeze()
    (lab / "ready" / "done").touch()
    return frozen


@pytest.fixture
def fresh_box(unclaimed: Frozen, tmp_path: Path) -> Iterator[Box]:
    with Box(tmp_path / "box", unclaimed.hardware) as box:
        box.thaw(unclaimed)
        box.wait_for_web()
        yield box


@pytest.fixture
def ready_box(ready: Frozen, next_hop: SmtpSink, tmp_path: Path) -> Iterator[Box]:
    with Box(tmp_path / "box", ready.hardware) as box:
        box.thaw(ready)
        box.wait_for_smtp()
        yield box
