"""Buttons, from pipes that say what the kernel's devices say."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from hw.buttons import EVENT, LOST, Buttons, Key, keys_of

RESTART = 0x198
EV_SYN, EV_KEY = 0, 1
UP, DOWN, HELD = 0, 1, 2


def event(kind: int, code: int, value: int) -> bytes:
    return EVENT.pack(1, 2, kind, code, value)


@pytest.fixture
def buttons(tmp_path: Path) -> Iterator[Buttons]:
    found = Buttons(tmp_path)
    yield found
    found.close()


def plug_in(folder: Path, name: str) -> int:
    os.mkfifo(folder / name)
    return os.open(folder / name, os.O_RDWR)


def test_a_press_goes_down_once_and_up_once_however_long_it_is_held() -> None:
    data = event(EV_KEY, RESTART, DOWN) + event(EV_SYN, 0, 0)
    data += event(EV_KEY, RESTART, HELD) * 5 + event(EV_KEY, RESTART, UP)
    assert list(keys_of(data)) == [Key(RESTART, down=True), Key(RESTART)]
    assert list(keys_of(data[:-1])) == [Key(RESTART, down=True)]


def test_the_button_of_a_device_that_comes_later_is_heard(tmp_path: Path, buttons: Buttons) -> None:
    buttons.rescan()
    device = plug_in(tmp_path, "event7")
    buttons.rescan()
    os.write(device, event(EV_KEY, RESTART, DOWN))
    assert buttons.wait(5) == (Key(RESTART, down=True),)
    os.close(device)


def test_a_device_that_is_pulled_is_forgotten_and_may_come_back(
    tmp_path: Path, buttons: Buttons
) -> None:
    device = plug_in(tmp_path, "event0")
    buttons.rescan()
    os.close(device)
    assert buttons.wait(5) == (LOST,)
    (tmp_path / "event0").unlink()
    device = plug_in(tmp_path, "event0")
    buttons.rescan()
    os.write(device, event(EV_KEY, RESTART, DOWN))
    assert buttons.wait(5) == (Key(RESTART, down=True),)
    os.close(device)
