"""Buttons: what the kernel says about them through /dev/input.

Every board's reset button arrives as a key (gpio-keys, an ACPI device, a USB panel). A device
may come and go; the folder is looked through again and again.
"""

import os
import selectors
import struct
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

DEVICES = Path("/dev/input")
RESCAN_SECONDS = 2.0
# linux/input-event-codes.h. No keyboard for typing has them.
RESET_KEYS = frozenset(
    {
        0x198,  # KEY_RESTART: what device trees call a reset button
        0x211,  # KEY_WPS_BUTTON
        0x168,  # KEY_VENDOR
    }
)
# struct input_event of a 64-bit kernel: time (two longs), type, code, value.
EVENT = struct.Struct("llHHi")
_EV_KEY = 1
_PRESSED = 1  # 0 is released, 2 is held


def pressed_keys(data: bytes) -> Iterator[int]:
    """The codes of the keys that went down in whole events read from a device."""
    for at in range(0, len(data) - EVENT.size + 1, EVENT.size):
        _, _, kind, code, value = EVENT.unpack_from(data, at)
        if kind == _EV_KEY and value == _PRESSED:
            yield code


class Buttons:
    """All input devices of a folder, opened as they appear."""

    def __init__(self, folder: Path = DEVICES) -> None:
        self._folder = folder
        self._selector = selectors.DefaultSelector()
        self._open: dict[str, int] = {}

    def rescan(self) -> None:
        """Open what is new. What cannot be read (yet: udev sets the rights) is left for later."""
        for path in sorted(self._folder.glob("event*")):
            if path.name in self._open:
                continue
            try:
                fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            except OSError:
                continue
            self._open[path.name] = fd
            self._selector.register(fd, selectors.EVENT_READ, path.name)

    def wait(self, seconds: float) -> tuple[int, ...]:
        """The keys that were pressed within so many seconds; returns as soon as there are any."""
        found: list[int] = []
        for key, _ in self._selector.select(seconds):
            found += self._read(key.fd, key.data)
        return tuple(found)

    def _read(self, fd: int, name: str) -> Iterable[int]:
        try:
            data = os.read(fd, EVENT.size * 64)
        except BlockingIOError:
            return ()
        except OSError:
            data = b""
        if not data:  # it was unplugged
            self._selector.unregister(fd)
            os.close(fd)
            del self._open[name]
        return tuple(pressed_keys(data))

    def close(self) -> None:
        for fd in self._open.values():
            os.close(fd)
        self._open.clear()
        self._selector.close()


def watch(buttons: Buttons, pressed: Callable[[], None], *, ended: Callable[[], bool]) -> None:
    """Call `pressed` each time a reset button goes down, until `ended` says so."""
    while not ended():
        buttons.rescan()
        if RESET_KEYS & set(buttons.wait(RESCAN_SECONDS)):
            pressed()
