"""LEDs as the kernel shows them, and chips by their registers."""

import errno
from pathlib import Path

import pytest

from hw.fake import FakeBus, fake_led
from hw.leds import KINDS, Chip, ChipLed, ClassLed, Lamp, bus_number, open_smbus, registers
from hw.model import DARK, Colour, LedChip, Pattern
from hw.patterns import BROKEN, BUSY, DISK_READY, IDENTIFY, STEADY, UPDATING, WAITING

FRONT = LedChip(name="front", kind="pca9552", bus=1, address=0x60)


def files(led: Path) -> dict[str, str]:
    names = ("trigger", "brightness", "delay_on", "delay_off")
    return {name: (led / name).read_text() for name in names}


def test_the_kernel_blinks_a_led_by_itself(tmp_path: Path) -> None:
    led = fake_led(tmp_path, "box:green:status")
    ClassLed(led).show(WAITING)
    assert files(led) == {
        "trigger": "timer",
        "brightness": "255",
        "delay_on": "100",
        "delay_off": "1900",
    }


def test_steady_dark_and_the_kernels_own_rhythms(tmp_path: Path) -> None:
    every = "[none] timer heartbeat disk-activity panic"
    led, shown = fake_led(tmp_path, "one", triggers=every, maximum=1), ClassLed
    shown(led).show(STEADY)
    assert (files(led)["trigger"], files(led)["brightness"]) == ("none", "1")
    (led / "trigger").write_text(every)
    shown(led).show(DISK_READY)
    assert files(led)["trigger"] == "disk-activity"
    (led / "trigger").write_text(every)
    shown(led).show(UPDATING)
    assert files(led)["trigger"] == "heartbeat"
    (led / "trigger").write_text(every)
    shown(led).show(DARK)
    assert (files(led)["trigger"], files(led)["brightness"]) == ("none", "0")


def test_without_a_timer_a_led_that_should_blink_is_lit(tmp_path: Path) -> None:
    led = fake_led(tmp_path, "one", triggers="none")
    ClassLed(led).show(BUSY)
    assert (files(led)["trigger"], files(led)["brightness"]) == ("none", "255")


def test_files_that_a_trigger_brings_are_waited_for(tmp_path: Path) -> None:
    led = fake_led(tmp_path, "one")
    (led / "delay_on").unlink()
    waits: list[float] = []

    def pause(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 3:
            (led / "delay_on").write_text("")

    ClassLed(led, pause=pause).show(BUSY)
    assert (files(led)["delay_on"], len(waits)) == ("500", 3)
    (led / "delay_off").unlink()
    with pytest.raises(FileNotFoundError):
        ClassLed(led, pause=lambda seconds: None).show(BUSY)


def test_the_registers_of_a_pca9552_for_each_kind_of_pattern() -> None:
    found = registers(KINDS["pca9552"], {0: STEADY, 1: DARK, 2: BROKEN, 3: BUSY, 5: STEADY})
    # 250 ms of 1/44 s: 11 ticks; 1000 ms: 44. Half of each lit.
    assert (found[0x02], found[0x03]) == (10, 128)
    assert (found[0x04], found[0x05]) == (43, 128)
    assert found[0x06] == 0b11_10_01_00
    assert found[0x07] == 0b01_01_00_01
    assert (found[0x08], found[0x09]) == (0x55, 0x55)


def test_a_short_flash_of_a_long_rhythm() -> None:
    found = registers(KINDS["pca9552"], {0: WAITING})
    assert found[0x02] == 87  # 2 s
    assert found[0x03] == 243  # lit for 13 of 256 parts: 100 ms


def test_a_third_rhythm_takes_the_nearest() -> None:
    found = registers(KINDS["pca9552"], {0: BROKEN, 1: IDENTIFY, 2: WAITING})
    assert found[0x06] & 0b11_11_11 == 0b11_11_10


def test_smaller_chips_have_their_registers_elsewhere() -> None:
    assert list(KINDS["pca9550"].selectors) == [5]
    assert list(KINDS["pca9551"].selectors) == [5, 6]
    assert list(KINDS["pca9552"].selectors) == [6, 7, 8, 9]
    assert registers(KINDS["pca9553"], {3: STEADY}) == {5: 0b00_01_01_01}


def test_only_what_changed_is_written_and_only_to_the_one_address() -> None:
    bus = FakeBus(chips={0x60: {}, 0x50: {0: 7}})
    chip = Chip(FRONT, lambda _: bus)
    ChipLed(chip, 0).show(STEADY)
    assert bus.chips[0x60] == {6: 0x54, 7: 0x55, 8: 0x55, 9: 0x55}
    bus.touched.clear()
    ChipLed(chip, 4).show(BUSY)
    assert bus.chips[0x60] == {2: 43, 3: 128, 6: 0x54, 7: 0x56, 8: 0x55, 9: 0x55}
    assert bus.touched == [0x60] * 3
    assert bus.chips[0x50] == {0: 7}


def test_a_chip_that_lost_its_power_is_written_to_anew() -> None:
    bus = FakeBus(chips={0x60: {}})
    chip = Chip(FRONT, lambda _: bus)
    chip.show(0, STEADY)
    gone = bus.chips.pop(0x60)
    with pytest.raises(OSError, match="No such device"):
        chip.show(1, STEADY)
    bus.chips[0x60] = {}
    chip.show(1, STEADY)
    assert gone[6] == 0x54
    assert bus.chips[0x60][6] == 0x50
    assert bus.chips[0x60][9] == 0x55


def test_an_address_with_a_driver_is_left_to_the_driver() -> None:
    bus = FakeBus(chips={0x60: {}}, bound={0x60})
    with pytest.raises(OSError, match="busy") as caught:
        Chip(FRONT, lambda _: bus).show(0, STEADY)
    assert caught.value.errno == errno.EBUSY
    assert bus.chips[0x60] == {}


class Remembering:
    def __init__(self) -> None:
        self.pattern = DARK

    def show(self, pattern: Pattern) -> None:
        self.pattern = pattern


@pytest.mark.parametrize(
    ("there", "wanted", "lit"),
    [
        ("green", "red", "green"),
        ("green red", "red", "red"),
        ("green red", "green", "green"),
        ("green red", "amber", "green red"),
        ("green amber", "amber", "amber"),
        ("green amber", "red", "amber"),
        ("green red", "blue", "green red"),
    ],
)
def test_a_colour_that_is_not_there_is_mixed_or_replaced(there: str, wanted: str, lit: str) -> None:
    lights = {Colour(name): Remembering() for name in there.split()}
    pattern = Pattern(on_ms=1, colour=Colour(wanted))
    Lamp(lights).show(pattern)
    assert {c for c, light in lights.items() if light.pattern == pattern} == set(lit.split())
    assert all(light.pattern in (pattern, DARK) for light in lights.values())


def test_a_bus_is_found_by_how_its_adapters_name_begins(tmp_path: Path) -> None:
    for number, name in ((0, "SMBus I801 adapter at 0700"), (10, "SMBus stub driver")):
        (tmp_path / f"i2c-{number}").mkdir()
        (tmp_path / f"i2c-{number}" / "name").write_text(f"{name}\n")
    assert bus_number("SMBus stub driver", tmp_path) == 10
    assert bus_number("SMBus I801", tmp_path) == 0
    with pytest.raises(FileNotFoundError, match="no I2C bus"):
        open_smbus("mcp2221", tmp_path)
