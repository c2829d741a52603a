"""The front panel of a booted box: a LED chip whose registers are read back, and a button.

The chip is `i2c-stub`: the kernel keeps what is written to it, so what is asserted are the
registers of a PCA9552 (LS0 to LS3 at 0x06 to 0x09, two bits a LED), written by the box's own
daemon as its own user. The button is a key of the emulated keyboard.
"""

from __future__ import annotations

import re

import pytest

from tests.support.box import Box
from tests.support.wait import wait_until

pytestmark = [pytest.mark.image, pytest.mark.timeout(3600)]

ON, OFF, FIRST, SECOND = 0, 1, 2, 3
# Lines of hw/boards/test-pca9552.toml.
LINES = {
    "power": 0,
    "health green": 1,
    "health red": 2,
    "mail": 4,
    "disk": 5,
    "update": 8,
    "identify": 12,
}
READ = (
    "import smbus2,pathlib;"
    "n=[p.name[4:] for p in pathlib.Path('/sys/bus/i2c/devices').glob('i2c-*')"
    " if 'stub' in (p/'name').read_text()][0];"
    "b=smbus2.SMBus(int(n));print(*[b.read_byte_data(0x60,r) for r in range(2,10)])"
)
# Makes F12 of the emulated keyboard the reset button that a board's own description would name.
REMAP = """
import fcntl, glob, struct
for name in glob.glob("/sys/class/input/event*"):
    if "AT Translated" in open(name + "/device/name").read():
        device = open("/dev/input/" + name.rpartition("/")[2], "rb")
        fcntl.ioctl(device, 0x40084504, struct.pack("II", 0x58, 0x198))
        print("remapped")
"""


def registers(box: Box) -> list[int]:
    """Registers 0x02 to 0x09 of the chip."""
    return [int(word) for word in box.root(f'python3 -c "{READ}"').split()]


def lit(box: Box) -> dict[str, int]:
    """Each LED that is not off: on, or one of the two rhythms."""
    selectors = registers(box)[4:]
    every = {name: selectors[line // 4] >> 2 * (line % 4) & 3 for name, line in LINES.items()}
    return {name: bits for name, bits in every.items() if bits != OFF}


def shows(box: Box, wanted: dict[str, int], what: str) -> None:
    seen: list[dict[str, int]] = []

    def as_wanted() -> bool:
        seen.append(lit(box))
        return seen[-1] == wanted

    try:
        wait_until(as_wanted, what=what, timeout_seconds=60, every_seconds=0.5)
    except AssertionError as error:
        journal = box.journal("pennypost-panel")
        raise AssertionError(f"{error}; last seen: {seen[-1]}\n{journal}") from None


def put_in_panel(box: Box) -> None:
    """The chip, and the board's file that names it."""
    box.root("modprobe i2c-stub chip_addr=0x60")
    boards = "/usr/lib/pennypost/hw/boards"
    box.root(f"cp {boards}/test-pca9552.toml /run/pennypost/board.toml")
    box.root("systemctl restart pennypost-panel")


def test_the_chip_of_a_front_panel_shows_how_the_box_is(ready_box: Box) -> None:
    box = ready_box
    put_in_panel(box)
    well = {"power": ON, "health green": ON, "mail": ON}
    shows(box, well, "a box that is ready")
    assert box.root("ps -o user= -p $(systemctl show -P MainPID pennypost-panel)") == "pp-panel"

    box.root("mv /run/pennypost/rendered /run/pennypost/set-aside")
    shows(box, {"power": FIRST, "health green": FIRST}, "a box without its configuration yet")
    assert registers(box)[:2] == [43, 128], "one second, half of it lit"
    box.root("mv /run/pennypost/set-aside /run/pennypost/rendered")

    shows(box, well, "ready again")
    box.root("pennypost settings set mail.enabled=false")
    amber = {"health green": FIRST, "health red": FIRST}
    shows(box, {"power": ON, **amber}, "mail is switched off: somebody is needed")
    box.root("pennypost identify")
    shows(
        box,
        {"power": ON, "health green": SECOND, "health red": SECOND, "identify": FIRST},
        "the box is to be found",
    )
    assert registers(box)[:2] == [21, 128], "half a second, half of it lit"
    wait_until(lambda: "identify: this is the box" in box.serial, what="the text on the console")
    assert "identify: this is the box" in box.root("cat /etc/issue.d/pennypost.issue")
    box.root("pennypost identify off")
    box.root("pennypost settings set mail.enabled=true")
    shows(box, well, "mail is on again")

    for state, disk in (("ready", ON), ("copying", FIRST), ("missing", FIRST)):
        box.root(f'echo \'{{"state": "{state}"}}\' > /run/pennypost/maildisk.json')
        health = {"health green": SECOND, "health red": SECOND} if state == "missing" else {}
        shows(box, {**well, **health, "disk": disk}, f"the mail disk is {state}")
    assert registers(box)[:2] == [10, 128], "a quarter of a second"
    box.root("rm /run/pennypost/maildisk.json; touch /run/pennypost/update.json")
    shows(box, {**well, "update": FIRST}, "an update")
    box.root("rm /run/pennypost/update.json")
    box.ask("systemd-run --unit=broken-on-purpose --wait false")
    shows(box, {"power": ON, "health red": FIRST, "mail": ON}, "a unit that failed")
    box.root("systemctl reset-failed broken-on-purpose")

    shows(box, well, "all is well")
    box.root("systemctl stop pennypost-panel")
    assert lit(box)["power"] == FIRST, "stopping"


def test_an_address_with_a_driver_and_a_box_without_leds_break_nothing(ready_box: Box) -> None:
    box = ready_box
    assert "LEDs: none" in box.journal("pennypost-panel")
    box.root("modprobe i2c-stub chip_addr=0x60")
    box.root(
        "echo pca9552 0x60 > $(grep -l stub /sys/bus/i2c/devices/*/name | xargs dirname)/new_device"
    )
    put_in_panel(box)
    wait_until(
        lambda: "cannot be driven: Device or resource busy" in box.journal("pennypost-panel"),
        what="the panel's word about the driver",
        timeout_seconds=60,
        every_seconds=0.5,
    )
    assert box.root("systemctl is-active pennypost-panel") == "active"
    box.root("echo 'name = 1' > /run/pennypost/board.toml; systemctl restart pennypost-panel")
    wait_until(
        lambda: "The board file is not used: name" in box.journal("pennypost-panel"),
        what="what is wrong with the board file",
        timeout_seconds=60,
        every_seconds=0.5,
    )
    assert box.failed_units() == []


def hold_button(box: Box, until_said: str) -> None:
    """Hold F12 until the console says so, then let go."""

    def send(down: bool) -> None:
        key = {"key": {"type": "qcode", "data": "f12"}, "down": down}
        box.machine.qmp.command("input-send-event", events=[{"type": "key", "data": key}])

    mark = len(box.serial)
    send(True)
    wait_until(
        lambda: until_said in box.serial[mark:],
        what=f"“{until_said}” on the console",
        timeout_seconds=240,
    )
    send(False)


def test_the_button_and_the_file_reset_the_box_and_keep_its_mail(ready_box: Box) -> None:
    box = ready_box
    put_in_panel(box)
    domain = box.root("pennypost settings get mail.main_domain")
    assert "remapped" in box.root(f"python3 -c '{REMAP}'")
    shows(box, {"power": ON, "health green": ON, "mail": ON}, "a box that is ready")
    hold_button(box, "let go now and nothing happens")
    shows(box, {"power": ON, "health green": ON, "mail": ON}, "nothing has happened")
    assert "reset" not in box.root("ls /data/pennypost")

    mark = len(box.serial)
    hold_button(box, "let go now to reset the administrator's password")
    wait_until(
        lambda: "the administrators were removed" in box.serial[mark:].lower(),
        what="the reset at the next start",
        timeout_seconds=400,
        every_seconds=1.0,
    )
    box._hang_up()
    box.wait_for_web()
    wait_until(
        lambda: re.search(r"Claim code: *[A-Z2-9]{4}-[A-Z2-9]{4}", box.serial[mark:]),
        what="the new claim code",
        timeout_seconds=200,
    )
    page = box.get("/wizard/claim")
    assert b"All settings were kept" in page.body
    assert box.root("pennypost settings get mail.main_domain") == domain
    assert box.root("ls /data/pennypost/claim").split() == ["code"]

    box.wait_until_settled()
    box.root("touch /data/pennypost/spool/kept")
    box.root("mount -o remount,rw /boot/efi && echo factory > /boot/efi/RESET.TXT; sync")
    box.root("mount -o remount,ro /boot/efi")
    mark = len(box.serial)
    box.root("systemctl --no-block reboot")
    wait_until(
        lambda: "The box is as new" in box.serial[mark:],
        what="the factory reset",
        timeout_seconds=400,
        every_seconds=1.0,
    )
    box._hang_up()
    box.wait_for_web()
    box.wait_until_settled()
    assert domain not in box.root("pennypost settings get mail.main_domain")
    assert box.ask("test -e /data/pennypost/spool/kept")[0] == 0
    wait_until(
        lambda: box.ask("find /boot/efi -maxdepth 1 -iname 'reset*'")[1] == "",
        what="the file off the boot partition",
        timeout_seconds=120,
        every_seconds=1.0,
    )
    assert box.failed_units() == []
